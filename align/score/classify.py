"""Rank classification without the model: rows with options, what was chosen, accuracy over prompts and languages.

Rows come rendered: prompt and options are final text. The model's part is `choice`, examples before a prompt are
`shots`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..errors import DataError
from ..schema import Record
from .passk import HIGH, LOW

Normalisation = Literal["sum", "token", "character"]
"""What an option is chosen by: its log-probability, or that for each of its tokens or characters."""

RESAMPLES, RESAMPLES_AT_ONCE = 2000, 50
Matrix = NDArray[np.float64]
Draws = NDArray[np.uint16]


class Choice(Record):
    """One example under one prompt: the model chooses among the options."""

    id: str
    """Of the example: the same under all its prompts, and in all languages that translate it."""
    task: str
    """Name of the task, such as `xcopa`."""
    language: str
    """Of the data."""
    template: str
    """Name of the prompt."""
    split: str
    """Where the example comes from, such as `test`."""
    prompt: str
    """Final text; an option follows it as it is."""
    options: list[str] = Field(min_length=2)
    """Final text of each, with the space that parts it from the prompt."""
    answer: int
    """Place of the right option."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 <= self.answer < len(self.options):
            raise ValueError(f"answer: {self.answer} is no place in {len(self.options)} options (0 is the first)")
        for place, option in enumerate(self.options):
            if not option.strip():
                raise ValueError(f"options: number {place} is empty: it could not be chosen")
        return self


class Chosen(Record):
    """What a model says of one `Choice`."""

    id: str
    """Of the example."""
    task: str
    """As in the row."""
    language: str
    """As in the row."""
    template: str
    """As in the row."""
    answer: int
    """As in the row."""
    logprobs: list[float]
    """Σ log P(token) of each option after the prompt."""
    tokens: list[int]
    """Of each option."""
    characters: list[int]
    """Of each option, without outer space."""

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
    return {task: _task(task, of_task, seed) for task, of_task in sorted(tasks.items())}


def credits(rows: Sequence[Chosen], by: Normalisation = "sum") -> list[float]:
    """Credit of each row: two models' on the same rows are what `paired_interval` compares."""
    return [row.credit(by) for row in rows]


def _task(task: str, rows: Sequence[Chosen], seed: int) -> dict[str, Any]:
    place = {name: number for number, name in enumerate(sorted({row.id for row in rows}))}
    columns = {key: number for number, key in enumerate(sorted({(row.language, row.template) for row in rows}))}
    present = np.zeros((len(place), len(columns)))
    for row in rows:
        cell = place[row.id], columns[row.language, row.template]
        if present[cell]:
            raise DataError(
                f"{task}: example {row.id} stands twice under {row.template} in {row.language}: give ids once"
            )
        present[cell] = 1
    _same_examples(task, columns, present)
    draws = _draws(len(place), seed)
    found: dict[str, Any] = {
        "rows": len(rows),
        "examples": len(place),
        "chance": _percent(float(np.mean([1 / len(row.logprobs) for row in rows]))),
        "ties": sum(len(row.best()) > 1 for row in rows),
    }
    for by in get_args(Normalisation):
        credit = np.zeros_like(present)
        for row in rows:
            credit[place[row.id], columns[row.language, row.template]] = row.credit(by)
        found[by] = _table(list(columns), credit, present, draws)
    return found


def _same_examples(task: str, columns: dict[tuple[str, str], int], present: Matrix) -> None:
    """The best of several prompts means something only if all were asked the same."""
    first: dict[str, str] = {}
    for (language, template), column in columns.items():
        other = first.setdefault(language, template)
        difference = int(np.abs(present[:, column] - present[:, columns[language, other]]).sum())
        if difference:
            raise DataError(
                f"{task}: {template} and {other} differ by {difference} examples in {language}: "
                "give every prompt the same ones"
            )


def _table(columns: list[tuple[str, str]], credit: Matrix, present: Matrix, draws: Draws) -> dict[str, Any]:
    value = credit.sum(0) / present.sum(0)
    drawn = np.concatenate(
        [
            _accuracy(draws[start : start + RESAMPLES_AT_ONCE], credit, present, value)
            for start in range(0, len(draws), RESAMPLES_AT_ONCE)
        ]
    )
    languages: dict[str, list[int]] = defaultdict(list)
    for column, (language, _) in enumerate(columns):
        languages[language].append(column)
    best = [of[int(np.argmax(value[of]))] for of in languages.values()]
    medians = np.stack([np.median(drawn[:, of], 1) for of in languages.values()], 1)
    median = np.array([np.median(value[of]) for of in languages.values()])
    tables = {}
    for number, (language, of) in enumerate(languages.items()):
        tables[language] = {
            "best": _interval(float(value[best[number]]), drawn[:, best[number]]),
            "template": columns[best[number]][1],
            "median": _interval(float(median[number]), medians[:, number]),
            "templates": {columns[column][1]: _interval(float(value[column]), drawn[:, column]) for column in of},
        }
    return {
        "best": _interval(float(value[best].mean()), drawn[:, best].mean(1)),
        "median": _interval(float(median.mean()), medians.mean(1)),
        "languages": tables,
    }


def _draws(count: int, seed: int) -> Draws:
    """(resamples, examples): how often each example is drawn."""
    generator = np.random.default_rng(seed)
    draws = np.empty((RESAMPLES, count), np.uint16)
    for number in range(RESAMPLES):
        draws[number] = np.bincount(generator.integers(count, size=count), minlength=count)
    return draws


def _accuracy(draws: Draws, credit: Matrix, present: Matrix, value: Matrix) -> Matrix:
    """(resamples, columns); a column of which nothing was drawn keeps its value."""
    wide = draws.astype(np.float64)
    total = wide @ present
    return np.where(total > 0, (wide @ credit) / np.maximum(total, 1), value)


def _interval(value: float, drawn: Matrix) -> dict[str, float]:
    low, high = np.percentile(drawn, [LOW, HIGH])
    return {"accuracy": _percent(value), "low": _percent(float(low)), "high": _percent(float(high))}


def _percent(value: float) -> float:
    return round(100 * value, 3)
