"""Have a model choose among many rows' options, so that an interruption costs at most one batch. Torch-free."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ..io import Journal
from ..progress import progress
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
        journal: finished batches are appended here; a call that finds its own rows there goes on after them, a journal
            of other rows is started anew. Hidden files go when their stage is done.
        label: what the progress bar says.
    """
    found: dict[int, Chosen] = {}
    with _open(journal, content_id([row.model_dump() for row in rows])) as log, progress(label, len(rows)) as bar:
        for entry in log.entries[1:]:
            found |= {int(place): Chosen.of(rows[int(place)], *told) for place, told in entry["chosen"].items()}
        bar.skip(len(found))
        for batch in load().batches(rows, frozenset(found)) if len(found) < len(rows) else ():
            log.append({"chosen": {str(place): [one.logprobs, one.tokens] for place, one in batch.items()}})
            found |= batch
            bar.advance(len(batch))
    return [found[place] for place in range(len(rows))]


def _open(path: Path, identity: str) -> Journal:
    """The journal of these rows: its first entry says whose it is."""
    log = Journal(path)
    if log.entries and log.entries[0] != {"rows": identity}:
        log.close()
        path.unlink()
        log = Journal(path)
    if not log.entries:
        log.append({"rows": identity})
    return log
