"""What a judge is told to end its reply with, and how that is read. What cannot be read is a failure, never a guess.

Only the last line of a reply counts, after its thinking. It is `Verdict: A` or `Score: 7`, or the same as JSON; nothing
else may stand on it but emphasis.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from ..generate.request import Reply
from ..generate.thinking import split_thinking

LOWEST, HIGHEST = 1, 10
Choice = Literal["A", "B", "tie"]
Failure = Literal["no_answer", "cut", "unreadable"]
"""Nothing came; the reply was cut, or ends inside its thinking; its last line is none of those asked for."""

PAIR_FORM = """\
First compare the two answers in a few sentences. Then end your reply with exactly one of these lines:
Verdict: A
Verdict: B
Verdict: tie"""
SCORE_FORM = f"""\
First weigh the answer in a few sentences. Then end your reply with one line of this form, where N is a whole number \
from {LOWEST} (worst) to {HIGHEST} (best):
Score: N"""

_EMPHASIS = " \t*_`"
_CHOICE = re.compile(r"verdict[ \t*_`]*:[ \t*_`]*(A|B|tie)", re.IGNORECASE)
_SCORE = re.compile(r"score[ \t*_`]*:[ \t*_`]*([1-9][0-9]{0,2})(?:[ \t]*/[ \t]*([0-9]{1,3}))?", re.IGNORECASE)
_CHOICES: dict[str, Choice] = {"a": "A", "b": "B", "tie": "tie"}
_LONGEST_LINE = 200


@dataclass(frozen=True)
class Read:
    """A reply as it was read: a value, or why there is none."""

    value: Choice | int | None = None
    failure: Failure | None = None


def read_choice(reply: Reply) -> Read:
    """Which of two answers a reply prefers."""
    return _read(reply, _choice)


def read_score(reply: Reply) -> Read:
    """The whole number from 1 to 10 that a reply gives."""
    return _read(reply, _score)


def _read(reply: Reply, parse: Any) -> Read:
    reply = split_thinking(reply)
    if reply.finish == "error":
        return Read(failure="no_answer")
    if reply.finish == "length":
        # a cut reply may end inside its last line, where `Score: 1` was to be `Score: 10`
        return Read(failure="cut")
    line = reply.text.rstrip()[-_LONGEST_LINE - 1 :].rpartition("\n")[2]
    value = parse(line.strip(_EMPHASIS)) if len(line) <= _LONGEST_LINE else None
    return Read(failure="unreadable") if value is None else Read(value)


def _choice(line: str) -> Choice | None:
    if match := _CHOICE.fullmatch(line):
        return _CHOICES[match[1].lower()]
    found = _member(line, "verdict")
    return _CHOICES.get(found.lower()) if isinstance(found, str) else None


def _score(line: str) -> int | None:
    if match := _SCORE.fullmatch(line):
        if match[2] not in (None, str(HIGHEST)):
            return None
        found: Any = int(match[1])
    else:
        found = _member(line, "score")
    whole = isinstance(found, int) and not isinstance(found, bool)
    return found if whole and LOWEST <= found <= HIGHEST else None


def _member(line: str, name: str) -> Any:
    """The only member of a JSON object of one line; None where it has another, several or none."""
    try:
        pairs = json.loads(line, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(pairs, list) and len(pairs) == 1 and isinstance(pairs[0], tuple)
    return pairs[0][1] if is_one and pairs[0][0] == name else None
