"""What a training logs to: `metrics.jsonl`, the same bytes in every run, and `timings.jsonl`, what is measured.

Rank 0 has one; it also watches for what the figures warn of.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ..io import Journal, write
from .alarms import Alarms

METRICS, TIMINGS = "metrics.jsonl", "timings.jsonl"


class Logbook:
    """Appends a line for each reading of the figures.

    Args:
        folder: where the files are.
        step: the optimizer step that the run goes on from; what a killed run logged after it is removed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.alarms = Alarms()
        self._metrics = continued(folder / METRICS, step)
        self._timings = Journal(folder / TIMINGS)
        self._last = time.monotonic()
        for entry in self._metrics.entries:
            self.alarms.watch(entry)

    def write(self, step: int, figures: Mapping[str, float], tokens: int | None = None) -> None:
        """Log the figures of an optimizer step, and what training took since the last time.

        Args:
            step: the optimizer step.
            figures: means by name.
            tokens: how many were trained on since then; None for an evaluation, which is no training.
        """
        entry = {"step": step} | {name: float(f"{value:.6g}") for name, value in figures.items()}
        self._metrics.append(entry)
        for line in self.alarms.watch(entry):
            print(f"align: warning: step {step}: {line}", file=sys.stderr, flush=True)
        now = time.monotonic()
        if tokens is not None:
            seconds = now - self._last
            rate = round(tokens / max(seconds, 1e-9))
            self._timings.append({"step": step, "seconds": round(seconds, 3), "tokens_per_second": rate})
        self._last = now

    def close(self) -> None:
        """Put the files on disk."""
        self._metrics.close()
        self._timings.close()


def continued(path: Path, step: int) -> Journal:
    """`metrics.jsonl` without what a killed run logged after the step that is gone on from."""
    with Journal(path) as journal:
        # an evaluation before the first step is of step 0, and is made again
        kept = [entry for entry in journal.entries if 0 < step >= entry["step"]]
    write(path, kept)
    return Journal(path)
