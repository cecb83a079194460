"""Print runs, plans, records and stage kinds for a person: tables on a terminal, plain text in a pipe."""

import importlib
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .config import Section
from .errors import DataError, suggest
from .io import rows
from .recipe.plan import Step
from .recipe.recipe import kinds
from .recipe.run import describe
from .recipe.schema import recipe_schema
from .recipe.summary import summary

RECORDS = 3
"""Records of a file that are shown."""


def console() -> Console:
    """Standard output; in a pipe as wide as the text needs."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=160)


def show(path: str, *, as_json: bool) -> None:
    """Show a run's folder, a file of records, a stage kind, or the JSON Schema of recipes (`schema`).

    Raises:
        DataError: it is none of these.
    """
    target = Path(path)
    if (target / "run.json").is_file():
        found = summary(target)
        print(json.dumps(found, indent=2, ensure_ascii=False)) if as_json else show_run(found)
    elif target.is_file():
        for _, row in rows(target) if as_json else islice(rows(target), RECORDS):
            print(json.dumps(row, ensure_ascii=False)) if as_json else show_record(row)
    elif path == "schema":
        print(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
    elif path in kinds():
        show_kind(path, as_json=as_json)
    else:
        raise DataError(f"{path}: no run, no file of records and no stage kind: {suggest(path, [*kinds(), 'schema'])}")


def show_run(found: dict[str, Any]) -> None:
    """The stages' counts and the models' scores."""
    stages = Table("stage", "counts", "seconds", title=escape(f"{found['run']} (seed {found['seed']})"))
    for stage in found["stages"]:
        seconds = "-" if stage["seconds"] is None else f"{stage['seconds']:.1f}"
        stages.add_row(stage["name"], escape(describe(stage["counts"])), seconds)
    console().print(stages)
    if found["models"]:
        show_scores(found)


def show_scores(found: dict[str, Any]) -> None:
    """pass@1 by model, and the paired difference to the first model."""
    first = next(iter(found["models"]))
    table = Table("model", "pass@1", "95 %", f"minus {first}", "95 %", "problems")
    for name, score in found["models"].items():
        pair = found["paired"].get(f"{name}-{first}")
        table.add_row(
            name,
            f"{score['pass@1']:.1f}",
            f"[{score['low']:.1f}, {score['high']:.1f}]".replace("[", "\\["),
            f"{pair['delta']:+.1f}" if pair else "",
            f"[{pair['low']:+.1f}, {pair['high']:+.1f}]".replace("[", "\\[") if pair else "",
            str(score["problems"]),
        )
    console().print(table)


def show_plan(steps: Iterable[Step], estimates: dict[str, float]) -> None:
    """Each stage: cached, or why it runs, and how long it last took."""
    table = Table("stage", "key", "state", "last took")
    for step in steps:
        seconds = estimates.get(step.stage.name)
        table.add_row(
            step.stage.name,
            step.key[:12] if step.key else "",
            escape(step.why),
            f"{seconds:.1f} s" if seconds is not None else "",
        )
    console().print(table)


def show_record(row: dict[str, Any]) -> None:
    """One record, a field a line."""
    table = Table(show_header=False, box=None)
    for name, value in row.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        table.add_row(f"[bold]{escape(name)}", escape(text))
    console().print(table)
    console().rule()


def show_kind(kind: str, *, as_json: bool) -> None:
    """A stage kind's fields, defaults and help."""
    config: type[Section] = importlib.import_module(f"align.stages.{kind}").Config
    schema = config.model_json_schema()
    if as_json:
        print(json.dumps(schema, indent=2, ensure_ascii=False))
        return
    table = Table("key", "default", "what it is", title=kind)
    required = set(schema.get("required", ()))
    for name, field in schema["properties"].items():
        default = "required" if name in required else json.dumps(field.get("default"), ensure_ascii=False)
        table.add_row(name, escape(default), escape(field.get("description", "")))
    console().print(table)
