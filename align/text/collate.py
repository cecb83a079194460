"""Lay prompt groups out as the tensors of a micro-batch, in one of two layouts. Plans nothing, reads no files.

`grouped` packs all groups into one row: each prompt once, its responses after it, no padding. `plain` repeats the
prompt before each response and pads on the right; it is what `grouped` is tested against. Both have the same keys
otherwise, with `predict_N` pointing into their own tokens; every micro-batch carries the denominators of its whole
optimizer step, so that losses do not depend on how a step is cut.

Shape suffixes: R responses of a micro-batch, N their tokens, T tokens of a row, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .plan import LayoutName, Size

Layout = Sequence[tuple[int, Sequence[int]]]
"""(prompt tokens, (tokens of each response that stand in the row)) of each group of a packed row. The last token of a
response predicts nothing and is left out, so a response of only the EOS takes none."""

GroupBatch = dict[str, Any]
"""One micro-batch. Of both layouts: `predict_N` (index into the flattened tokens of the position before each target),
`targets_N`, `response_N`, `group_R`, `scores_R`, `teacher_R`, `sft_weights_R`, `index_G` (places in the data set),
`groups`, `pairs`, `tokens` (denominators of the whole step), `empty` (a plain bool: the one response in it is made up),
and `reference_N` where it was computed beforehand. Of `plain`: `input_ids` (R, T), `attention_mask` (R, T). Of
`grouped`: `input_ids` (1, T), `position_ids` (1, T) and `layout`, a `Layout` of plain numbers, which reach attention
without waiting for a device."""


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
    def size(self) -> Size:
        """What it takes in either layout."""
        lengths = [len(response) for response in self.responses]
        prompt = len(self.prompt)
        return Size(len(lengths), prompt + max(lengths), prompt + sum(lengths) - len(lengths))

    @property
    def pairs(self) -> int:
        """Pairs that the scores order."""
        return sum(a > b for a in self.scores for b in self.scores)

    @property
    def target_tokens(self) -> float:
        """Σ w·length over the responses that the SFT term trains on."""
        return sum(w * len(ids) for w, ids in zip(self.sft_weights, self.responses, strict=True))


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


def collate(
    groups: Sequence[Group],
    totals: Totals,
    *,
    pad_id: int,
    indices: Sequence[int] = (),
    reference: Sequence[Tensor] | None = None,
    layout: LayoutName = "grouped",
) -> GroupBatch:
    """Lay groups out as one micro-batch.

    Args:
        groups: its groups; none gives a micro-batch that runs the model and has no loss.
        totals: denominators of the whole optimizer step.
        pad_id: fills rows; it may be any id, since masks go by length.
        indices: places of the groups in the data set.
        reference: log-probabilities of each group's response tokens under the reference model.
        layout: how the tokens are laid out.
    """
    # without order and targets, so every term of it is 0 and yet every parameter has a gradient
    filling = [Group("", [pad_id], [[pad_id]], [0.0], [False], [0.0])]
    laid = groups or filling
    responses = [response for group in laid for response in group.responses]
    batch: GroupBatch = _packed_row(laid) if layout == "grouped" else _padded_rows(laid, pad_id)
    batch |= {
        "targets_N": torch.tensor([token for response in responses for token in response]),
        "response_N": _repeated([len(response) for response in responses]),
        "group_R": _repeated([len(group.responses) for group in laid]),
        "scores_R": torch.tensor([score for group in laid for score in group.scores]),
        "teacher_R": torch.tensor([flag for group in laid for flag in group.teacher]),
        "sft_weights_R": torch.tensor([weight for group in laid for weight in group.sft_weights]),
        "index_G": torch.tensor(indices, dtype=torch.long),
        "empty": not groups,
        "groups": torch.tensor(float(totals.groups)),
        "pairs": torch.tensor(float(totals.pairs)),
        "tokens": torch.tensor(float(totals.tokens)),
    }
    if reference is not None:
        batch["reference_N"] = torch.cat(list(reference)) if groups else torch.zeros(1)
    return batch


def on_device(batch: GroupBatch, device: torch.device) -> GroupBatch:
    """The micro-batch with its tensors on a device."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _packed_row(groups: Sequence[Group]) -> GroupBatch:
    """All groups in one row; the positions of every response go on from its prompt's."""
    ids: list[int] = []
    positions: list[int] = []
    predict: list[int] = []
    for group in groups:
        ids += group.prompt
        positions += range(len(group.prompt))
        last = len(ids) - 1
        for response in group.responses:
            # the prompt's last token predicts the first of every response
            predict += [last, *range(len(ids), len(ids) + len(response) - 1)]
            ids += response[:-1]
            positions += range(len(group.prompt), len(group.prompt) + len(response) - 1)
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "predict_N": torch.tensor(predict),
        "layout": tuple((len(g.prompt), tuple(len(response) - 1 for response in g.responses)) for g in groups),
    }


def _padded_rows(groups: Sequence[Group], pad_id: int) -> GroupBatch:
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
    }


def _repeated(counts: Sequence[int]) -> Tensor:
    """0 as often as the first count says, then 1, …"""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
