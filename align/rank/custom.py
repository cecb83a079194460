"""A ranker by a function of the user's own. Every fault names it and the response."""

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError, suggest
from ..schema import Problem, Response
from .protocol import Contest, Scores

Score = Callable[[Problem, Response], float | None]
"""A score, higher is better; None: not ranked."""


class Custom:
    """Orders by `function(problem, response)`.

    Args:
        function: itself, or where it is: `package.module:name`, or `path/to/file.py:name`.
        name: for `Ranking.rankers`; the function's by default.

    Raises:
        ConfigError: there is no such module or function.
    """

    def __init__(self, function: Score | str, name: str | None = None) -> None:
        self._function = _load(function) if isinstance(function, str) else function
        told = function if isinstance(function, str) else getattr(function, "__qualname__", type(function).__name__)
        self.name, self._told = name or told, told
        self._scored = self._unranked = 0

    def rank(self, contests: Iterable[Contest]) -> Iterator[Scores]:
        """The function's scores.

        Raises:
            ConfigError: the function raised, or gave something else than a finite number or None.
        """
        for contest in contests:
            values = {}
            for response in contest.responses:
                value = self._score(contest.problem, response)
                if value is None:
                    self._unranked += 1
                else:
                    values[response.id] = value
                    self._scored += 1
            yield Scores(contest.problem.id, values)

    def report(self) -> dict[str, Any]:
        """How many responses it scored, and how many it left out."""
        return {"scored": self._scored, "unranked": self._unranked}

    def _score(self, problem: Problem, response: Response) -> float | None:
        where = f"{self._told}: response {response.id} of problem {problem.id}"
        try:
            found = self._function(problem, response)
        except Exception as error:
            raise ConfigError(f"{where}: raised {type(error).__name__}: {error}") from error
        if found is None:
            return None
        try:
            # numpy's and torch's scalars are numbers, too; a text that reads like one is a mistake
            value = math.nan if isinstance(found, str | bytes) else float(found)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"{where}: returned {str(found)[:60]!r}: return a finite number, or None")
        return value


def _load(place: str) -> Score:
    """The function at `module:name` or `file.py:name`."""
    module_name, colon, name = place.rpartition(":")
    if not colon or not module_name or not name:
        raise ConfigError(f"{place!r}: expected module:function, or path/to/file.py:function")
    try:
        module = _from_file(Path(module_name)) if module_name.endswith(".py") else importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"{place}: cannot be imported ({type(error).__name__}: {error})") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"{place}: no function {name!r}: {suggest(name, known)}")
    return found  # type: ignore[no-any-return]


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_align_custom_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickle look a class's module up by name
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
