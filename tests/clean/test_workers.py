"""Ordered results of forked workers."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from align.clean.workers import AHEAD, ordered
from align.errors import BackendError, DataError


def slow_first(number: int) -> tuple[int, int]:
    time.sleep(0.1 if number == 0 else 0)
    return number, os.getpid()


def test_results_come_in_order_from_several_processes() -> None:
    found = list(ordered(slow_first, range(40), 2))
    assert [number for number, _ in found] == list(range(40))
    assert len({process for _, process in found} - {os.getpid()}) == 2
    assert {process for _, process in ordered(slow_first, range(3), 1)} == {os.getpid()}


def test_chunks_are_taken_as_results_are_asked_for() -> None:
    taken = 0

    def chunks() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = ordered(slow_first, chunks(), 2)
    next(results)
    assert taken <= 2 * AHEAD
    results.close()  # type: ignore[attr-defined]


def test_an_error_in_a_worker_is_raised_here() -> None:
    def wrong(number: int) -> int:
        raise DataError(f"chunk {number}: wrong")

    with pytest.raises(DataError, match=r"^chunk 0: wrong$"):
        list(ordered(wrong, range(3), 2))


def test_a_killed_worker_is_one_clear_line() -> None:
    def dying(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(BackendError, match="one of 2 processes was killed"):
        list(ordered(dying, range(3), 2))
