"""Groups of a token store, made one by one as they are laid out. Tokenises nothing, plans nothing.

A file of tens of millions of rows costs a few numbers a row: no object of Python stands for a row until it is trained.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..text.collate import Group, Totals
from ..text.plan import Sizes
from ..text.token_shards import ALONE
from ..text.token_store import TokenStore

TOO_LONG, EMPTY_PROMPT, EMPTY_RESPONSE = "too_long", "empty_prompt", "empty_response"


class StoredGroups(Sequence[Group]):
    """Rows of a store as groups of one response each.

    Args:
        store: the ids.
        rows: (G,) those that are trained on, in the order of the file.
        per_target: each target's tokens share one weight, instead of weighing 1 each.
        length_floor: with `per_target`, the tokens that a target counts as at least.
    """

    def __init__(
        self, store: TokenStore, rows: NDArray[np.int64], *, per_target: bool = False, length_floor: int = 1
    ) -> None:
        self.store, self.rows = store, rows
        self.per_target, self.length_floor = per_target, length_floor

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Group: ...
    @overload
    def __getitem__(self, place: slice) -> list[Group]: ...
    def __getitem__(self, place: int | slice) -> Group | list[Group]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        row = int(self.rows[place])
        prompt, target = self.store[row]
        weight = 1 / max(len(target), self.length_floor) if self.per_target else 1.0
        return Group(f"{self.store.name}[{row}]", prompt.tolist(), [target.tolist()], [0.0], [False], [weight])

    @property
    def sizes(self) -> Sizes:
        """What each group takes."""
        length = self.store.prompts[self.rows] + self.store.targets[self.rows]
        return Sizes(np.ones(len(self), np.int64), length, length - 1)

    @property
    def units(self) -> NDArray[np.int64] | None:
        """The first group of each unit, a packed row or a row that stands alone; None where all stand alone."""
        packs = self.store.packs[self.rows]
        if not (packs != ALONE).any():
            return None
        first = np.ones(len(packs), bool)
        first[1:] = (packs[1:] != packs[:-1]) | (packs[1:] == ALONE)
        return np.flatnonzero(first)

    def totals(self, places: Sequence[int]) -> Totals:
        """Denominators of an optimizer step of these groups."""
        lengths = self.store.targets[self.rows[np.asarray(places, np.int64)]]
        weighed = lengths / np.maximum(lengths, self.length_floor) if self.per_target else lengths
        return Totals(max(len(lengths), 1), 1, max(float(weighed.sum()), 1e-9))


def stored_groups(
    store: TokenStore, *, max_length: int | None, per_target: bool = False, length_floor: int = 1
) -> tuple[StoredGroups, dict[str, int]]:
    """The rows of a store that can be trained on, and why the others cannot: reason → rows.

    Args:
        store: the ids.
        max_length: tokens of prompt + target with its EOS; None: any number.
        per_target: as of `StoredGroups`.
        length_floor: likewise.

    Raises:
        DataError: a packed row's rows do not stand together.
    """
    _check_packs(store)
    long = np.zeros(store.rows, bool) if max_length is None else store.prompts + store.targets > max_length
    no_prompt, no_target = store.prompts == 0, store.targets == 0
    counts = {
        EMPTY_PROMPT: int(no_prompt.sum()),
        EMPTY_RESPONSE: int((no_target & ~no_prompt).sum()),
        TOO_LONG: int((long & ~no_target & ~no_prompt).sum()),
    }
    kept = np.flatnonzero(~(long | no_target | no_prompt))
    groups = StoredGroups(store, kept, per_target=per_target, length_floor=length_floor)
    return groups, {reason: count for reason, count in counts.items() if count}


def _check_packs(store: TokenStore) -> None:
    packs = store.packs
    numbers = packs[np.flatnonzero(np.append(True, packs[1:] != packs[:-1]))] if len(packs) else packs
    numbers = numbers[numbers != ALONE]
    wrong = np.flatnonzero(np.diff(numbers) <= 0)
    if len(wrong):
        number = int(numbers[wrong[0] + 1])
        raise DataError(
            f"{store.name}: pack {number} comes after pack {int(numbers[wrong[0]])}: rows of one packed row stand "
            "together, and the numbers go up: make the file again with a mix stage"
        )
