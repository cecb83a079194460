"""Map a function over chunks in forked processes: results in order, a bounded number of chunks on the way.

What the function holds reaches the processes by the fork and is never pickled. It must not depend on their number.
"""

import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from ..errors import BackendError

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 3
"""Chunks on the way for each process."""
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
_function: Callable[[Any], Any] | None = None
"""What this process computes."""


def ordered(function: Callable[[T], R], chunks: Iterable[T], workers: int | None = None) -> Iterator[R]:
    """The function's results on each chunk.

    Args:
        function: pure; with one worker it runs in this process.
        chunks: taken as results are asked for.
        workers: processes; None: as many as cores.

    Raises:
        BackendError: a process was killed, most likely for memory.
    """
    count = workers or len(os.sched_getaffinity(0))
    if count == 1:
        yield from map(function, chunks)
        return
    pool = ProcessPoolExecutor(count, get_context("fork"), _begin, (function, os.getpid()))
    waiting: deque[Future[R]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_call, chunk))
            if len(waiting) >= count * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise BackendError(f"one of {count} processes was killed: give it more memory, or fewer `workers`") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(function: Callable[[Any], Any], parent: int) -> None:
    """Set a process up: it ends with its parent, and leaves Ctrl-C to it."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # the parent ended before this was asked for
        os._exit(1)


def _call(chunk: Any) -> Any:
    assert _function is not None
    return _function(chunk)
