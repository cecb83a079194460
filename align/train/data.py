"""Rows of text to prompt groups of ids, and groups to a data set of micro-batches. Reads no files.

A row that would have to be cut is dropped and counted, by reason; nothing that is trained on is ever truncated.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ..errors import ConfigError, DataError
from ..schema import Dialogue, MultitaskRow, PreferencePair, RankedGroup, SftRow, UnpairedRow, content_id
from ..text.collate import Group, GroupBatch, Totals, collate
from ..text.encode import Encoder
from ..text.plan import LayoutName, Plan
from .dialogue import turns

Row = SftRow | Dialogue | MultitaskRow | RankedGroup | PreferencePair | UnpairedRow
TOO_LONG, EMPTY_PROMPT, EMPTY_RESPONSE, NO_SIGNAL = "too_long", "empty_prompt", "empty_response", "no_order_no_target"


@dataclass(frozen=True)
class Encoded:
    """What is left of the rows, and why the rest is not."""

    groups: list[Group]
    dropped: dict[str, int]
    """Reason → rows. A ranked row loses single responses first, counted as `response_<reason>`."""


def encode_rows(
    rows: Sequence[Row],
    encoder: Encoder,
    *,
    max_length: int | None,
    teacher_target: bool = False,
    per_target: bool = False,
) -> Encoded:
    """Tokenise rows of any training form. A dialogue gives a row for each turn of the assistant.

    Args:
        rows: records of one kind.
        encoder: the one tokenisation.
        max_length: tokens of prompt + response with its EOS; None: any number.
        teacher_target: the SFT term of ranked rows that name no targets trains on the teacher's response, if any.
        per_target: every row's tokens share weight 1, so that the SFT term is the mean over rows of their means
            (BLOOMZ, arXiv 2211.01786), not the mean over all tokens.

    Raises:
        ConfigError: dialogues, and the tokenizer has no chat template.
    """
    groups, dropped = [], Counter[str]()
    for row in _unrolled(rows, encoder):
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
            groups.append(_shared(group) if per_target else group)
        else:
            dropped[reason] += 1
    return Encoded(groups, dict(sorted(dropped.items())))


def length_limit(config: Any, max_length: int | None) -> int | None:
    """Tokens that a row may have: `max_length`, or what the model's positions allow, or None for any number.

    Raises:
        ConfigError: more than the model's positions.
    """
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_length is not None and max_length > positions:
        raise ConfigError(f"max_length: {max_length} is more than the model's {positions} positions")
    return max_length if max_length is not None else positions


def check_left(encoded: Encoded, rows: Sequence[Row]) -> Encoded:
    """The same, if there is anything to train on.

    Raises:
        DataError: every row was dropped.
    """
    if not encoded.groups:
        raise DataError(f"no row is left to train on, of {len(rows)}: dropped {encoded.dropped or 'none'}")
    return encoded


def sft_weights(row: RankedGroup, teacher_target: bool) -> list[float]:
    """How much each response is a target of the SFT term: the targets share weight 1; none at all, all weigh 0."""
    targets = row.sft_targets
    if targets is None and teacher_target:
        targets = [index for index, role in enumerate(row.roles) if role == "teacher"] or None
    if targets is None:
        targets = [index for index, score in enumerate(row.scores) if score == max(row.scores)]
    return [1 / len(targets) if index in targets else 0.0 for index in range(len(row.responses))]


Place = tuple[int, int]
"""A group to lay out: the prompt of one group of the data, the responses of another, which is mostly the same one."""


@dataclass
class MicroBatches(Dataset[GroupBatch]):
    """The plan as a map-style data set: an item is a micro-batch."""

    groups: Sequence[Group]
    plan: Plan
    pad_id: int
    layout: LayoutName = "plain"
    mismatched: bool = False
    """Micro-batches also hold, under `mismatched`, each of their prompts with the response of the next row of the
    step: what KTO estimates its KL from."""
    max_length: int | None = None
    """Where a mismatched response is cut."""
    reference: Mapping[Place, Tensor] | None = None
    """Reference log-probabilities of each place's response tokens, once they are known."""
    totals: list[Totals] = field(init=False)

    def __post_init__(self) -> None:
        self.totals = [Totals.of([self.groups[i] for i in step]) for step in self.plan.steps]

    def __len__(self) -> int:
        return len(self.plan.micro_batches)

    def __getitem__(self, item: int) -> GroupBatch:
        own, *mismatched = [self.lay_out(item, places) for places in self.places(item)]
        if mismatched:
            (own["mismatched"],) = mismatched
        return own

    def places(self, item: int) -> Iterator[list[Place]]:
        """What a micro-batch lays out: its groups and, where KTO needs them, the mismatched ones."""
        step, indices = self.plan.micro_batches[item]
        yield [(i, i) for i in indices]
        if self.mismatched:
            rows = self.plan.steps[step]
            following = dict(zip(rows, rows[1:] + rows[:1], strict=True))
            yield [(i, following[i]) for i in indices if following[i] != i]

    def group(self, place: Place) -> Group:
        """The group at a place."""
        own, other = (self.groups[i] for i in place)
        if place[0] == place[1]:
            return own
        room = None if self.max_length is None else self.max_length - len(own.prompt)
        responses = [response[:room] for response in other.responses]
        return replace(other, problem_id=own.problem_id, prompt=own.prompt, responses=responses)

    def lay_out(self, item: int, places: Sequence[Place]) -> GroupBatch:
        """Groups of a micro-batch's step as one batch."""
        return collate(
            [self.group(place) for place in places],
            self.totals[self.plan.micro_batches[item][0]],
            pad_id=self.pad_id,
            indices=[place[0] for place in places],
            reference=None if self.reference is None else [self.reference[place] for place in places],
            layout=self.layout,
        )


def only_item(items: list[GroupBatch]) -> GroupBatch:
    """The collate function of a loader whose items are batches already."""
    (batch,) = items
    return batch


def _unrolled(rows: Sequence[Row], encoder: Encoder) -> Iterator[SftRow | RankedGroup | PreferencePair | UnpairedRow]:
    for row in rows:
        if isinstance(row, Dialogue):
            yield from turns(row, encoder)
        elif isinstance(row, MultitaskRow):
            # the space belongs to the targets: a model that is asked continues after the inputs' last character
            yield SftRow(prompt=row.inputs, completion=f" {row.targets}" if row.targets else "")
        else:
            yield row


def _texts(row: Row) -> list[str]:
    if isinstance(row, SftRow | UnpairedRow):
        return [row.completion]
    assert isinstance(row, RankedGroup | PreferencePair)
    return row.responses if isinstance(row, RankedGroup) else [row.chosen, row.rejected]


def _group(row: SftRow | RankedGroup | PreferencePair | UnpairedRow, encoder: Encoder, teacher_target: bool) -> Group:
    prompt, responses = encoder.prompt(row.prompt), [encoder.response(text) for text in _texts(row)]
    if isinstance(row, SftRow):
        return Group(content_id(row.prompt), prompt, responses, [0.0], [False], [1.0])
    if isinstance(row, UnpairedRow):
        label = float(row.label)
        return Group(content_id(row.prompt), prompt, responses, [label], [False], [label])
    if isinstance(row, PreferencePair):
        # the pair is its own order: whatever scores it came from, chosen stands above rejected
        return Group(row.problem_id, prompt, responses, [1.0, 0.0], [False, False], [1.0, 0.0])
    teacher = [role == "teacher" for role in row.roles]
    return Group(row.problem_id, prompt, responses, row.scores, teacher, sft_weights(row, teacher_target))


def _fault(text: str, prompt: list[int], response: list[int], max_length: int | None) -> str | None:
    if not text:
        return EMPTY_RESPONSE
    return TOO_LONG if max_length is not None and len(prompt) + len(response) > max_length else None


def _shared(group: Group) -> Group:
    """The group with each target's weight divided by its length."""
    weights = zip(group.sft_weights, group.responses, strict=True)
    return replace(group, sft_weights=[weight / len(response) for weight, response in weights])


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
