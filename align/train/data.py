"""Rows of text to prompt groups of ids, and groups to a data set of micro-batches. Reads no files.

A row that would have to be cut is dropped and counted, by reason; nothing is ever truncated.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.utils.data import Dataset

from ..schema import PreferencePair, RankedGroup, SftRow, content_id
from ..text.collate import Group, GroupBatch, Plan, Totals, collate
from ..text.encode import Encoder

Row = SftRow | RankedGroup | PreferencePair
TOO_LONG, EMPTY_PROMPT, EMPTY_RESPONSE, NO_SIGNAL = "too_long", "empty_prompt", "empty_response", "no_order_no_target"


@dataclass(frozen=True)
class Encoded:
    """What is left of the rows, and why the rest is not."""

    groups: list[Group]
    dropped: dict[str, int]
    """Reason → rows. A ranked row loses single responses first, counted as `response_<reason>`."""


def encode_rows(rows: Sequence[Row], encoder: Encoder, *, max_length: int | None, teacher_target: bool) -> Encoded:
    """Tokenise rows of any training form.

    Args:
        rows: SFT rows, ranked groups or preference pairs.
        encoder: the one tokenisation.
        max_length: tokens of prompt + response with its EOS; None: any number.
        teacher_target: the SFT term of ranked rows that name no targets trains on the teacher's response, if any.
    """
    groups, dropped = [], Counter[str]()
    for row in rows:
        group = _group(row, encoder, teacher_target)
        kept = []
        for index, text in enumerate(_texts(row)):
            reason = _fault(text, group.prompt, group.responses[index], max_length)
            if reason is None:
                kept.append(index)
            elif isinstance(row, RankedGroup):
                dropped[f"response_{reason}"] += 1
            else:
                break
        if not group.prompt:
            reason = EMPTY_PROMPT
        elif isinstance(row, RankedGroup):
            group = _only(group, kept)
            reason = None if group.pairs or any(group.sft_weights) else NO_SIGNAL
        if reason is None:
            groups.append(group)
        else:
            dropped[reason] += 1
    return Encoded(groups, dict(sorted(dropped.items())))


def sft_weights(row: RankedGroup, teacher_target: bool) -> list[float]:
    """How much each response is a target of the SFT term: the targets share weight 1; none at all, all weigh 0."""
    targets = row.sft_targets
    if targets is None and teacher_target:
        targets = [index for index, role in enumerate(row.roles) if role == "teacher"] or None
    if targets is None:
        targets = [index for index, score in enumerate(row.scores) if score == max(row.scores)]
    return [1 / len(targets) if index in targets else 0.0 for index in range(len(row.responses))]


@dataclass
class MicroBatches(Dataset[GroupBatch]):
    """The plan as a map-style data set: an item is a micro-batch."""

    groups: Sequence[Group]
    plan: Plan
    pad_id: int
    reference: list[Tensor] | None = None
    """Reference log-probabilities of each group, once they are known."""
    totals: list[Totals] = field(init=False)

    def __post_init__(self) -> None:
        self.totals = [Totals.of([self.groups[i] for i in step]) for step in self.plan.steps]

    def __len__(self) -> int:
        return len(self.plan.micro_batches)

    def __getitem__(self, item: int) -> GroupBatch:
        step, indices = self.plan.micro_batches[item]
        return collate(
            [self.groups[i] for i in indices],
            self.totals[step],
            pad_id=self.pad_id,
            indices=indices,
            reference=None if self.reference is None else [self.reference[i] for i in indices],
        )


def only_item(items: list[GroupBatch]) -> GroupBatch:
    """The collate function of a loader whose items are batches already."""
    (batch,) = items
    return batch


def _texts(row: Row) -> list[str]:
    if isinstance(row, SftRow):
        return [row.completion]
    return row.responses if isinstance(row, RankedGroup) else [row.chosen, row.rejected]


def _group(row: Row, encoder: Encoder, teacher_target: bool) -> Group:
    prompt, responses = encoder.prompt(row.prompt), [encoder.response(text) for text in _texts(row)]
    if isinstance(row, SftRow):
        return Group(content_id(row.prompt), prompt, responses, [0.0], [False], [1.0])
    if isinstance(row, PreferencePair):
        # the pair is its own order: whatever scores it came from, chosen stands above rejected
        return Group(row.problem_id, prompt, responses, [1.0, 0.0], [False, False], [1.0, 0.0])
    teacher = [role == "teacher" for role in row.roles]
    return Group(row.problem_id, prompt, responses, row.scores, teacher, sft_weights(row, teacher_target))


def _fault(text: str, prompt: list[int], response: list[int], max_length: int | None) -> str | None:
    if not text:
        return EMPTY_RESPONSE
    return TOO_LONG if max_length is not None and len(prompt) + len(response) > max_length else None


def _only(group: Group, kept: list[int]) -> Group:
    """The group with some of its responses; the targets that are left share weight 1 again."""
    share = sum(group.sft_weights[i] for i in kept) or 1.0
    return Group(
        group.problem_id,
        group.prompt,
        [group.responses[i] for i in kept],
        [group.scores[i] for i in kept],
        [group.teacher[i] for i in kept],
        [group.sft_weights[i] / share for i in kept],
    )
