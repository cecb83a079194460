"""What is printed for a person: colours and wrapped tables on a terminal, plain aligned lines in a pipe.

The same rows go to either form. Text from files is shown as it is: control characters as their escapes, nothing in it
is markup. Knows nothing of what the rows say.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import rich.table
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, what turns the direction of writing, halves of a pair: all but tabs and line ends."""
WIDEST = 40
"""Plain columns are aligned for cells up to this width; a longer cell moves only the rest of its own line."""
NARROW = 40
"""A last column with less room than this, that needs more, stands below its row."""


def console(*, stderr: bool = False) -> Console:
    """Standard output, or stderr, without markup."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def is_plain(out: Console) -> bool:
    """Whether only plain lines are wanted: a pipe, a file, or a terminal that can do no more."""
    return not out.is_terminal or out.is_dumb_terminal


def visible(text: str) -> str:
    """The text with every character that a terminal would obey, or cannot show, as its escape."""
    return UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@dataclass
class Table:
    """Rows under headings."""

    columns: Sequence[str]
    title: str = ""
    numbers: Sequence[str] = ()
    """The columns that are aligned to the right."""
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """One more row; a line end inside a cell becomes a space."""
        self.rows.append([re.sub(r"\s*[\n\t]\s*", " ", visible(cell)) for cell in cells])

    def show(self) -> None:
        """Print it in the form that standard output is for."""
        out = console()
        if is_plain(out):
            print("\n".join([visible(self.title)] * bool(self.title) + self.lines(self.columns, empty="-")))
            return
        *others, last = self._widths(self.columns)
        left = out.width - sum(others) - 3 * len(others)
        out.print(self.stacked() if left < min(last, NARROW) else self.boxed())

    def lines(self, columns: Sequence[str], empty: str = "") -> list[str]:
        """The heading and the rows, with two spaces between the first columns, those named; nothing is cut."""
        widths = self._widths(columns)
        rows = [columns, *([cell or empty for cell in row] for row in self.rows)]
        return ["  ".join(map(self._padded, columns, row, widths)).rstrip() for row in rows]

    def stacked(self) -> RenderableType:
        """For a narrow terminal: the last column's cells below their rows, if they are words."""
        beside = self.columns if self.columns[-1] in self.numbers else self.columns[:-1]
        heading, *lines = self.lines(beside)
        parts: list[RenderableType] = [Text(f"{visible(self.title)}\n{heading}".strip(), style="bold")]
        for line, row in zip(lines, self.rows, strict=True):
            parts.append(Text(line))
            if below := "".join(row[len(beside) :]):
                margin = len(line) - len(line.lstrip()) + 4
                parts.append(Padding(Text(below, style="dim"), (0, 0, 0, margin), expand=False))
        return Group(*parts)

    def boxed(self) -> RenderableType:
        """For a terminal: long cells are folded, nothing is cut."""
        title = Text(visible(self.title), style="bold") if self.title else None
        table = rich.table.Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for number, name in enumerate(self.columns):
            right = name in self.numbers
            # names, which stand in the first column, and numbers are read whole
            whole = right or number == 0
            table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=whole)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def _widths(self, columns: Sequence[str]) -> list[int]:
        cells = zip(*([*columns], *(row[: len(columns)] for row in self.rows)), strict=True)
        return [max(width for cell in column if (width := cell_len(cell)) <= WIDEST) for column in cells]

    def _padded(self, column: str, cell: str, width: int) -> str:
        space = " " * (width - cell_len(cell))
        return space + cell if column in self.numbers else cell + space
