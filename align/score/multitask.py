"""Compare models on tasks: one figure a task with its interval, paired differences, and the tables behind them.

Of rows with options and of written answers alike. Numbers are percent, 95 %. Asks no model.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ..errors import DataError
from ..generate.request import Reply
from ..schema import Finish
from .classify import Chosen, Normalisation, credits, table
from .example import Question
from .generation_metrics import Generation, Metric, RowMetric, generation_metrics, row_metric
from .grid import Grid, Measure

ROW_METRICS: tuple[RowMetric, ...] = get_args(RowMetric)


class ChoiceResult(Chosen):
    """What a model says of the options of one example under one prompt."""

    model: str
    """Its name in the stage."""


class TextResult(Generation):
    """What a model wrote for one example under one prompt."""

    template: str
    """Name of the prompt."""
    finish: Finish
    """Why it ended; `error` where there is no answer."""
    metrics: dict[str, float]
    """Those that a single row has, in [0, 1]."""
    model: str
    """Its name in the stage."""


Results = Mapping[str, Sequence[ChoiceResult]] | Mapping[str, Sequence[TextResult]]
"""Of one task: model → its rows, for all models in the same order."""


@dataclass(frozen=True)
class Figures:
    """How a task's figure is made."""

    measure: Measure = "best"
    normalisation: Normalisation = "sum"
    metrics: Sequence[Metric] = ()
    """Of a task without options; the first one is its figure."""


def text_result(model: str, question: Question, reply: Reply, metrics: Sequence[Metric]) -> TextResult:
    """A model's answer, measured."""
    found = Generation(
        id=question.id,
        task=question.task,
        language=question.language,
        output=reply.text.strip(),
        references=question.references,
    )
    own = {name: round(row_metric(name, found), 6) for name in ROW_METRICS if name in metrics}
    return TextResult(**found.model_dump(), template=question.template, finish=reply.finish, metrics=own, model=model)


def compare(models: Sequence[str], tasks: Mapping[str, tuple[Results, Figures]], seed: int = 0) -> dict[str, Any]:
    """`{models: {name: {tasks: {task: [value, low, high]}, examples}}, paired: {"a-b": {tasks: {task: {delta, low,
    high}}}}, details: {model: {task: …}}, unscored: {task: [ids]}}`.

    An example that a model gave no answer to, through no fault of its own, is left out for all models and named.

    Raises:
        DataError: a task has no example left.
    """
    found: dict[str, Any] = {
        "models": {name: {"tasks": {}, "examples": 0} for name in models},
        "paired": {f"{one}-{other}": {"tasks": {}} for one, other in itertools.permutations(models, 2)},
        "details": {name: {} for name in models},
        "unscored": {},
    }
    for task, (results, figures) in tasks.items():
        rows, lost = _answered(task, results)
        if lost:
            found["unscored"][task] = lost
        first = rows[models[0]]
        grid = Grid(task, [(row.id, row.language, row.template) for row in first], seed)
        spreads = {name: grid.over(_values(rows[name], figures), figures.measure) for name in models}
        for name in models:
            found["models"][name]["tasks"][task] = spreads[name].interval()
            found["models"][name]["examples"] += grid.examples
            found["details"][name][task] = _detail(grid, rows[name], figures)
        for one, other in itertools.permutations(models, 2):
            found["paired"][f"{one}-{other}"]["tasks"][task] = spreads[one].minus(spreads[other])
    return found


def _answered(task: str, results: Results) -> tuple[dict[str, list[Any]], list[str]]:
    """The rows of the examples that every model answered, and the ids of the others."""
    lost = {
        (row.language, row.id)
        for rows in results.values()
        for row in rows
        if isinstance(row, TextResult) and row.finish == "error"
    }
    kept = {name: [row for row in rows if (row.language, row.id) not in lost] for name, rows in results.items()}
    if not all(kept.values()):
        raise DataError(f"{task}: no example has an answer of every model: look at what the endpoints said")
    return kept, sorted(f"{language}/{id}" for language, id in lost)


def _values(rows: Sequence[Any], figures: Figures) -> list[float]:
    if isinstance(rows[0], Chosen):
        return credits(rows, figures.normalisation)
    return [row.metrics[figures.metrics[0]] for row in rows]


def _detail(grid: Grid, rows: Sequence[Any], figures: Figures) -> dict[str, Any]:
    """The tables behind a figure: of options by normalisation, of written answers by prompt."""
    if isinstance(rows[0], Chosen):
        return table(grid, rows)
    by_template: dict[str, list[Generation]] = defaultdict(list)
    for row in rows:
        by_template[row.template].append(row)
    metrics = {name: generation_metrics(of, figures.metrics)[of[0].task] for name, of in by_template.items()}
    figure = figures.metrics[0]
    return {
        "rows": len(rows),
        "examples": grid.examples,
        figure: grid.table([row.metrics[figure] for row in rows], figure),
        "templates": metrics,
    }
