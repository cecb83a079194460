"""Preference pairs in messages, trl's conversational form, as pairs of final text.

The tokenizer's chat template renders what stands before the last turns, which are the two answers. Covers one answer
of the assistant on each side; trainers add the EOS.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from ..errors import DataError
from ..io import rows
from ..schema import Dialogue, Message, PreferencePair, content_id
from .dialogue import turns

if TYPE_CHECKING:
    from ..text.encode import Encoder

_MESSAGES = TypeAdapter(list[Message])
Columns = Mapping[str, str] | None


def holds_chats(path: str, columns: Columns = None) -> bool:
    """Whether the first row of a file of pairs has messages as its chosen side."""
    first = next(islice(rows(path), 1), None)
    return first is not None and isinstance(_named(first[1], columns).get("chosen"), list)


def read_chat_pairs(path: str, encoder: "Encoder", columns: Columns = None) -> Iterator[PreferencePair]:
    """The pairs of a file, with final text.

    Each row's `chosen` and `rejected` are messages that end with the assistant's answer. What comes before the answers
    is the same in both; or it stands in `prompt`, as messages, and the sides hold the answers alone.

    Raises:
        ConfigError: the tokenizer has no chat template.
        DataError: a row has another form; with `file:line`.
    """
    for where, row in rows(path):
        named = _named(row, columns)
        chosen, rejected = (_conversation(named, side, where) for side in ("chosen", "rejected"))
        if chosen[:-1] != rejected[:-1]:
            raise DataError(f"{where}: chosen and rejected answer different conversations: give both the same turns")
        (*_, better), (*_, worse) = (turns(Dialogue(messages=side), encoder) for side in (chosen, rejected))
        yield PreferencePair(
            problem_id=content_id(better.prompt),
            prompt=better.prompt,
            chosen=better.completion,
            rejected=worse.completion,
            score_chosen=_score(named, "score_chosen", where),
            score_rejected=_score(named, "score_rejected", where),
        )


def _named(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    return {**row, **{ours: row.get(theirs) for ours, theirs in (columns or {}).items()}}


def _conversation(row: Mapping[str, Any], side: str, where: str) -> list[Message]:
    before = row["prompt"] if isinstance(row.get("prompt"), list) else []
    try:
        messages = [*_MESSAGES.validate_python(before), *_MESSAGES.validate_python(row.get(side))]
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise DataError(
            f"{where}: {side} is no list of messages with role and content ({place} {fault['msg']})"
        ) from None
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise DataError(f"{where}: {side} must end with an answer of the assistant, after a turn of the user")
    return messages


def _score(row: Mapping[str, Any], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {name} must be a number, found {value!r:.60}")
    return float(value)
