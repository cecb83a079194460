"""What a model comes from: the stages below an export, by the `stage.json` of each. Torch-free; writes nothing."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..io import HUB, parse_hub, rows
from ..models.chain import STAGE_MARKER

PROBLEMS = "problems.jsonl"
UNKNOWN = "unknown"
DATA_KEYS = ("problems", "data", "texts", "eval_data")
"""Keys of a stage that name files of rows."""


@dataclass(frozen=True)
class Ancestor:
    """A stage that a model comes from."""

    name: str
    kind: str
    config: Mapping[str, Any]
    """As the recipe says it, with `$stage/file` values."""
    folder: Path


@dataclass(frozen=True)
class DataSet:
    """Rows that a model was made from, by the name that a reader can look up."""

    name: str
    licence: str
    """As its records say; `unknown` where they do not."""


def ancestors(run: Path, stage: str | None) -> list[Ancestor]:
    """The stages below and with a stage, the first ones first; none where it is not known.

    Args:
        run: the run's folder, in which each stage's name is a link to its folder.
        stage: name of the stage that left the model.
    """
    found: dict[str, Ancestor] = {}

    def visit(name: str) -> None:
        folder = run / name
        if name in found or not (folder / STAGE_MARKER).is_file():
            return
        told = json.loads((folder / STAGE_MARKER).read_text(encoding="utf-8"))
        for text in texts(told["config"]):
            if text.startswith("$") and not text.startswith("${"):
                visit(text[1:].partition("/")[0])
        found[name] = Ancestor(name, told["kind"], told["config"], folder)

    if stage is not None:
        visit(stage)
    return list(found.values())


def data_sets(stages: list[Ancestor]) -> list[DataSet]:
    """The data sets that the stages read, with the licences of their records, sorted."""
    found = {pair for stage in stages for pair in _origins(stage.folder / PROBLEMS)}
    named = {name for name, _ in found}
    for stage in stages:
        for name in _read(stage.config):
            if name not in named:
                found.add((name, UNKNOWN))
    return [DataSet(name, licence) for name, licence in sorted(found)]


def hub_ids(stages: list[Ancestor]) -> list[str]:
    """The hub's data sets that the stages read, sorted."""
    values = {text for stage in stages for text in texts(stage.config)}
    return sorted({parse_hub(value)[0] for value in values if value.startswith(HUB)})


def texts(value: Any) -> Iterator[str]:
    """Every text of a configuration."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _read(config: Mapping[str, Any]) -> Iterator[str]:
    """Names of the files and data sets that a stage reads and no stage left."""
    for key, value in config.items():
        for text in texts(value):
            if text.startswith(HUB):
                yield parse_hub(text)[0]
            elif key in DATA_KEYS and not text.startswith("$"):
                yield Path(text).name


def _origins(path: Path) -> Iterator[tuple[str, str]]:
    """(source, licence) of every problem in a file, where there is one."""
    if path.is_file():
        for _, row in rows(path):
            if row.get("source"):
                yield str(row["source"]), str(row.get("licence") or UNKNOWN)
