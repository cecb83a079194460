"""Have a model choose among many rows' options, so that an interruption costs at most one batch. Torch-free."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ..generate.journalled import journalled
from ..schema import content_id
from .classify import Choice, Chosen


class Batches(Protocol):
    """What `align.score.choice.Chooser` does, as far as it is needed here."""

    def batches(self, rows: Sequence[Choice], done: Collection[int] = ()) -> Iterator[dict[int, Chosen]]:
        """What a model says of the rows, by their places, without the batches that are done."""
        ...


def chosen(load: Callable[[], Batches], rows: Sequence[Choice], journal: Path, label: str) -> list[Chosen]:
    """What a model says of each row, in order.

    Args:
        load: gives the model; not called where everything is known already.
        rows: what it is asked.
        journal: as in `journalled`.
        label: what the progress bar says.
    """
    return journalled(
        lambda done: load().batches(rows, done),
        len(rows),
        journal,
        content_id([row.model_dump() for row in rows]),
        label,
        dump=lambda one: [one.logprobs, one.tokens],
        load=lambda place, told: Chosen.of(rows[place], *told),
    )
