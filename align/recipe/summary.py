"""What a run holds, as plain data: stages, counts, scores. Reads; runs nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

from ..errors import DataError
from .workspace import MARKER, Workspace


def summary(folder: Path) -> dict[str, Any]:
    """`{run, recipe, seed, stages, models, paired}` of a run's folder, as `align show RUN --json` prints it.

    Raises:
        DataError: the folder is no run.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise DataError(f"{folder}: no run.json: not a run's folder")
    facts = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {
        "run": facts["run"],
        "recipe": facts["recipe"],
        "seed": facts["seed"],
        "stages": [],
        "models": {},
        "paired": {},
    }
    for name in facts["order"]:
        found["stages"].append(_stage(folder, name))
        score = folder / name / "score.json"
        if score.is_file():
            measured = json.loads(score.read_text(encoding="utf-8"))
            found["models"] |= measured["models"]
            found["paired"] |= measured["paired"]
    return found


def prune(runs: Path, *, dry_run: bool) -> list[tuple[Path, int]]:
    """Remove stage folders below `runs` that no run refers to; returns them with their bytes.

    A folder that is not done and that no run names is left alone: it may be running.
    """
    kept = {
        (runs / folder).resolve()
        for path in runs.glob("**/run.json")
        for folder in json.loads(path.read_text(encoding="utf-8"))["stages"].values()
    }
    unused = [marker.parent for marker in sorted(runs.glob(f"**/{MARKER}")) if marker.parent.resolve() not in kept]
    removed = []
    for folder in dict.fromkeys(path for path in unused if not path.is_symlink()):
        removed.append((folder, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())))
        if not dry_run:
            shutil.rmtree(folder)
    return removed


def _stage(folder: Path, name: str) -> dict[str, Any]:
    run = Workspace(folder.parent, folder.name)
    manifest = run.last(name)
    if manifest is None:
        return {"name": name, "kind": None, "key": None, "seconds": None, "counts": {}, "cached": False}
    data = manifest.data
    return {
        "name": name,
        "kind": data["kind"],
        "key": data["key"],
        "seconds": data["seconds"],
        "counts": data["counts"],
        "cached": manifest.intact,
    }
