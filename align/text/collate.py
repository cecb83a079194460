"""Plan the batches of a training run and lay prompt groups out as tensors. Trains nothing, reads no files.

An optimizer step is `global_batch_size` groups, fixed by the seed before any split over ranks, micro-batches or
accumulation; every micro-batch carries the denominators of its whole step. So losses and gradients do not depend on
how a step is cut. Shape suffixes: R responses of a micro-batch, N their tokens, T padded length, G groups.

`_plain_rows` repeats the prompt before each response and pads on the right; another layout only has to give the same
keys, with `predict_N` pointing into its own rows.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError

GroupBatch = dict[str, Tensor]
"""One micro-batch: `input_ids` (R, T), `attention_mask` (R, T), `predict_N` (index into R·T of the position before
each target), `targets_N`, `response_N`, `group_R`, `scores_R`, `teacher_R`, `sft_weights_R`, `index_G` (places in the
data set), `groups`, `pairs`, `tokens` (denominators of the whole step), and `reference_N` where it was computed
beforehand."""


@dataclass(frozen=True)
class Group:
    """One prompt with its k responses, in token ids; every response ends with the EOS."""

    problem_id: str
    prompt: list[int]
    responses: list[list[int]]
    scores: list[float]
    teacher: list[bool]
    sft_weights: list[float]

    @property
    def size(self) -> "Size":
        """Its rows and their longest."""
        return Size(len(self.responses), len(self.prompt) + max(map(len, self.responses)))

    @property
    def pairs(self) -> int:
        """Pairs that the scores order."""
        return sum(a > b for a in self.scores for b in self.scores)

    @property
    def target_tokens(self) -> float:
        """Σ w·length over the responses that the SFT term trains on."""
        return sum(w * len(ids) for w, ids in zip(self.sft_weights, self.responses, strict=True))


class Size(NamedTuple):
    """What a group takes: rows, and tokens of its longest row."""

    rows: int
    length: int


class Totals(NamedTuple):
    """Denominators of an optimizer step."""

    groups: int
    pairs: int
    tokens: float

    @staticmethod
    def of(groups: Sequence[Group]) -> "Totals":
        """Counted over all of a step's groups."""
        pairs, tokens = sum(g.pairs for g in groups), sum(g.target_tokens for g in groups)
        return Totals(max(len(groups), 1), max(pairs, 1), max(tokens, 1e-9))


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
) -> Plan:
    """The plan of a run.

    Args:
        sizes: what each group takes.
        global_batch_size: groups of an optimizer step, over all ranks.
        max_tokens_per_batch: padded tokens of a micro-batch.
        world_size: ranks.
        seed: fixes the order of the groups, epoch by epoch.
        epochs: passes over the data; the last batch of each is trained as it is, however small.
        max_steps: optimizer steps, instead of epochs.

    Raises:
        ConfigError: a group does not fit into a micro-batch.
    """
    per_epoch = math.ceil(len(sizes) / global_batch_size)
    count = max_steps if max_steps is not None else max(1, math.ceil((epochs or 1) * per_epoch))
    order = _order(len(sizes), global_batch_size, seed)
    steps = [next(order) for _ in range(count)]
    cut = [_cut(step, sizes, max_tokens_per_batch, world_size) for step in steps]
    accumulation = max(math.ceil(len(parts) / world_size) for parts in cut)
    slots = accumulation * world_size
    micro_batches = [(i, part) for i, parts in enumerate(cut) for part in parts + [[]] * (slots - len(parts))]
    return Plan(steps, micro_batches, accumulation)


def collate(
    groups: Sequence[Group],
    totals: Totals,
    *,
    pad_id: int,
    indices: Sequence[int] = (),
    reference: Sequence[Tensor] | None = None,
) -> GroupBatch:
    """Lay groups out as one micro-batch.

    Args:
        groups: its groups; none gives a micro-batch that runs the model and has no loss.
        totals: denominators of the whole optimizer step.
        pad_id: fills rows; it may be any id, since masks go by length.
        indices: places of the groups in the data set.
        reference: log-probabilities of each group's response tokens under the reference model.
    """
    # without order and targets, so every term of it is 0 and yet every parameter has a gradient
    filling = [Group("", [pad_id], [[pad_id]], [0.0], [False], [0.0])]
    laid = groups or filling
    batch = _plain_rows(laid, pad_id)
    counts = torch.tensor([len(group.responses) for group in laid])
    batch |= {
        "group_R": torch.arange(len(laid)).repeat_interleave(counts),
        "scores_R": torch.tensor([score for group in laid for score in group.scores]),
        "teacher_R": torch.tensor([flag for group in laid for flag in group.teacher]),
        "sft_weights_R": torch.tensor([weight for group in laid for weight in group.sft_weights]),
        "index_G": torch.tensor(indices, dtype=torch.long),
        "groups": torch.tensor(float(totals.groups)),
        "pairs": torch.tensor(float(totals.pairs)),
        "tokens": torch.tensor(float(totals.tokens)),
    }
    if reference is not None:
        batch["reference_N"] = torch.cat(list(reference)) if groups else torch.zeros(1)
    return batch


def _plain_rows(groups: Sequence[Group], pad_id: int) -> GroupBatch:
    """A row for each response: prompt, response, padding. The last token predicts nothing and is left out."""
    rows = [(group.prompt, response) for group in groups for response in group.responses]
    width = max(len(prompt) + len(response) for prompt, response in rows) - 1
    ids: list[list[int]] = []
    mask: list[list[int]] = []
    predict: list[int] = []
    for row, (prompt, response) in enumerate(rows):
        length = len(prompt) + len(response) - 1
        ids.append(prompt + response[:-1] + [pad_id] * (width - length))
        mask.append([1] * length + [0] * (width - length))
        predict += range(row * width + len(prompt) - 1, row * width + length)
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "predict_N": torch.tensor(predict),
        "targets_N": torch.tensor([token for _, response in rows for token in response]),
        "response_N": torch.arange(len(rows)).repeat_interleave(torch.tensor([len(r) for _, r in rows])),
    }


def _order(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Global batches without end: each epoch is a fresh shuffle, drawn without replacement."""
    epoch = 0
    while True:
        indices = list(range(count))
        random.Random(f"{seed}/{epoch}").shuffle(indices)
        yield from (indices[start : start + size] for start in range(0, count, size))
        epoch += 1


def _cut(step: Sequence[int], sizes: Sequence[Size], budget: int, world_size: int) -> list[list[int]]:
    """Micro-batches of groups of similar length, at most `budget` padded tokens each, the largest first."""
    parts: list[list[int]] = []
    rows = longest = 0
    for index in sorted(step, key=lambda i: (-sizes[i].length, i)):
        size = sizes[index]
        if size.rows * size.length > budget:
            raise ConfigError(
                f"max_tokens_per_batch: {budget} cannot hold a group of {size.rows} rows of {size.length} tokens: "
                f"give at least {size.rows * size.length}, or a smaller max_length"
            )
        if not parts or (rows + size.rows) * longest > budget:
            parts.append([])
            rows, longest = 0, size.length
        parts[-1].append(index)
        rows += size.rows
    # every rank works on something before any gets an empty micro-batch
    while (
        len(parts) % world_size and (largest := max(parts, key=lambda part: _tokens(part, sizes))) and len(largest) > 1
    ):
        place = parts.index(largest)
        middle = len(largest) // 2
        parts[place : place + 1] = [largest[:middle], largest[middle:]]
    return sorted(parts, key=lambda part: -_tokens(part, sizes))


def _tokens(part: Sequence[int], sizes: Sequence[Size]) -> int:
    return sum(sizes[i].rows for i in part) * max(sizes[i].length for i in part)
