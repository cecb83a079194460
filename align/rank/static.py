"""Rankers by measures of the program alone: `Static` by its quality, `Preference` by taste. Both run nothing.

Measures count in the order they are given: a later one decides only where all before it are equal. A judge or tests
know more: these order what they leave equal, or sieve before them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..errors import ConfigError, suggest
from .measures import MEASURES
from .protocol import Contest, Scores, dense


class Static:
    """Orders by what can be read off a program.

    Args:
        measures: names of `measures.MEASURES`, the weightiest first.

    Raises:
        ConfigError: there is no such measure, or none is given.
    """

    name = "static"

    def __init__(self, measures: Sequence[str] = ("parses", "lint", "complexity", "length")) -> None:
        for measure in measures or [""]:
            if measure not in MEASURES:
                raise ConfigError(f"{self.name}: no measure {measure!r}: {suggest(measure, MEASURES)}")
        self._measures = tuple(measures)
        self._contests = self._ordered = 0

    def rank(self, contests: Iterable[Contest]) -> Iterator[Scores]:
        """Scores in [0, 1]; the measured values are in `facts`."""
        for contest in contests:
            found = {one.id: tuple(MEASURES[name](one) for name in self._measures) for one in contest.responses}
            values = dense(found) if self._decides(contest) else dict.fromkeys(found, 0.0)
            self._contests += 1
            self._ordered += len(set(values.values())) > 1
            facts = {one: self._facts(row) for one, row in found.items()}
            yield Scores(contest.problem.id, values, facts=facts)

    def report(self) -> dict[str, Any]:
        """How many contests there were, and in how many of them something is ordered."""
        return {"measures": list(self._measures), "contests": self._contests, "ordered": self._ordered}

    def _facts(self, row: Sequence[float]) -> dict[str, float | None]:
        # minus infinity, of what is no program, has no JSON
        return {name: value if math.isfinite(value) else None for name, value in zip(self._measures, row, strict=True)}

    def _decides(self, contest: Contest) -> bool:
        return True


class Preference(Static):
    """Orders responses that pass, by what people like in code that is right: by default ended, quiet, then short.

    Where a contest's responses fail nothing is ordered: the shortest wrong program is an empty one.
    """

    name = "preference"

    def __init__(self, measures: Sequence[str] = ("finished", "quiet", "length")) -> None:
        super().__init__(measures)

    def _decides(self, contest: Contest) -> bool:
        return contest.passed is not False
