"""Fork a candidate for every run, wait for it, say how it ended; and nothing else.

All that this process ever touches is copied for, or found in the memory of, every candidate: it reads neither programs
nor tests, and does as little as it can between two forks. Who orders the runs, and ends them in time, is `warden`.
"""

import _socket
import gc
import os
import sys
from typing import NamedTuple, NoReturn

from . import candidate, holes, jail, libc
from .candidate import ANSWERS, BATCH, GIVEN, HANDOFF, SOURCE, STDERR, STDOUT

COMMANDS, PIDS, RESULTS = 6, 7, 8
"""Descriptors of its pipes; a candidate has none of them."""
_FILES = {GIVEN: "given", STDOUT: "stdout", STDERR: "stderr", ANSWERS: "answers", SOURCE: "source"}
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_SIGKILL = 9


class Ends(NamedTuple):
    """What the warden holds of a zygote."""

    pid: int
    """Of the zygote."""
    files: dict[int, int]
    """Files in memory that every candidate is born with, by the descriptor it has there."""
    handoff: int
    """Socket over which an interactive candidate is sent the descriptor of its tester."""
    commands: int
    pids: int
    """Number of each candidate, told before anything else of it."""
    results: int
    """How each candidate ended."""


def start(level: str, close: int) -> Ends:
    """Fork a zygote.

    Args:
        level: of isolation.
        close: a descriptor that it must not have.
    """
    files = {number: os.memfd_create(name) for number, name in _FILES.items()}
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    (command_out, command_in), (pid_out, pid_in), (result_out, result_in) = os.pipe(), os.pipe(), os.pipe()
    given = {**files, HANDOFF: theirs.fileno(), COMMANDS: command_out, PIDS: pid_in, RESULTS: result_in}
    pid = os.fork()
    if pid == 0:
        os.close(close)
        _run(level, given)
    for descriptor in (command_out, pid_in, result_in):
        os.close(descriptor)
    os.set_blocking(pid_out, False)
    return Ends(pid, files, ours.detach(), command_in, pid_out, result_out)


def _run(level: str, descriptors: dict[int, int]) -> NoReturn:
    """Serve until the warden goes."""
    try:
        end_with_parent()
        # this package is the worker's own business: a program must not find it
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]
        _arrange(level, descriptors)
        gc.collect()
        gc.freeze()
        holes.fill()
        jail.adopt()
        if level == "none":
            libc.prctl("subreaper", _SET_CHILD_SUBREAPER, 1)
        while command := os.read(COMMANDS, 200):
            _serve(command, level)
    finally:
        os._exit(0)


def _serve(command: bytes, level: str) -> None:
    pid = jail.fork()
    if pid == 0:
        try:
            _live(command, level)
        finally:
            os._exit(0)
    os.write(PIDS, b"%d\n" % pid)
    _, status, usage = os.wait4(pid, 0)
    if level == "none":
        _end_strays()
    os.write(RESULTS, b"%d %f\n" % (status, usage.ru_utime + usage.ru_stime))


def _live(command: bytes, level: str) -> None:
    """What a candidate does."""
    os.closerange(COMMANDS, RESULTS + 1)
    if level != "A":
        end_with_parent()
    if level == "none":
        # the one before may have removed it, and it was made anew
        os.chdir(os.environ["HOME"])
    candidate.run(command)


def end_with_parent() -> None:
    """Where no namespace does it: let the kernel kill this process when the one that forked it dies."""
    libc.prctl("parent death signal", _SET_PDEATHSIG, _SIGKILL)


def _arrange(level: str, descriptors: dict[int, int]) -> None:
    """Rehearse, put every descriptor at its number, and close all others."""
    above = {number: os.dup2(fd, 100 + number) for number, fd in descriptors.items()}
    # not in the files of candidates: the first one's are being filled meanwhile
    for number in _FILES:
        os.dup2(os.memfd_create("rehearsal"), number)
    _rehearse(level)
    for number, fd in above.items():
        os.dup2(fd, number)
    os.closerange(RESULTS + 1, jail.NAMESPACE)


def _rehearse(level: str) -> None:
    """Do all that a candidate does, without harm to this process.

    What the interpreter makes at first use, such as the compiler's two hundred types, and what it learns of code that
    runs often, would otherwise be made and learnt in every candidate; and a process forked from one whose memory has
    settled has fewer pages of its own.
    """
    command = candidate.command(BATCH, jail.EVERYTHING, jail.FOREVER)
    with jail.rehearsing() as part:
        for _ in candidate.rehearsals():
            part()
            _live(command, level)


def _end_strays() -> None:
    """End the processes that outlived their program: as orphans they became ours."""
    me = os.getpid()
    while True:
        with open(f"/proc/self/task/{me}/children") as file:
            strays = [int(pid) for pid in file.read().split()]
        if not strays:
            return
        for pid in strays:
            os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)


assert tuple(range(COMMANDS)) == (GIVEN, STDOUT, STDERR, ANSWERS, SOURCE, HANDOFF)
