"""The warden: it starts a tester for every problem, orders candidates from its zygote, and ends both in time.

It runs no program and no test itself. It ends, with all it started, when the supervisor goes.
"""

import gc
import os
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from . import holes, jail, libc, tester
from .asserts import rehearse
from .channel import pair, receive, send
from .memory import content
from .nursery import Nursery, ZygoteGone
from .process import Process
from .turn import TESTER_SECONDS, Entrant, Limits, Place, SupervisorGone, TesterEnded, Turn
from .zygote import Ends, end_with_parent

_REHEARSALS = 10
_STAY_SECONDS = 0.5
_UNREAD_BYTES, _LATEST_SECONDS = 16 << 10, 0.05
"""Verdicts are reported when so many bytes wait for the supervisor, or after so long: it wakes up for each report."""


class Warden:
    """Serves one supervisor.

    Args:
        place: of all turns.
        zygote: its process id.
    """

    def __init__(self, place: Place, zygote: int) -> None:
        self._place, self._zygote = place, zygote
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._cores = os.sched_getaffinity(0)
        self._stays_until: float | None = None
        """Time at which a core is chosen anew; None when it is to be chosen now."""
        self._tester: Process | None = None
        self._line: socket.socket | None = None
        self._calls: bytes | None = None
        """What the next programs are run on before their tester asks for anything."""
        self._at_once = 1
        """How many of them, by the length of verdicts and the time of the tests."""

    def serve(self) -> None:
        """Until the supervisor goes."""
        while (got := receive(self._place.channel)) is not None:
            order, descriptors = got
            self._stay()
            if order["tests"]:
                self._start_tester(descriptors[0], descriptors[1], order["memory"])
                descriptors = descriptors[2:]
            self._judge(order, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            if self._stays_until is not None and time.monotonic() > self._stays_until:
                # the kernel chooses when the next order wakes us
                os.sched_setaffinity(0, self._cores)
                self._stays_until = None

    def _stay(self) -> None:
        """Keep all processes on one core for a while: the kernel would start each on an idle one with cold caches."""
        if len(self._cores) > 1 and self._stays_until is None:
            core = {libc.current_core()}
            os.sched_setaffinity(self._zygote, core)
            os.sched_setaffinity(0, core)
            self._stays_until = time.monotonic() + _STAY_SECONDS

    def _judge(self, order: dict[str, Any], sources: list[int]) -> None:
        """Give the tester turns, and report a few candidates at a time; the rest is left where the tester ends."""
        told = zip(order["candidates"], sources, order["cpu"], strict=True)
        left = [Entrant(number, content(source), Limits(cpu, order["memory"])) for number, source, cpu in told]
        reports: list[dict[str, Any]] = []
        unread, since = 0, time.monotonic()
        try:
            while left and self._tester is not None:
                judged, told_bytes = self._taken(left if order["ahead"] else left[:1])
                reports += judged
                left = left[len(judged) :]
                unread += told_bytes
                if unread > _UNREAD_BYTES or time.monotonic() - since > _LATEST_SECONDS:
                    send(self._place.channel, {"reports": reports})
                    reports, unread, since = [], 0, time.monotonic()
        finally:
            # also where the zygote is gone: the programs before that have their verdicts
            send(self._place.channel, {"reports": reports})

    def _taken(self, entrants: list[Entrant]) -> tuple[list[dict[str, Any]], int]:
        """Give the tester a turn with the first candidates; their reports, and the length of their verdicts."""
        assert self._tester is not None
        assert self._line is not None
        made = [] if self._calls is None else self._place.ahead(entrants[: self._at_once], self._calls)
        turn = Turn(self._place, self._line, self._tester, entrants[: len(made) or 1])
        try:
            again = turn.take(made)
        except TesterEnded as error:
            alone, ran, how = len(made) < 2, turn.ran, str(error)
            ended = {"alone": alone, "how": how, "ran": ran, "signal": self.end_tester()}
            return [{"candidate": entrants[0].number, "tester": ended}], 0
        calls = self._calls if turn.calls is None else turn.calls
        self._calls = calls if again else None
        judged = [{"candidate": entrant.number, "tester": None} for entrant in entrants[: len(made) or 1]]
        share = max(turn.told / _UNREAD_BYTES, turn.cpu() / TESTER_SECONDS, 0.01)
        self._at_once = max(1, int(len(judged) / share))
        return judged, turn.told

    def _start_tester(self, checks: int, verdicts: int, memory: int) -> None:
        self.end_tester()
        ours, theirs = pair()
        pid = jail.fork()
        if pid == 0:
            try:
                end_with_parent()
                self._place.channel.close()
                ours.close()
                self._place.nursery.close()
                for descriptor in (1, 2):
                    # what tests print is nobody's
                    os.dup2(self._nowhere, descriptor)
                jail.limit("tester")
                # each of its turns is limited by itself
                jail.lock("tester", memory, jail.FOREVER)
                tester.run(theirs, socket.socket(fileno=verdicts), checks, self._place.nursery.files)
            finally:
                os._exit(1)
        for descriptor in (checks, verdicts):
            os.close(descriptor)
        theirs.close()
        self._tester, self._line = Process(pid), ours

    def end_tester(self) -> int:
        """End the tester; the signal it had died of, or 0."""
        if self._tester is None or self._line is None:
            return 0
        self._line.close()
        ended, status = os.waitpid(self._tester.pid, os.WNOHANG)
        if not ended:
            self._tester.kill()
            os.waitpid(self._tester.pid, 0)
        self._tester = self._line = self._calls = None
        return os.WTERMSIG(status) if ended and os.WIFSIGNALED(status) else 0


def serve(channel: int, ends: Ends, folder: str | None) -> None:
    """Until the supervisor goes.

    Args:
        channel: to the supervisor.
        ends: of the zygote.
        folder: where programs may write.
    """
    place = Place(socket.socket(fileno=channel), Nursery(ends), folder)
    warden = Warden(place, ends.pid)
    try:
        send(place.channel, {"ready": True})
        for _ in range(_REHEARSALS):
            rehearse()
        gc.collect()
        gc.freeze()
        holes.fill()
        warden.serve()
    except (SupervisorGone, ConnectionError):
        return
    except ZygoteGone:
        sys.exit("the zygote is gone")
    finally:
        warden.end_tester()
        # what a program of level none has left running may write there still; an unkilled supervisor tries again
        with suppress(OSError):
            place.leave()
