"""Examples before a prompt: few-shot rows from zero-shot ones. Renders nothing."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from ..errors import ConfigError, DataError
from .classify import Choice
from .example import Question

SEPARATOR = "\n\n"
Row = TypeVar("Row", Choice, Question)


def with_shots(
    rows: Sequence[Row], pool: Sequence[Row], shots: int, seed: int, separator: str = SEPARATOR
) -> list[Row]:
    """Each row with solved examples of its own task, language and template before its prompt.

    The draw hangs on the seed and the row's id alone, so a row gets the same examples under every template, and
    whatever other rows are evaluated. An example that reads as the row itself is never drawn.

    Args:
        rows: to be evaluated.
        pool: where examples are drawn from: of another split.
        shots: examples a row; 0 gives the rows as they are.
        seed: of the draw.
        separator: stands after every example.

    Raises:
        ConfigError: a negative number of shots.
        DataError: the pool is of a split that is evaluated, or too small.
    """
    if shots < 0:
        raise ConfigError(f"shots: {shots} is below 0: write how many examples stand before a prompt")
    if not shots:
        return list(rows)
    _check_splits(rows, pool)
    known: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for example in sorted(pool, key=lambda example: example.id):
        known[_place(example)].append(example)
    return [_with(row, known[_place(row)], shots, seed, separator) for row in rows]


def _with(row: Row, pool: Sequence[Row], shots: int, seed: int, separator: str) -> Row:
    drawn: list[Row] = []
    for number in random.Random(f"{seed}/{row.id}").sample(range(len(pool)), len(pool)):
        if len(drawn) == shots:
            break
        if pool[number].prompt.strip() != row.prompt.strip():
            drawn.append(pool[number])
    if len(drawn) < shots:
        raise DataError(
            f"{row.task}, {row.language}, {row.template}: {shots} examples wanted, {len(drawn)} to draw from: "
            "ask for fewer, or give a larger pool"
        )
    before = "".join(example.prompt + example.target + separator for example in drawn)
    return row.model_copy(update={"prompt": before + row.prompt})


def _check_splits(rows: Sequence[Row], pool: Sequence[Row]) -> None:
    evaluated = {(row.task, row.split) for row in rows}
    for example in pool:
        if (example.task, example.split) in evaluated:
            raise DataError(
                f"{example.task}: examples come from {example.split}, which is evaluated: draw them from another split"
            )


def _place(row: Choice | Question) -> tuple[str, str, str]:
    return row.task, row.language, row.template
