"""What a recipe's stages will ask of endpoints, at most: requests, tokens and cost. Asks nothing.

Counts follow from the rows that each stage reads and from its settings; where a stage reads what another is yet to
make, from the most that this one can leave. Tokens of prompts are guessed from the characters of the first rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..generate.budget import Spent, cost
from ..io import HUB, rows
from ..models.entry import Endpoint
from .marked import is_reference, marked
from .plan import Step
from .recipe import Recipe
from .stage import FILE, Demand

CHARACTERS_A_TOKEN = 3.0
"""Of English text and code; few tokenizers need more tokens than this gives."""
LOOKED_AT = 200
"""Rows whose length stands for all."""


@dataclass(frozen=True)
class Estimate:
    """What one stage asks of one endpoint, at most."""

    stage: str
    model: str
    requests: int
    prompt_tokens: int
    """A guess."""
    completion_tokens: int
    """If every answer is as long as it may be."""
    cost: float | None
    """In the currency of the entry's prices; None without any."""


@dataclass(frozen=True)
class _Rows:
    """What is known of a file: how many rows at most, and how long a prompt is."""

    count: int
    characters: float


def estimate(recipe: Recipe, steps: Sequence[Step]) -> list[Estimate]:
    """What the stages that are not done will ask of endpoints, in order.

    A stage whose input is not known (a file of the hub) is left out.
    """
    known: dict[str, _Rows] = {}
    found: list[Estimate] = []
    for step in steps:
        if not step.needed:
            continue
        given = _given(recipe, step, known)
        demand = _demand(step, given.count if given else None)
        if step.manifest is not None:
            known[step.stage.name] = _left(step, given)
        elif given and demand:
            known[step.stage.name] = _Rows(demand.leaves, given.characters)
            found += _of_endpoints(recipe, step.stage.name, given.characters, demand.asks)
    return found


def total(found: Sequence[Estimate], model: str) -> tuple[int, int, float | None]:
    """(requests, tokens, cost) of one endpoint over all stages."""
    own = [entry for entry in found if entry.model == model]
    costs = [entry.cost for entry in own if entry.cost is not None]
    tokens = sum(entry.prompt_tokens + entry.completion_tokens for entry in own)
    return sum(entry.requests for entry in own), tokens, sum(costs) if costs else None


def _of_endpoints(
    recipe: Recipe, stage: str, characters: float, asks: Mapping[str, tuple[int, int]]
) -> Iterator[Estimate]:
    for model, (requests, longest) in asks.items():
        entry = recipe.models.get(model)
        if not isinstance(entry, Endpoint) or not requests:
            continue
        prompt, completion = round(requests * characters / CHARACTERS_A_TOKEN), requests * longest
        yield Estimate(stage, model, requests, prompt, completion, cost(entry, Spent(requests, prompt, completion)))


def _demand(step: Step, count: int | None) -> Demand | None:
    """None where it is not known; a stage that asks nothing leaves at most what it reads."""
    if count is None:
        return None
    demand: Callable[[Any, int], Demand] | None = getattr(step.stage.module, "demand", None)
    return demand(step.stage.config, count) if demand else Demand({}, count)


def _given(recipe: Recipe, step: Step, known: Mapping[str, _Rows]) -> _Rows | None:
    """The rows that a stage reads: of its `problems:`."""
    problems = getattr(step.stage.config, "problems", None)
    files = [value for marker, value, place in marked(step.stage.config) if marker is FILE and place == ("problems",)]
    if problems is None or not files:
        return None
    if is_reference(files[0]):
        return known.get(files[0][1:].partition("/")[0])
    address = recipe.benchmarks.get(files[0], files[0])
    return None if address.startswith(HUB) else _look(recipe.path(address))


def _left(step: Step, given: _Rows | None) -> _Rows:
    """The rows of a stage that is done."""
    assert step.manifest is not None
    path = step.manifest.folder / "problems.jsonl"
    if path.is_file():
        return _look(path) or _Rows(0, 0)
    return given or _Rows(0, 0)


def _look(path: Path) -> _Rows | None:
    """How many rows a file has, and how long their texts are; None where it cannot be read."""
    try:
        lengths = [sum(map(len, _texts(row))) for _, row in islice(rows(path), LOOKED_AT)]
        count = sum(1 for _ in rows(path))
    except DataError:
        return None
    return _Rows(count, sum(lengths) / len(lengths) if lengths else 0)


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    """What a prompt may show of a row: its longest text."""
    texts = [value for value in row.values() if isinstance(value, str)]
    if texts:
        yield max(texts, key=len)
