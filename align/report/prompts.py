"""Prompts and own ids of scored problems, if their file is still there and is still the one that was scored."""

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AlignError
from ..io import read, sha256_file
from ..recipe.marked import is_reference
from ..recipe.recipe import Recipe
from ..recipe.workspace import Manifest
from ..schema import Problem

OWN_ID = re.compile(r"(.+[_-])?(uu?)?id", re.IGNORECASE)
"""Names of columns in `meta` that hold an id of the user's: `id`, `uid`, `task_id`."""


@dataclass(frozen=True)
class Prompt:
    """What a problem is called and asks."""

    text: str
    own_ids: dict[str, str]
    """Column → the user's own id in it."""


def prompts(folder: Path, facts: dict[str, Any], score: Manifest, wanted: Set[str]) -> dict[str, Prompt]:
    """Problem id → prompt of the wanted problems; empty where the file cannot be found again.

    Args:
        folder: the run's folder.
        facts: its `run.json`.
        score: the manifest of the score stage.
        wanted: problem ids.
    """
    written = score.data["config"]["problems"]
    path = folder / written[1:] if is_reference(written) else _benchmark(folder, facts, written)
    if path is None or not path.is_file() or sha256_file(path) != score.data["inputs"]["problems"]:
        return {}
    columns = score.data["config"].get("columns")
    found = (problem for problem in read(path, Problem, columns) if problem.id in wanted)
    return {problem.id: Prompt(_text(problem), _own_ids(problem)) for problem in found}


def _benchmark(folder: Path, facts: dict[str, Any], written: str) -> Path | None:
    """Where the recipe, if it still stands and is still right, keeps a benchmark or a file."""
    for base in (Path.cwd(), *folder.resolve().parents):
        if (base / facts["recipe"]).is_file():
            try:
                recipe = Recipe.load(base / facts["recipe"], facts["overrides"])
                return recipe.path(recipe.benchmarks.get(written, written))
            except AlignError:
                # a recipe may change after its run, and then no longer says what was scored
                return None
    return None


def _text(problem: Problem) -> str:
    if isinstance(problem.prompt, str):
        return problem.prompt
    return "\n\n".join(f"{message.role}: {message.content}" for message in problem.prompt)


def _own_ids(problem: Problem) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in problem.meta.items()
        if OWN_ID.fullmatch(name) and isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    }
