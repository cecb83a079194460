"""The report's page: what `collect` found, laid out by `page.html.jinja`. One file that loads nothing from elsewhere.

Jinja escapes every value: problems, programs and names were written by models or by strangers.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..io import replacing
from . import charts
from .charts import Axis, Series
from .collect import Evaluation, Point, Report, Score, StageReport, collect

PAGE = "report.html"
PRODUCT = ("kept", "groups", "trained_on", "responses", "problems")
"""The counts that say how much a stage hands on; the first one that a stage has is drawn."""
OUTCOMES = ("passed", "wrong_answer", "timeout", "runtime_error", "compile_error")
LINES, COLUMNS = 100, 500
"""What is shown of a program."""
ANSWERS = ("exact_match", "exact", "number", "chrf", "bleu", "rouge_l", "wrong_script")
"""How the names of metrics of answers end."""
PANELS: dict[str, Callable[[str], bool]] = {
    "Loss and its parts": lambda name: name == "loss" or name.startswith("loss/"),
    "Rewards and their margin": lambda name: name.startswith("rewards/") and not name.endswith("/accuracies"),
    "Log-probabilities": lambda name: name.startswith("logps/"),
    "Share of pairs in order": lambda name: name.endswith("/accuracies"),
    "Gradient norm": lambda name: name == "grad_norm",
    "Held-out loss": lambda name: name.startswith("eval_") and name.endswith("loss"),
    "Answers to held-out rows": lambda name: name.startswith("eval_") and name.endswith(ANSWERS),
}
"""Title of a training panel → the metrics in it."""


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run's folder, replacing it whole; returns its path. The run may be going on.

    Raises:
        DataError: the folder is no run, or cannot be written.
    """
    path = run_folder / PAGE
    page = render(collect(run_folder), datetime.now(UTC))
    with replacing(path) as file:
        file.write(page)
    return path


def render(report: Report, now: datetime) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    of_scores = (axes, along_training, outcomes, outcome_parts, most_changed)
    helpers = (*of_scores, by_language, panels, program, number, task_axes, words)
    environment.globals |= {"charts": charts, **{helper.__name__: helper for helper in helpers}}
    flows = [flow(stage) for stage in report.stages if stage.state != "not run"]
    longest = max((entry.kept + sum(entry.dropped.values()) for entry in flows), default=0)
    return environment.get_template("page.html.jinja").render(report=report, now=now, flows=flows, longest=longest)


@dataclass(frozen=True)
class Flow:
    """What one stage hands on, and what it dropped and why."""

    stage: StageReport
    product: str | None
    """Name of the count that is handed on."""
    kept: int
    dropped: dict[str, int]
    other: list[str]
    """The remaining counts as text."""


def flow(stage: StageReport) -> Flow:
    """A stage's counts, sorted out for the funnel."""
    counts = dict(stage.counts)
    product = next((name for name in PRODUCT if isinstance(counts.get(name), int)), None)
    kept = counts.pop(product) if product else 0
    dropped: dict[str, int] = {}
    for name in ("rejected", "dropped"):
        told = counts.pop(name, {})
        # older runs count them without the reasons
        reasons = told if isinstance(told, dict) else {name: told}
        dropped |= {reason: count for reason, count in reasons.items() if isinstance(count, int)}
    # a score's figures are percent, not counts, and have a chart of their own
    other = [_count(name, value) for name, value in counts.items() if not isinstance(value, float)]
    return Flow(stage, product, kept, dropped, other)


def _count(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{words(name)}: " + ", ".join(f"{number(count)} {words(part)}" for part, count in value.items())
    return f"{number(value)} {words(name)}"


def number(value: int | str) -> str:
    """A count with separated thousands; other values as they are."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def words(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")


def axes(score: Score) -> dict[str, Axis]:
    """The axes of a score's two charts: pass@1, and differences to the first model."""
    pairs = score.paired.values()
    return {
        "passed": Axis(0, 100, (0, 20, 40, 60, 80, 100)),
        "paired": Axis.over([0.0, *(pair[end] for pair in pairs for end in ("low", "high"))]),
    }


def task_axes(evaluation: Evaluation) -> dict[str, Axis]:
    """The axes of an evaluation's charts: figures, and differences to the first model."""
    pairs = [pair for tasks in evaluation.paired.values() for pair in tasks.values()]
    return {
        "figure": Axis(0, 100, (0, 20, 40, 60, 80, 100)),
        "paired": Axis.over([0.0, *(pair[end] for pair in pairs for end in ("low", "high"))]),
    }


def by_language(evaluation: Evaluation) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Task → language → best and median prompt of each model, for tasks with several languages."""
    found = {}
    for task, about in evaluation.tasks.items():
        # `accuracy (sum)` is the table of that normalisation, a metric the table of its own name
        table = about["figure"].removeprefix("accuracy (").removesuffix(")")
        name = "accuracy" if table != about["figure"] else table
        of = [tasks[task][table]["languages"] for tasks in evaluation.details.values()]
        if len(of[0]) > 1:
            found[task] = {
                code: [(model[code]["best"][name], model[code]["median"][name]) for model in of] for code in of[0]
            }
    return found


def outcomes(score: Score) -> list[str]:
    """The outcomes that occur, best first."""
    return [name for name in OUTCOMES if any(model["outcomes"].get(name) for model in score.models.values())]


def outcome_parts(model: dict[str, Any], seen: Sequence[str]) -> list[tuple[str, str, int]]:
    """A model's outcomes as parts of a bar."""
    return [(name, words(name), model["outcomes"].get(name, 0)) for name in seen]


def along_training(score: Score) -> Series:
    """pass@1 against steps of every training whose checkpoints were scored."""
    return {
        name: [(step, score.models[model]["pass@1"]) for model, step in models.items()]
        for name, models in score.steps.items()
    }


def most_changed(score: Score) -> int:
    """The largest number of problems that one model fixed or broke: the length of the longest bar."""
    return max(change.fixed + change.broken for change in score.solved.changes)


def panels(metrics: list[Point]) -> Iterator[tuple[str, Series]]:
    """The small charts of one training stage: title, and the curves that were logged for it."""
    names = list(dict.fromkeys(name for point in metrics for name in point))
    for title, belongs in PANELS.items():
        series = {
            name: [(point["step"], point[name]) for point in metrics if name in point]
            for name in names
            if belongs(name)
        }
        if series:
            yield title, series


def program(code: str | None, other: str | None) -> list[tuple[str, bool]]:
    """The first lines of a program, each with whether the other program has it not."""
    mine, theirs = _head(code), _head(other)
    found: list[tuple[str, bool]] = []
    for change, start, end, _, _ in difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        found += [(line, change != "equal") for line in mine[start:end]]
    return found


def _head(code: str | None) -> list[str]:
    # an answer that repeats itself to its end must not swell the page, nor the comparison
    lines = (code or "").splitlines()
    head = [line[:COLUMNS] for line in lines[:LINES]]
    return [*head, f"… {len(lines) - LINES} more lines"] if len(lines) > LINES else head
