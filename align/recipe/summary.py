"""What a run holds, as plain data: stages, counts, scores. Reads; runs nothing."""

import shutil
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io import read_object
from ..text.token_store import STORES
from ..text.token_store import prune as prune_stores
from .workspace import MARKER, RUN, Manifest, Workspace


def summary(folder: Path) -> dict[str, Any]:
    """`{run, recipe, seed, stages, models, paired, scores}` of a run's folder, as `align show RUN --json` prints it.

    `scores` holds each score stage's models apart: stages may score on different problems, or use the same names. In
    `models` and `paired` they are together, the last stage's under a name. With a loop also `repeat`, how it has gone.

    Raises:
        DataError: the folder is no run.
    """
    facts = _facts(folder)
    found: dict[str, Any] = {
        "run": facts["run"],
        "recipe": facts["recipe"],
        "seed": facts["seed"],
        "stages": [],
        "models": {},
        "paired": {},
        "scores": {},
    }
    if "repeat" in facts:
        found["repeat"] = facts["repeat"]
    run = Workspace(folder.parent, folder.name)
    for name in facts["order"]:
        manifest = run.last(name)
        found["stages"].append(_stage(name, manifest))
        score = folder / name / "score.json"
        if manifest is not None and score.is_file():
            measured = read_object(score)
            for kind in ("models", "paired"):
                for key, value in measured[kind].items():
                    found[kind][key] = _joined(found[kind].get(key, {}), value)
            found["scores"][name] = {
                "problems": manifest.data["config"].get("problems"),
                "models": measured["models"],
                "paired": measured["paired"],
            }
    return found


def _facts(folder: Path) -> dict[str, Any]:
    """What a run says of itself."""
    path = folder / RUN
    if not path.is_file():
        raise DataError(f"{folder}: no {RUN}: not a run's folder")
    return read_object(path, ("run", "recipe", "seed", "order", "stages"))


def _joined(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What two stages say under one name: figures of tasks stand beside pass@k, of one kind the last stage's count."""
    return {**before, **now} if ("tasks" in before) != ("tasks" in now) else now


def prune(folder: Path, *, dry_run: bool) -> list[tuple[Path, int]]:
    """Remove done stage folders that no run refers to, and token stores whose data are gone; returns them with bytes.

    A stage that is not done is left alone: it may be running.

    Args:
        folder: a run's folder, or one that holds runs. What other runs refer to stays in either case.
        dry_run: remove nothing.

    Raises:
        DataError: it holds no run.
    """
    runs = _runs_of(folder)
    kept = {
        (runs / stage).resolve() for path in runs.glob(f"**/{RUN}") for stage in _facts(path.parent)["stages"].values()
    }
    if not kept:
        raise DataError(f"{folder}: no run below it")
    unused = [marker.parent for marker in sorted(folder.glob(f"**/{MARKER}")) if marker.parent.resolve() not in kept]
    homes = sorted(folder.glob(f"**/{STORES}"))
    stores = [store for home in homes for store in prune_stores(home, without=unused, dry_run=True)]
    removed = [
        (path, sum(file.stat().st_size for file in path.rglob("*") if file.is_file())) for path in (*unused, *stores)
    ]
    if not dry_run:
        for path in unused:
            shutil.rmtree(path)
        for home in homes:
            prune_stores(home)
    return removed


def _runs_of(folder: Path) -> Path:
    """The folder that holds all runs: stages are named from there."""
    if not (folder / RUN).is_file():
        return folder
    name = _facts(folder)["run"]
    return folder.resolve().parents[len(Path(name).parts) - 1]


def _stage(name: str, manifest: Manifest | None) -> dict[str, Any]:
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
