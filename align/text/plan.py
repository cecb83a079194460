"""Plan the micro-batches of a training run. Torch-free; lays nothing out.

An optimizer step is `global_batch_size` units, fixed by the seed before any split over ranks, micro-batches or
accumulation: a unit is a group, or a packed row of several. The budget of tokens only cuts a step into micro-batches,
as many for every rank. A plan is a few arrays: about 16 bytes for each unit of an epoch.
"""

import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

LayoutName = Literal["plain", "grouped"]
"""How groups are laid out: a padded row for each response, or one packed row in which every prompt stands once."""


class Size(NamedTuple):
    """What a group takes in either layout."""

    rows: int
    """Responses."""
    length: int
    """Tokens of the longest prompt + response: the width of its rows in `plain`."""
    packed: int
    """Tokens of the prompt and of all responses: what it takes in `grouped`."""

    def with_(self, other: "Size") -> "Size":
        """Of both in one micro-batch."""
        return Size(self.rows + other.rows, max(self.length, other.length), self.packed + other.packed)

    def tokens(self, layout: LayoutName) -> int:
        """Tokens as they are laid out, padding included."""
        return self.packed if layout == "grouped" else self.rows * self.length


class Sizes(NamedTuple):
    """The sizes of many groups as arrays, (G,) each."""

    rows: NDArray[np.int64]
    length: NDArray[np.int64]
    packed: NDArray[np.int64]

    @staticmethod
    def of(sizes: Sequence[Size]) -> "Sizes":
        """Those of a sequence."""
        return Sizes(*np.array(sizes, np.int64).reshape(-1, 3).T)

    def joined(self, starts: NDArray[np.int64]) -> "Sizes":
        """The sizes of units, given the first group of each."""
        if not len(starts):
            return self
        rows, length, packed = self
        add = np.add.reduceat
        return Sizes(add(rows, starts), np.maximum.reduceat(length, starts), add(packed, starts))

    def at(self, places: NDArray[np.int64]) -> list[Size]:
        """Some of them."""
        found = (values[places].tolist() for values in self)
        return [Size(*values) for values in zip(*found, strict=True)]


class Parts(Sequence[list[int]]):
    """Lists of groups, kept as arrays: part `i` is the units from `starts[i]` to `starts[i + 1]`."""

    def __init__(
        self, units: NDArray[np.int64], starts: NDArray[np.int64], groups: NDArray[np.int64] | None = None
    ) -> None:
        self.units, self.starts, self.groups = units, starts, groups
        """`groups`: (units + 1,) where each unit's groups begin; None: a unit is a group."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, place: int) -> list[int]: ...
    @overload
    def __getitem__(self, place: slice) -> list[list[int]]: ...
    def __getitem__(self, place: int | slice) -> list[int] | list[list[int]]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return groups_of(self.units[self.starts[place] : self.starts[place + 1]], self.groups).tolist()  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


class MicroBatchParts(Sequence[tuple[int, list[int]]]):
    """(step, groups) of every micro-batch, each step having as many."""

    def __init__(self, parts: Parts, slots: int) -> None:
        self.parts, self.slots = parts, slots

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, place: int) -> tuple[int, list[int]]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, list[int]]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return place // self.slots, self.parts[place]


@dataclass(frozen=True)
class Plan:
    """All micro-batches of a run, in the order in which ranks take them in turn."""

    steps: Sequence[list[int]]
    """Groups of each optimizer step."""
    micro_batches: Sequence[tuple[int, list[int]]]
    """(step, groups): steps × accumulation × ranks of them; an empty one has no groups."""
    accumulation: int
    """Micro-batches a rank takes for one step."""


def plan_batches(
    sizes: Sequence[Size] | Sizes,
    *,
    global_batch_size: int,
    max_tokens_per_batch: int,
    world_size: int,
    seed: int,
    epochs: float | None = None,
    max_steps: int | None = None,
    layout: LayoutName = "grouped",
    units: NDArray[np.int64] | None = None,
) -> Plan:
    """The plan of a run.

    Args:
        sizes: what each group takes.
        global_batch_size: units of an optimizer step, over all ranks.
        max_tokens_per_batch: tokens of a micro-batch as they are laid out, padding included.
        world_size: ranks.
        seed: fixes the order of the units, epoch by epoch.
        epochs: passes over the data; the last batch of each is trained as it is, however small.
        max_steps: optimizer steps, instead of epochs.
        layout: how the micro-batches will be laid out.
        units: the first group of each unit; None: a unit is a group. A packed row is laid out whole where layout is
            `grouped`; padded rows of its groups may go to several micro-batches.

    Raises:
        ConfigError: a unit does not fit into a micro-batch.
    """
    sizes = sizes if isinstance(sizes, Sizes) else Sizes.of(sizes)
    groups = None if units is None else np.append(units, len(sizes.rows))
    count = len(sizes.rows) if units is None else len(units)
    per_epoch = math.ceil(count / global_batch_size)
    total = max_steps if max_steps is not None else max(1, math.ceil((epochs or 1) * per_epoch))
    steps = _steps(count, global_batch_size, seed, total)
    whole = groups is not None and layout == "grouped"
    cutter = _Cutter(sizes.joined(groups[:-1]) if whole else sizes, max_tokens_per_batch, world_size, layout, whole)  # type: ignore[index]
    values, lengths, counts = array("q"), array("q"), array("q")
    for step in range(total):
        items = steps.units[steps.starts[step] : steps.starts[step + 1]]
        parts = cutter.cut(items if whole else groups_of(items, groups))
        counts.append(len(parts))
        for part in parts:
            values.extend(part)
            lengths.append(len(part))
    accumulation = math.ceil(max(counts) / world_size)
    slots = accumulation * world_size
    filled = np.zeros(total * slots, np.int64)
    # the parts of a step come first among its slots, empty ones after them
    filled[np.repeat(np.arange(total) * slots, counts) + _count_up(np.asarray(counts))] = lengths
    laid = Parts(np.asarray(values), _offsets(filled), groups if whole else None)
    return Plan(Parts(steps.units, steps.starts, groups), MicroBatchParts(laid, slots), accumulation)


def groups_of(units: NDArray[np.int64], groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The groups of some units, in order.

    Args:
        units: which.
        groups: where each unit's groups begin, and where the last one's end; None: a unit is a group.
    """
    if groups is None:
        return units
    counts = groups[units + 1] - groups[units]
    return np.repeat(groups[units], counts) + _count_up(counts)


def _count_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … as far as each count goes."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _steps(count: int, size: int, seed: int, total: int) -> Parts:
    """The units of each global batch: each epoch is a fresh shuffle, drawn without replacement."""
    per_epoch = math.ceil(count / size)
    units, lengths = [], []
    for epoch in range(math.ceil(total / per_epoch)):
        order = array("q", range(count))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        taken = min(per_epoch, total - epoch * per_epoch)
        units.append(np.asarray(order)[: taken * size])
        lengths.append(np.diff(np.minimum(np.arange(taken + 1) * size, count)))
    return Parts(np.concatenate(units), _offsets(np.concatenate(lengths)))


@dataclass(frozen=True)
class _Cutter:
    """Cuts a step into micro-batches."""

    sizes: Sizes
    budget: int
    world_size: int
    layout: LayoutName
    packed: bool
    """Whether what is cut apart are packed rows."""

    def cut(self, step: NDArray[np.int64]) -> list[list[int]]:
        """Micro-batches of similar length, at most `budget` tokens each, the largest first."""
        order = step[np.lexsort((step, -self.sizes.length[step]))]
        parts: list[list[int]] = []
        tokens: list[Size] = []
        for index, size in zip(order.tolist(), self.sizes.at(order), strict=True):
            if size.tokens(self.layout) > self.budget:
                raise ConfigError(self._too_large(size))
            if not parts or tokens[-1].with_(size).tokens(self.layout) > self.budget:
                parts.append([])
                tokens.append(Size(0, 0, 0))
            parts[-1].append(index)
            tokens[-1] = tokens[-1].with_(size)
        return self._spread(parts)

    def _spread(self, parts: list[list[int]]) -> list[list[int]]:
        """Halve the largest until every rank works on something before any gets an empty micro-batch."""
        while len(parts) % self.world_size:
            largest = max(parts, key=self._tokens)
            if len(largest) == 1:
                break
            place, middle = parts.index(largest), len(largest) // 2
            parts[place : place + 1] = [largest[:middle], largest[middle:]]
        return sorted(parts, key=self._tokens, reverse=True)

    def _tokens(self, part: list[int]) -> int:
        own = np.array(part)
        if self.layout == "grouped":
            return int(self.sizes.packed[own].sum())
        return int(self.sizes.rows[own].sum() * self.sizes.length[own].max())

    def _too_large(self, size: Size) -> str:
        needed = size.tokens(self.layout)
        if self.packed:
            found = f"cannot hold a packed row of {needed} tokens: give at least {needed}"
            return f"max_tokens_per_batch: {self.budget} {found}"
        return (
            f"max_tokens_per_batch: {self.budget} cannot hold a group of {size.rows} rows of {size.length} tokens: "
            f"give at least {needed}, or a smaller max_length"
        )
