"""Progress of long work, on stderr: a bar with rate and ETA on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from .terminal import console, is_plain

PLAIN_SECONDS = 30.0
"""Seconds between two plain lines."""
RATE_SECONDS, RATE_POINTS = 60.0, 5
"""The rate is that of the last seconds, or, of slow work, of the last few items."""


class Bar:
    """What long work reports to; silent by itself."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total, self.count = label, total, 0
        self._points = deque([(time.monotonic(), 0)])

    def skip(self, n: int) -> None:
        """`n` items were done before this work began: the rate is measured from here."""
        self.count += n
        self._points = deque([(time.monotonic(), self.count)])

    def advance(self, n: int = 1) -> None:
        """`n` more items are done."""
        self.count += n
        now = time.monotonic()
        if len(self._points) > 1 and now - self._points[-2][0] < 1:
            # a point a second is enough
            self._points.pop()
        self._points.append((now, self.count))
        while len(self._points) > RATE_POINTS and self._points[1][0] < now - RATE_SECONDS:
            self._points.popleft()

    @property
    def rate(self) -> float | None:
        """Items a second up to the last advance; None before it. What was skipped does not count."""
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start and after > before else None

    @property
    def left(self) -> float | None:
        """Seconds to the end; None where the rate or the total is not known."""
        if self.total is None or self.rate is None:
            return None
        return max(0.0, (self.total - self.count) / self.rate - (time.monotonic() - self._points[-1][0]))

    def __str__(self) -> str:
        of = "" if self.total is None else f"/{self.total}"
        told = [f"{self.label}: {self.count}{of}", format_rate(self.rate), format_left(self.left)]
        return ", ".join(filter(None, told))


class _Lines(Bar):
    """A plain line now and then."""

    def __init__(self, label: str, total: int | None) -> None:
        super().__init__(label, total)
        self._told = time.monotonic()

    def advance(self, n: int = 1) -> None:
        super().advance(n)
        if time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            print(self, file=sys.stderr, flush=True)


class _Drawn(Bar):
    """A bar that is drawn again several times a second."""

    def __init__(self, label: str, total: int | None, shown: Progress) -> None:
        super().__init__(label, total)
        self._shown = shown
        self._task = shown.add_task(label, total=total, bar=self)

    def advance(self, n: int = 1) -> None:
        super().advance(n)
        self._shown.update(self._task, completed=self.count)

    def skip(self, n: int) -> None:
        super().skip(n)
        self._shown.update(self._task, completed=self.count)


class _Speed(ProgressColumn):
    """Our own rate and ETA: rich's forget items that took longer than 30 s."""

    def render(self, task: Task) -> Text:
        bar: Bar = task.fields["bar"]
        return Text("  ".join(filter(None, [format_rate(bar.rate), format_left(bar.left)])))


def format_rate(rate: float | None) -> str:
    """`12.5/s`, or `50.0 s/item` where one takes longer than a second."""
    if rate is None:
        return ""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s/item"


def format_left(seconds: float | None) -> str:
    """`0:01:30 left`."""
    return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Bar]:
    """A bar for `total` items; gone from the terminal when the work is done.

    Of several ranks only the first one shows it.
    """
    out = console(stderr=True)
    if os.environ.get("RANK", "0") != "0":
        yield Bar(label, total)
    elif is_plain(out):
        yield _Lines(label, total)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _Speed())
        # what goes to a file or a pipe meanwhile must not be drawn above the bar instead
        with Progress(*columns, console=out, transient=True, redirect_stdout=sys.stdout.isatty()) as shown:
            yield _Drawn(label, total, shown)
