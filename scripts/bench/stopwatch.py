"""Time and peak memory of steps that take turns in one process: ratios that hold on a machine that others use, too.

On a CPU the time is CPU time of one thread, and memory the peak of resident memory after it was cleared, less what was
resident before. On a GPU they are CUDA events and `max_memory_allocated`; that part has not been run yet.
"""

import ctypes
import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

ROUNDS, REPEATS, SPREAD = 5, 3, 0.05
"""Rounds at first; how often as many are added where the ratios of the middle half of all rounds spread wider."""
CLEAR_REFS, PEAK = Path("/proc/self/clear_refs"), "5"
STATUS = Path("/proc/self/status")
MMAP_THRESHOLD, MMAP_BYTES = -3, 2**20
"""mallopt's parameter: larger blocks go back to the system when they are freed, so that a peak is of what is alive."""

Step = Callable[[], object]


@dataclass
class Figures:
    """What a step has taken, a value a round."""

    seconds: list[float] = field(default_factory=list)
    """CPU time, or of CUDA events."""
    bytes: list[int] = field(default_factory=list)
    """Peak above what stood before; empty where it cannot be measured."""


class Stopwatch:
    """Measures on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.libc = ctypes.CDLL(None)
        self.libc.mallopt(MMAP_THRESHOLD, MMAP_BYTES)
        self.sees_memory = device.type == "cuda" or _clear_peak()

    def measure(
        self, steps: Mapping[str, Step], pairs: Sequence[tuple[str, str]], rounds: int = ROUNDS
    ) -> dict[str, Figures]:
        """Let the steps take turns, each round beginning with another one.

        Args:
            steps: by name; each has run before, or its first turn warms it up.
            pairs: names whose ratios must be steady: more rounds are run while their spread is above SPREAD.
            rounds: at first.
        """
        found = {name: Figures() for name in steps}
        names = list(steps)
        for repeat in range(REPEATS):
            for number in range(rounds):
                turn = (repeat * rounds + number) % len(names)
                for name in names[turn:] + names[:turn]:
                    self._turn(steps[name], found[name])
            if all(spread(found, *pair) <= SPREAD for pair in pairs):
                break
        return found

    def _turn(self, step: Step, figures: Figures) -> None:
        gc.collect()
        if self.device.type == "cuda":
            self._turn_on_gpu(step, figures)
            return
        self.libc.malloc_trim(0)
        before = _kilobytes("VmRSS")
        if self.sees_memory:
            _clear_peak()
        start = time.process_time()
        step()
        figures.seconds.append(time.process_time() - start)
        if self.sees_memory:
            figures.bytes.append(1024 * (_kilobytes("VmHWM") - before))

    def _turn_on_gpu(self, step: Step, figures: Figures) -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize(self.device)
        figures.seconds.append(begin.elapsed_time(end) / 1000)
        figures.bytes.append(torch.cuda.max_memory_allocated(self.device) - before)


def time_ratio(found: Mapping[str, Figures], ours: str, theirs: str) -> float:
    """Median over rounds of their time over ours: above 1, ours is faster."""
    return statistics.median(_ratios(found, ours, theirs))


def memory_ratio(found: Mapping[str, Figures], ours: str, theirs: str) -> float | None:
    """Our median peak over theirs: below 1, ours is smaller; None where memory cannot be measured."""
    if not found[ours].bytes:
        return None
    return statistics.median(found[ours].bytes) / max(statistics.median(found[theirs].bytes), 1)


def spread(found: Mapping[str, Figures], ours: str, theirs: str) -> float:
    """How far the middle half of the rounds' ratios is apart, relative to their median."""
    ratios = _ratios(found, ours, theirs)
    if len(ratios) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return (high - low) / middle


def _ratios(found: Mapping[str, Figures], ours: str, theirs: str) -> list[float]:
    return [other / mine for mine, other in zip(found[ours].seconds, found[theirs].seconds, strict=True)]


def _clear_peak() -> bool:
    """Let VmHWM start again from what is resident; whether the system allows it."""
    try:
        CLEAR_REFS.write_text(PEAK)
    except OSError:
        return False
    return True


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
