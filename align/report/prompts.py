"""The prompts of scored problems, if their file is still there and is still the one that was scored."""

from collections.abc import Set
from pathlib import Path
from typing import Any

from ..errors import AlignError
from ..io import read, sha256_file
from ..recipe.plan import is_reference
from ..recipe.recipe import Recipe
from ..recipe.workspace import Manifest
from ..schema import Problem


def prompts(folder: Path, facts: dict[str, Any], score: Manifest, wanted: Set[str]) -> dict[str, str]:
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
    return {problem.id: _text(problem) for problem in read(path, Problem) if problem.id in wanted}


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
