"""Progress of long work: a bar with rate and ETA on a terminal, plain lines elsewhere, on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

PLAIN_SECONDS = 30.0
"""Seconds between two plain lines."""


class Bar:
    """What long work reports to."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total, self.count = label, total, 0
        self._start = self._last = time.monotonic()

    def advance(self, n: int = 1) -> None:
        """`n` more items are done."""
        self.count += n
        if time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            self._line()

    def _line(self) -> None:
        seconds = time.monotonic() - self._start
        rate = self.count / seconds if seconds else 0.0
        of = f"/{self.total}" if self.total is not None else ""
        left = f", {(self.total - self.count) / rate:.0f} s left" if self.total and rate else ""
        print(f"{self.label}: {self.count}{of}, {rate:.1f}/s{left}", file=sys.stderr, flush=True)


class _RichBar(Bar):
    def __init__(self, label: str, total: int | None, progress: Progress) -> None:
        super().__init__(label, total)
        self._progress = progress
        self._task = progress.add_task(label, total=total)

    def advance(self, n: int = 1) -> None:
        self.count += n
        self._progress.advance(self._task, n)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Bar]:
    """A bar for `total` items, gone from the terminal when the work is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Bar(label, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        yield _RichBar(label, total, shown)
