"""What is printed when a stage is done: a line in a pipe; on a terminal also what was kept and dropped, and why."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..terminal import console, is_plain
from .stage import Counts

WIDTH = 12
"""Columns of a stage's name, at least."""
BESIDE = {"rejected": ("kept", "over_limit"), "dropped": ("groups", "trained_on")}
"""Name of dropped things → names of the others they are a share of."""


def say_not_run(name: str, why: str, width: int = WIDTH) -> None:
    """A stage that is cached, or that a loop does not come to."""
    console().print(Text(f"{name:<{width}} {why}", style="dim"), soft_wrap=True)


def say_done(name: str, counts: Counts, seconds: float, width: int = WIDTH) -> None:
    """A stage that ran."""
    out = console()
    if is_plain(out):
        print(f"{name:<{width}} {describe(counts)}  {seconds:.1f} s", flush=True)
    else:
        for part in closing(name, counts, seconds, width):
            out.print(part)


def describe(counts: Counts) -> str:
    """Counts in one line: `kept 3, rejected 2 (too_long 1, duplicate 1)`."""
    parts = []
    for name, value in counts.items():
        if isinstance(value, dict):
            parts.append(f"{name} {sum(value.values())}" + (f" ({describe(value)})" if value else ""))
        else:
            parts.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(parts)


def closing(name: str, counts: Counts, seconds: float, width: int = WIDTH) -> Iterator[RenderableType]:
    """A heading, then one line a reason with its count and share.

    Floats are left out: they are measured figures, which the table of scores shows with their intervals.
    """
    told = []
    for what, value in counts.items():
        if isinstance(value, dict):
            some, whole = sum(value.values()), _whole(what, counts)
            told.append(f"{what} {some:,}" + (f" of {whole:,}" if some < whole else ""))
        elif not isinstance(value, float):
            told.append(f"{what} {value:,}" if isinstance(value, int) else f"{what} {value}")
    heading = Table.grid(padding=(0, 2))
    heading.add_row(Text(f"{name:<{width + 4}}", style="bold"), Text(f"{seconds:>8.1f} s"), Text(", ".join(told)))
    yield heading
    reasons = {what: value for what, value in counts.items() if isinstance(value, dict)}
    indent = max(map(len, reasons), default=0)
    width = max((len(reason) for value in reasons.values() for reason in value), default=0)
    for what, value in reasons.items():
        whole = _whole(what, counts)
        for number, (reason, count) in enumerate(value.items()):
            share = f"{100 * count / whole:.1f} %" if whole else "-"
            label = "" if number else what
            yield Text(f"    {label:<{indent}}  {reason:<{width}}  {count:>10,}  {share:>7}", style="dim")


def _whole(what: str, counts: Counts) -> int:
    """What a mapping's counts are a share of."""
    beside = [counts[name] for name in BESIDE.get(what, ()) if name in counts]
    return int(sum([*counts[what].values(), *beside]))
