"""Work that comes in batches, kept as it goes, so that an interruption costs at most one batch. Does no work itself."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ..io import Journal
from ..progress import progress

Item = TypeVar("Item")
Batches = Iterable[dict[int, Item]]
"""What came of some places, a batch at a time."""


def journalled(
    work: Callable[[Collection[int]], Batches[Item]],
    count: int,
    journal: Path,
    identity: str,
    label: str,
    *,
    dump: Callable[[Item], Any],
    load: Callable[[int, Any], Item],
) -> list[Item]:
    """What comes of each place, in order.

    Args:
        work: gives batches, without those of which everything is done; not called where nothing is left.
        count: how many places there are, from 0.
        journal: finished batches are appended here, one line each; a call that finds its own work there goes on after
            them, a journal of other work is started anew. Hidden files go when their stage is done.
        identity: tells this work from other work.
        label: what the progress bar says.
        dump: one item as JSON has it.
        load: the item of a place, from that.
    """
    found: dict[int, Item] = {}
    with _open(journal, identity) as log, progress(label, count) as bar:
        for entry in log.entries[1:]:
            found |= {int(place): load(int(place), told) for place, told in entry["done"].items()}
        bar.skip(len(found))
        for batch in work(frozenset(found)) if len(found) < count else ():
            log.append({"done": {str(place): dump(item) for place, item in batch.items()}})
            found |= batch
            bar.advance(len(batch))
    return [found[place] for place in range(count)]


def _open(path: Path, identity: str) -> Journal:
    """The journal of this work: its first entry says whose it is."""
    log = Journal(path)
    if log.entries and log.entries[0] != {"work": identity}:
        log.close()
        path.unlink()
        log = Journal(path)
    if not log.entries:
        log.append({"work": identity})
    return log
