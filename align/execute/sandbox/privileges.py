"""Who a process is and what it may do as that: giving up root, capabilities, the size of a user's crowd."""

import os

from . import libc

NOBODY = 65534
"""Uid and gid that root gives itself up for."""
SETGID, SETUID, SYS_ADMIN = 6, 7, 21
_CAPABILITIES = 64
_CAPBSET_DROP, _CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 24, 47, 4


def can_become_nobody() -> bool:
    """Whether this is a root that may become another user."""
    return os.geteuid() == 0 and holds(SETUID) and holds(SETGID) and _maps("uid") and _maps("gid")


def holds(capability: int) -> bool:
    """Whether a capability is in effect."""
    with open("/proc/self/status") as file:
        return any(line.startswith("CapEff:") and int(line.split()[1], 16) >> capability & 1 for line in file)


def _maps(kind: str) -> bool:
    with open(f"/proc/self/{kind}_map") as file:
        return any(int(first) <= NOBODY < int(first) + int(count) for first, _, count in map(str.split, file))


def drop_bounds() -> None:
    """Empty the bounding and ambient sets, where this process may."""
    libc.prctl("ambient capabilities", _CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(_CAPABILITIES):
        try:
            libc.prctl("bounding set", _CAPBSET_DROP, capability)
        except OSError:
            # EINVAL past the last capability, EPERM for a user who has none to lose
            return


def give_up_root(readable: list[str]) -> None:
    """Become nobody if nobody can read what is needed; else root stays, without its powers."""
    if not can_become_nobody():
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    allowed = all(os.access(path, os.R_OK, effective_ids=True) for path in readable)
    os.seteuid(0)
    os.setegid(0)
    if allowed:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    else:
        os.setgroups(groups)


def count_processes(user: int) -> int:
    """Threads of a user, as RLIMIT_NPROC counts them."""
    count = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{process}").st_uid == user:
                count += len(os.listdir(f"/proc/{process}/task"))
        except OSError:
            # it has ended
            continue
    return count
