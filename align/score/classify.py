"""Rank classification without the model: rows with options, what was chosen, accuracy over prompts and languages.

Rows come rendered: prompt and options are final text. The model's part is `choice`, examples before a prompt are
`shots`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from ..errors import DataError
from .example import Example, Place
from .grid import Grid

Normalisation = Literal["sum", "token", "character"]
"""What an option is chosen by: its log-probability, or that for each of its tokens or characters."""


class Choice(Example):
    """One example under one prompt: the model chooses among the options."""

    options: list[str] = Field(min_length=2)
    """Final text of each, with the space that parts it from the prompt."""
    answer: int
    """Place of the right option."""

    @property
    def target(self) -> str:
        """The right option."""
        return self.options[self.answer]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 <= self.answer < len(self.options):
            raise ValueError(f"answer: {self.answer} is no place in {len(self.options)} options (0 is the first)")
        for place, option in enumerate(self.options):
            if not option.strip():
                raise ValueError(f"options: number {place} is empty: it could not be chosen")
        return self


class Chosen(Place):
    """What a model says of one `Choice`."""

    answer: int
    """As in the row."""
    logprobs: list[float]
    """Σ log P(token) of each option after the prompt."""
    tokens: list[int]
    """Of each option."""
    characters: list[int]
    """Of each option, without outer space."""

    @classmethod
    def of(cls, row: Choice, logprobs: list[float], tokens: list[int]) -> Self:
        """What was found of a row."""
        place = row.model_dump(include=set(Place.model_fields))
        characters = [len(option.strip()) for option in row.options]
        return cls(**place, answer=row.answer, logprobs=logprobs, tokens=tokens, characters=characters)

    def scores(self, by: Normalisation = "sum") -> list[float]:
        """Of each option; the best is chosen."""
        if by == "sum":
            return self.logprobs
        lengths = self.tokens if by == "token" else self.characters
        return [value / length for value, length in zip(self.logprobs, lengths, strict=True)]

    def best(self, by: Normalisation = "sum") -> list[int]:
        """Places of the best options: more than one where they tie."""
        scores = self.scores(by)
        top = max(scores)
        return [place for place, score in enumerate(scores) if score == top]

    def credit(self, by: Normalisation = "sum") -> float:
        """1 where the right option is the best, 1/m where it ties with m - 1 others, else 0: a fair draw's mean."""
        best = self.best(by)
        return 1 / len(best) if self.answer in best else 0.0


def accuracies(rows: Sequence[Chosen], *, seed: int = 0) -> dict[str, Any]:
    """Accuracy in percent with 95 % intervals: `{task: {normalisation: {…}, rows, examples, chance, ties}}`.

    For each normalisation: `best` and `median`, the mean over languages of the best and of the median prompt, and
    `languages: {language: {best, median, template, templates: {name: {accuracy, low, high}}}}`, `template` being the
    best one's name. The best prompt is found on the same rows, so it flatters; its interval is that of the prompt
    once chosen. Intervals resample examples, together in all prompts and languages that have them.

    Raises:
        DataError: no rows, an example twice under one prompt, or prompts that were not given the same examples.
    """
    if not rows:
        raise DataError("no rows: there is nothing to average")
    tasks: dict[str, list[Chosen]] = defaultdict(list)
    for row in rows:
        tasks[row.task].append(row)
    return {task: table(grid(task, of_task, seed), of_task) for task, of_task in sorted(tasks.items())}


def credits(rows: Sequence[Chosen], by: Normalisation = "sum") -> list[float]:
    """Credit of each row: two models' on the same rows are what `paired_interval` compares."""
    return [row.credit(by) for row in rows]


def grid(task: str, rows: Sequence[Chosen], seed: int = 0) -> Grid:
    """Where the rows of one task stand; their credits are its values.

    Raises:
        DataError: an example twice under one prompt, or prompts that were not given the same examples.
    """
    return Grid(task, [(row.id, row.language, row.template) for row in rows], seed)


def table(places: Grid, rows: Sequence[Chosen]) -> dict[str, Any]:
    """What `accuracies` says of one task, on its grid."""
    chance = sum(1 / len(row.logprobs) for row in rows) / len(rows)
    found: dict[str, Any] = {
        "rows": len(rows),
        "examples": places.examples,
        "chance": round(100 * chance, 3),
        "ties": sum(len(row.best()) > 1 for row in rows),
    }
    return found | {by: places.table(credits(rows, by)) for by in get_args(Normalisation)}
