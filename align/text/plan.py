"""Plan the micro-batches of a training run. Torch-free; lays nothing out.

An optimizer step is `global_batch_size` groups, fixed by the seed before any split over ranks, micro-batches or
accumulation. The budget of tokens only cuts a step into micro-batches, as many for every rank.
"""

import functools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

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


@dataclass(frozen=True)
class Plan:
    """All micro-batches of a run, in the order in which ranks take them in turn."""

    steps: list[list[int]]
    """Groups of each optimizer step."""
    micro_batches: list[tuple[int, list[int]]]
    """(step, groups): steps × accumulation × ranks of them; an empty one has no groups."""
    accumulation: int
    """Micro-batches a rank takes for one step."""


def plan_batches(
    sizes: Sequence[Size],
    *,
    global_batch_size: int,
    max_tokens_per_batch: int,
    world_size: int,
    seed: int,
    epochs: float | None = None,
    max_steps: int | None = None,
    layout: LayoutName = "grouped",
) -> Plan:
    """The plan of a run.

    Args:
        sizes: what each group takes.
        global_batch_size: groups of an optimizer step, over all ranks.
        max_tokens_per_batch: tokens of a micro-batch as they are laid out, padding included.
        world_size: ranks.
        seed: fixes the order of the groups, epoch by epoch.
        epochs: passes over the data; the last batch of each is trained as it is, however small.
        max_steps: optimizer steps, instead of epochs.
        layout: how the micro-batches will be laid out.

    Raises:
        ConfigError: a group does not fit into a micro-batch.
    """
    per_epoch = math.ceil(len(sizes) / global_batch_size)
    count = max_steps if max_steps is not None else max(1, math.ceil((epochs or 1) * per_epoch))
    order = _order(len(sizes), global_batch_size, seed)
    steps = [next(order) for _ in range(count)]
    cut = [_cut(step, sizes, max_tokens_per_batch, world_size, layout) for step in steps]
    accumulation = max(math.ceil(len(parts) / world_size) for parts in cut)
    slots = accumulation * world_size
    micro_batches = [(i, part) for i, parts in enumerate(cut) for part in parts + [[]] * (slots - len(parts))]
    return Plan(steps, micro_batches, accumulation)


def _order(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Global batches without end: each epoch is a fresh shuffle, drawn without replacement."""
    epoch = 0
    while True:
        indices = list(range(count))
        random.Random(f"{seed}/{epoch}").shuffle(indices)
        yield from (indices[start : start + size] for start in range(0, count, size))
        epoch += 1


def _cut(
    step: Sequence[int], sizes: Sequence[Size], budget: int, world_size: int, layout: LayoutName
) -> list[list[int]]:
    """Micro-batches of groups of similar length, at most `budget` tokens each, the largest first."""
    parts: list[list[int]] = []
    taken = Size(0, 0, 0)
    for index in sorted(step, key=lambda i: (-sizes[i].length, i)):
        size = sizes[index]
        if size.tokens(layout) > budget:
            raise ConfigError(
                f"max_tokens_per_batch: {budget} cannot hold a group of {size.rows} rows of {size.length} tokens: "
                f"give at least {size.tokens(layout)}, or a smaller max_length"
            )
        if not parts or taken.with_(size).tokens(layout) > budget:
            parts.append([])
            taken = Size(0, 0, 0)
        parts[-1].append(index)
        taken = taken.with_(size)
    return _spread(parts, sizes, world_size, layout)


def _spread(parts: list[list[int]], sizes: Sequence[Size], world_size: int, layout: LayoutName) -> list[list[int]]:
    """Halve the largest until every rank works on something before any gets an empty micro-batch."""

    def tokens(part: list[int]) -> int:
        return functools.reduce(Size.with_, [sizes[i] for i in part]).tokens(layout)

    while len(parts) % world_size:
        largest = max(parts, key=tokens)
        if len(largest) == 1:
            break
        place, middle = parts.index(largest), len(largest) // 2
        parts[place : place + 1] = [largest[:middle], largest[middle:]]
    return sorted(parts, key=tokens, reverse=True)
