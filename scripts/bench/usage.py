"""CPU seconds of a command and of all that it started. Measures; starts nothing else.

A cpuacct (or version 2) cgroup of its own counts every process, orphans and killed ones too. Without the right to make
one, the command's own rusage serves: it lacks processes that nobody waited for, such as those killed with their
namespace.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

GROUPS = ((Path("/sys/fs/cgroup/cpuacct"), "cpuacct.usage", 1e9), (Path("/sys/fs/cgroup"), "cpu.stat", 1e6))
"""Where cgroups are made, the file that holds what was used, and its parts a second."""
BURN_SECONDS = 0.3
BURNER = f"""
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        while time.process_time() < {BURN_SECONDS}:
            pass
    os._exit(0)
os.close(writer)
os.wait()
os.read(reader, 1)
"""
"""Burns in a grandchild that nobody waits for."""


class Failed(Exception):
    """The command ended with a status other than 0."""


def cpu_seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Run a command to its end; user and system seconds of its whole tree.

    Raises:
        Failed: with the end of what it said.
    """
    with _group() as group, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
            preexec_fn=(lambda: _join(group)) if group else None,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise Failed(f"{' '.join(command[:4])} …: {said.read().decode('utf-8', 'replace')[-2000:].strip()}")
        return _used(group) if group else used.ru_utime + used.ru_stime


@cache
def measure() -> str:
    """How it is measured, tried on a process whose seconds are known."""
    with _group() as group:
        way = "a cgroup of its own" if group else "rusage"
    share = cpu_seconds([sys.executable, "-I", "-S", "-c", BURNER]) / BURN_SECONDS
    return f"{way}; of {BURN_SECONDS} s that an orphan burnt it saw {100 * min(share, 1):.0f} %"


@contextlib.contextmanager
def _group() -> Iterator[Path | None]:
    """A new cgroup, or None where there is no right to one."""
    group = _made()
    try:
        yield group
    finally:
        if group:
            group.rmdir()


def _made() -> Path | None:
    for place, file, _ in GROUPS:
        group = place / f"align-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / file).is_file() and os.access(group / "cgroup.procs", os.W_OK):
            return group
        group.rmdir()
    return None


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _used(group: Path) -> float:
    for _, file, parts in GROUPS:
        if (group / file).is_file():
            numbers = (group / file).read_text().split()
            # version 2 says `usage_usec N` first
            return int(numbers[-1] if len(numbers) == 1 else numbers[1]) / parts
    raise AssertionError(f"{group} counts no CPU time")
