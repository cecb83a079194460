"""Processes that the warden watches: their CPU time, their end, and waiting without being fooled by load.

CPU time is limited, not wall time: a busy machine makes nobody slow. A process that uses no CPU either is waiting for
something that never comes.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

STALLED = 0.02
"""Processes that together use a smaller share of a core than this are waiting for nothing."""


class Process:
    """A process, and whether it runs still, as far as is known.

    Args:
        pid: in this pid namespace.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu(self) -> float:
        """CPU seconds so far; 0 once it is gone."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def kill(self) -> None:
        """End it, where it has not ended by itself."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


@dataclass(frozen=True)
class Budget:
    """A process that is watched, and the CPU seconds at which it is stopped."""

    process: Process
    cpu: float

    def left(self) -> float:
        """CPU seconds that it may still use."""
        return self.cpu - self.process.cpu()


@dataclass(frozen=True)
class Event:
    """Why waiting ended: one of the three."""

    ready: tuple[int, ...] = ()
    """Descriptors that can be read, or whose other side has gone."""
    over: Process | None = None
    """It used up its budget."""
    stalled: bool = False
    """Nobody did anything."""


def wait(descriptors: Sequence[int], budgets: Sequence[Budget], patience: float) -> Event:
    """Wait until a descriptor is ready, a budget is used up, or nothing happens any more.

    Args:
        descriptors: of which one is expected to become readable.
        budgets: processes that may run meanwhile.
        patience: wall seconds without progress that count as a stall.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN | select.POLLRDHUP)
    since, used = time.monotonic(), 0.0
    while True:
        left = [budget.left() for budget in budgets]
        for budget, seconds in zip(budgets, left, strict=True):
            if seconds <= 0:
                return Event(over=budget.process)
        if ready := poll.poll(1000 * min(patience, *left, patience) + 1):
            return Event(ready=tuple(descriptor for descriptor, _ in ready))
        now, spent = time.monotonic(), sum(budget.process.cpu() for budget in budgets)
        if now - since >= patience:
            if spent - used < STALLED * (now - since):
                return Event(stalled=True)
            since, used = now, spent
