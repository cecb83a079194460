"""Which isolation level programs get, and why not a stronger one. Finds out by trying; runs no program.

Level A is all of it: namespaces, a root of its own, Landlock, seccomp. Level B, without namespaces, keeps programs from
the machine's files, network and processes by Landlock and seccomp; they can write nowhere. Level none limits
resources only. `auto` is A or nothing: less is taken only by whoever asks for it.
"""

import errno
import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from ..errors import BackendError, ConfigError, suggest
from ..schema import Isolation

Requested = Literal["auto", "A", "B", "none"]
LEVELS: tuple[Requested, ...] = ("auto", "A", "B", "none")
VARIABLE = "ALIGN_ISOLATION"
ARCHITECTURES = ("x86_64", "aarch64")
_PROBE_SECONDS = 30
_SWITCHES: dict[str, tuple[str, str]] = {
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "user.max_user_namespaces": ("0", "15000"),
    "user.max_pid_namespaces": ("0", "15000"),
    "user.max_net_namespaces": ("0", "15000"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
"""Kernel settings that forbid level A: the forbidding value, and one that allows it."""
_CONTAINER = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"


def isolation_level(requested: str = "auto") -> Isolation:
    """The level that programs run under; the environment's ALIGN_ISOLATION decides what `auto` means.

    Raises:
        ConfigError: no such level.
        BackendError: this machine cannot give it; says what forbids it, and the cure.
    """
    wanted = _wanted(requested)
    level: Isolation = "A" if wanted == "auto" else wanted
    if reason := probe(level):
        raise BackendError(f"isolation {level} cannot be had here: {reason}\n{_cure(level)}")
    return level


def why(requested: str = "auto") -> str:
    """What a level means here, or what stands in its way, in one line; by default the level that `auto` means."""
    wanted = _wanted(requested)
    level: Isolation = "A" if wanted == "auto" else wanted
    if reason := probe(level):
        return f"level {level} cannot be had: {reason}"
    chosen = f"asked for by {VARIABLE}" if requested == "auto" and VARIABLE in os.environ else "tried out"
    return {
        "A": f"{chosen}: namespaces, a root of its own, seccomp{_landlock()}",
        "B": f"{chosen}: Landlock and seccomp, no namespaces; programs can write nowhere",
        "none": f"{chosen}: programs run under your user, with resource limits only",
    }[level]


@functools.cache
def probe(level: Isolation) -> str | None:
    """Why a level cannot be had on this machine, or None. Tried once a process, in a child interpreter."""
    if not hasattr(os, "fork"):
        return f"{sys.platform} has no fork"
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} is not Linux"
    if level != "none" and platform.machine() not in ARCHITECTURES:
        return f"no seccomp filter for {platform.machine()}: only {' and '.join(ARCHITECTURES)}"
    report = _try(level)
    if not report:
        return None
    number = report["errno"]
    name = f" ({errno.errorcode.get(number, number)})" if number else ""
    return "; ".join([f"{report['failed']}{name}", *_forbidding(level, number)])


def _try(level: Isolation) -> dict[str, Any]:
    """What the self-check reports: `failed` and `errno`, or nothing."""
    command = [sys.executable, "-s", "-P", "-S", "-B", "-m", "sandbox.selfcheck", level]
    clean = {"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "0"}
    try:
        ran = subprocess.run(
            command, env=clean, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"the self-check did not end in {_PROBE_SECONDS} s", "errno": None}
    try:
        report: dict[str, Any] = json.loads(ran.stdout)
    except ValueError:
        told = ran.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return {"failed": f"the self-check ended with {ran.returncode}: {told}", "errno": None}
    return report


def _wanted(requested: str) -> Requested:
    wanted = os.environ.get(VARIABLE, "auto") if requested == "auto" else requested
    for level in LEVELS:
        if wanted == level:
            return level
    place = VARIABLE if requested == "auto" else "isolation"
    raise ConfigError(f"{place}: no level {wanted!r}: {suggest(wanted, LEVELS)}")


def _forbidding(level: Isolation, number: int | None) -> list[str]:
    """What is known to forbid a level, as it stands on this machine."""
    found = [f"{name} is {value}" for name, (value, _) in _SWITCHES.items() if level == "A" and _setting(name) == value]
    if number == errno.ENOSPC:
        found.append("a limit user.max_*_namespaces is reached, here or in an outer namespace")
    if _filtered():
        found.append("a seccomp filter is on this process, as in a container")
    return found


def _cure(level: Isolation) -> str:
    lines = []
    if not sys.platform.startswith("linux"):
        return "  run it on Linux: in a virtual machine, or a container"
    if level == "A" and sys.platform.startswith("linux"):
        lines += [f"sudo sysctl -w {name}={good}" for name, (bad, good) in _SWITCHES.items() if _setting(name) == bad]
        if _filtered():
            lines.append(f"{_CONTAINER} …")
    if level == "B" and "landlock" not in _read("/sys/kernel/security/lsm"):
        lines.append("boot Linux 5.13 or later with landlock in lsm=")
    asks = [f"--isolation {weaker}, or {VARIABLE}={weaker}: {what}" for weaker, what in _weaker(level)]
    return "\n".join(f"  {line}" for line in [*lines, *asks])


def _weaker(level: Isolation) -> list[tuple[str, str]]:
    choices = [
        ("B", "Landlock and seccomp without namespaces; programs can write no files"),
        ("none", "no isolation: only inside a container or machine that you throw away"),
    ]
    return {"A": choices, "B": choices[1:], "none": []}[level]


def _landlock() -> str:
    return ", Landlock" if "landlock" in _read("/sys/kernel/security/lsm") else ""


def _setting(name: str) -> str:
    return _read(f"/proc/sys/{name.replace('.', '/')}")


def _filtered() -> bool:
    return "\nSeccomp:\t2\n" in _read("/proc/self/status")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().rstrip(" \n") if path.startswith("/proc/sys") else Path(path).read_text()
    except OSError:
        return ""
