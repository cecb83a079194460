"""Rows of text to prompt groups of ids, and groups to a data set of micro-batches. Reads no files.

A row that would have to be cut is dropped and counted, by reason; nothing that is trained on is ever truncated.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
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
from .stored import EMPTY_PROMPT, EMPTY_RESPONSE, TOO_LONG, StoredGroups

Row = SftRow | Dialogue | MultitaskRow | RankedGroup | PreferencePair | UnpairedRow
NO_SIGNAL = "no_order_no_target"


@dataclass(frozen=True)
class Encoded:
    """What is left of the rows, and why the rest is not."""

    groups: Sequence[Group]
    dropped: dict[str, int]
    """Reason → rows. A ranked row loses single responses first, counted as `response_<reason>`."""
    rows: Iterable[int] = ()
    """Place of each group's row among those that were given."""


def encode_rows(
    rows: Sequence[Row],
    encoder: Encoder,
    *,
    max_length: int | None,
    teacher_target: bool = False,
    per_target: bool = False,
    length_floor: int = 1,
) -> Encoded:
    """Tokenise rows of any training form. A dialogue gives a row for each turn of the assistant.

    Args:
        rows: records of one kind.
        encoder: the one tokenisation.
        max_length: tokens of prompt + response with its EOS; None: any number.
        teacher_target: the SFT term of ranked rows that name no targets trains on the teacher's response, if any.
        per_target: every row's tokens share weight 1, so that the SFT term is the mean over rows of their means
            (BLOOMZ, arXiv 2211.01786), not the mean over all tokens.
        length_floor: with `per_target`, the tokens that a target counts as at least, as in `_shared`.

    Raises:
        ConfigError: dialogues, and the tokenizer has no chat template.
    """
    groups, places, dropped = [], [], Counter[str]()
    for place, row in _unrolled(rows, encoder):
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
            groups.append(_shared(group, length_floor) if per_target else group)
            places.append(place)
        else:
            dropped[reason] += 1
    return Encoded(groups, dict(sorted(dropped.items())), places)


def length_limit(config: Any, max_length: int | None) -> int | None:
    """Tokens that a row may have: `max_length`, or what the model's positions allow, or None for any number.

    Raises:
        ConfigError: more than the model's positions.
    """
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_length is not None and max_length > positions:
        raise ConfigError(f"max_length: {max_length} is more than the model's {positions} positions")
    return max_length if max_length is not None else positions


def check_left(encoded: Encoded, rows: Sized) -> Encoded:
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
        stored = self.groups.totals if isinstance(self.groups, StoredGroups) else None
        steps = self.plan.steps
        self.totals = [stored(step) if stored else Totals.of([self.groups[i] for i in step]) for step in steps]

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


def _unrolled(
    rows: Sequence[Row], encoder: Encoder
) -> Iterator[tuple[int, SftRow | RankedGroup | PreferencePair | UnpairedRow]]:
    """Each row to train on, and the place of the row that it comes from."""
    for place, row in enumerate(rows):
        if isinstance(row, Dialogue):
            yield from ((place, turn) for turn in turns(row, encoder))
        elif isinstance(row, MultitaskRow):
            # the space belongs to the targets: a model that is asked continues after the inputs' last character
            yield place, SftRow(prompt=row.inputs, completion=f" {row.targets}" if row.targets else "")
        else:
            yield place, row


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


def _shared(group: Group, length_floor: int = 1) -> Group:
    """The group with each target's weight divided by its length, or by `length_floor` where it is shorter.

    A target of one token then has 1/`length_floor` of the weight of a long one: with the same weight, short answers are
    what a model learns most of (arXiv 2211.01786). A floor of 1 is exactly the mean over targets; one as long as the
    longest target weighs all tokens alike, which is the other normaliser. A power of the length would reach neither and
    weigh long targets without bound. The step's denominator sums the same weights.
    """
    weights = zip(group.sft_weights, group.responses, strict=True)
    return replace(group, sft_weights=[weight / max(len(response), length_floor) for weight, response in weights])


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
