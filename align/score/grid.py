"""Averages over prompts and languages: values of examples under several prompts, with intervals. Computes no value.

Every example has one value in [0, 1] for each prompt in each language; what is given out is percent, 95 %. Intervals
resample examples, together in all prompts and languages that have them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .passk import HIGH, LOW

Measure = Literal["best", "median"]
"""Of the prompts, before the mean over languages."""

RESAMPLES, RESAMPLES_AT_ONCE = 2000, 50
Matrix = NDArray[np.float64]
Draws = NDArray[np.uint16]
Cell = tuple[str, str, str]
"""Example, language, prompt."""


@dataclass(frozen=True)
class Spread:
    """A figure, and what it is in every resample."""

    value: float
    """In [0, 1]."""
    drawn: Matrix
    """(resamples,)."""

    def interval(self) -> list[float]:
        """`[value, low, high]`."""
        return list(_interval("value", self.value, self.drawn).values())

    def minus(self, other: "Spread") -> dict[str, float]:
        """`{delta, low, high}` against another one of the same grid, whose draws are the same."""
        return _interval("delta", self.value - other.value, self.drawn - other.drawn)


class Grid:
    """Where the values of one task stand: examples × (language, prompt).

    Args:
        task: for messages.
        cells: of each row, in the order of the values that are given later.
        seed: of the resampling: two grids of the same cells draw the same.

    Raises:
        DataError: an example twice under one prompt, or prompts that were not given the same examples.
    """

    def __init__(self, task: str, cells: Sequence[Cell], seed: int = 0) -> None:
        examples = {name: number for number, name in enumerate(sorted({cell[0] for cell in cells}))}
        columns = {key: number for number, key in enumerate(sorted({cell[1:] for cell in cells}))}
        self.task, self.examples, self.columns = task, len(examples), list(columns)
        self._cells = [(examples[name], columns[language, prompt]) for name, language, prompt in cells]
        self._present = np.zeros((len(examples), len(columns)))
        for cell, (name, language, prompt) in zip(self._cells, cells, strict=True):
            if self._present[cell]:
                raise DataError(f"{task}: example {name} stands twice under {prompt} in {language}: give ids once")
            self._present[cell] = 1
        self._check_examples(columns)
        self._draws = _draws(len(examples), seed)
        self._languages: dict[str, list[int]] = defaultdict(list)
        for column, (language, _) in enumerate(self.columns):
            self._languages[language].append(column)

    def table(self, values: Sequence[float], name: str = "accuracy") -> dict[str, Any]:
        """`best` and `median`, the mean over languages of the best and of the median prompt, and `languages`:
        `{language: {best, median, template, templates: {name: {accuracy, low, high}}}}`.

        Args:
            values: of each row.
            name: what the value is called in the intervals.
        """
        value, drawn = self._columns(values)
        languages = {}
        for language, of in self._languages.items():
            best = self._best(value, of)
            languages[language] = {
                "best": _interval(name, value[best], drawn[:, best]),
                "template": self.columns[best][1],
                "median": _interval(name, np.median(value[of]), np.median(drawn[:, of], 1)),
                "templates": {self.columns[one][1]: _interval(name, value[one], drawn[:, one]) for one in of},
            }
        found: dict[str, Any] = {}
        for measure in get_args(Measure):
            over = self._over(measure, value, drawn)
            found[measure] = _interval(name, over.value, over.drawn)
        return found | {"languages": languages}

    def over(self, values: Sequence[float], measure: Measure) -> "Spread":
        """One measure, over all languages."""
        return self._over(measure, *self._columns(values))

    def _over(self, measure: Measure, value: Matrix, drawn: Matrix) -> "Spread":
        """Mean over languages of one measure, and the same in every draw."""
        if measure == "best":
            best = [self._best(value, of) for of in self._languages.values()]
            return Spread(float(value[best].mean()), drawn[:, best].mean(1))
        medians = np.stack([np.median(drawn[:, of], 1) for of in self._languages.values()], 1)
        return Spread(float(np.mean([np.median(value[of]) for of in self._languages.values()])), medians.mean(1))

    def _best(self, value: Matrix, of: list[int]) -> int:
        return of[int(np.argmax(value[of]))]

    def _columns(self, values: Sequence[float]) -> tuple[Matrix, Matrix]:
        """Mean of each column, and (resamples, columns) the same in every draw."""
        matrix = np.zeros_like(self._present)
        for cell, one in zip(self._cells, values, strict=True):
            matrix[cell] = one
        value = matrix.sum(0) / self._present.sum(0)
        drawn = [
            _means(self._draws[start : start + RESAMPLES_AT_ONCE], matrix, self._present, value)
            for start in range(0, len(self._draws), RESAMPLES_AT_ONCE)
        ]
        return value, np.concatenate(drawn)

    def _check_examples(self, columns: dict[tuple[str, str], int]) -> None:
        """The best of several prompts means something only if all were asked the same."""
        first: dict[str, str] = {}
        for (language, prompt), column in columns.items():
            other = first.setdefault(language, prompt)
            difference = int(np.abs(self._present[:, column] - self._present[:, columns[language, other]]).sum())
            if difference:
                raise DataError(
                    f"{self.task}: {prompt} and {other} differ by {difference} examples in {language}: "
                    "give every prompt the same ones"
                )


def _draws(count: int, seed: int) -> Draws:
    """(resamples, examples): how often each example is drawn."""
    generator = np.random.default_rng(seed)
    draws = np.empty((RESAMPLES, count), np.uint16)
    for number in range(RESAMPLES):
        draws[number] = np.bincount(generator.integers(count, size=count), minlength=count)
    return draws


def _means(draws: Draws, matrix: Matrix, present: Matrix, value: Matrix) -> Matrix:
    """(resamples, columns); a column of which nothing was drawn keeps its value."""
    wide = draws.astype(np.float64)
    total = wide @ present
    return np.where(total > 0, (wide @ matrix) / np.maximum(total, 1), value)


def _interval(name: str, value: float, drawn: Matrix) -> dict[str, float]:
    low, high = np.percentile(drawn, [LOW, HIGH])
    return {key: round(100 * float(one), 3) for key, one in ((name, value), ("low", low), ("high", high))}
