"""Whether a run's folder is whole, and whether two finished runs are the same. Starts nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from align.errors import DataError
from align.io import sha256_file
from align.recipe.workspace import MARKER, MEASURED
from align.report.page import PAGE

TIMED = frozenset({"seconds", "commit", "files"})
"""What equal stages may differ in; their files are compared one by one."""


def manifests(run: Path) -> dict[str, dict[str, Any]]:
    """Stage → its `stage.json`, in the recipe's order, of a finished run.

    Raises:
        DataError: it is not a finished run.
    """
    facts = _json(run / "run.json")
    if facts is None:
        raise DataError(f"{run}: no run.json that is whole: give the folder of a finished run")
    found = {}
    for name in facts["order"]:
        data = _json(run / name / MARKER)
        if data is None:
            raise DataError(f"{run / name}: no {MARKER} that is whole: finish the run first")
        found[name] = data
    return found


def torn(run: Path) -> Iterator[str]:
    """What a run's folder holds, outside of unfinished stages, that is not whole."""
    hashes = run.parent / ".hashes.json"
    if hashes.exists() and _json(hashes) is None:
        yield f"{hashes.name}: not JSON"
    for path in sorted(run.iterdir()):
        if path.is_symlink():
            if not (path / MARKER).is_file():
                yield f"{path.name}: links to a stage that is not done"
        elif path.is_dir():
            if (path / MARKER).exists():
                yield from (f"{path.name}/{fault}" for fault in _torn_stage(path))
        elif path.name == PAGE:
            if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
                yield f"{PAGE}: cut off"
        elif path.name == "run.json":
            if _json(path) is None:
                yield "run.json: not JSON"
        elif not path.name.startswith("."):
            yield f"{path.name}: a file of no stage"


def differences(one: Path, other: Path) -> Iterator[str]:
    """How two finished runs differ, by stage: keys, counts, and the bytes of every file that either of them names."""
    left, right = manifests(one), manifests(other)
    for stage in left.keys() ^ right.keys():
        yield f"{stage}: in one of the runs only"
    for stage in (name for name in left if name in right):
        mine, theirs = left[stage], right[stage]
        for fact in sorted((mine.keys() | theirs.keys()) - TIMED):
            if mine.get(fact) != theirs.get(fact):
                yield f"{stage}/{MARKER}: {fact} differs"
        for name in sorted(mine["files"].keys() | theirs["files"].keys()):
            paths = [run / stage / name for run in (one, other)]
            if name not in mine["files"] or name not in theirs["files"] or not all(path.is_file() for path in paths):
                yield f"{stage}/{name}: in one of the runs only"
            elif sha256_file(paths[0]) != sha256_file(paths[1]):
                yield f"{stage}/{name}: differs"


def left_over(run: Path) -> list[str]:
    """Hidden files that a finished run still holds, but for its lock: what kills have left behind, if anything."""
    names = (path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file())
    return [name.as_posix() for name in names if _is_hidden(name) and name.name != ".lock"]


def _torn_stage(folder: Path) -> Iterator[str]:
    """What in a finished stage's folder is not as its `stage.json` says."""
    data = _json(folder / MARKER)
    if data is None:
        yield f"{MARKER}: not JSON"
        return
    for name, entry in data["files"].items():
        path = folder / name
        if not path.is_file():
            yield f"{name}: missing"
        elif path.stat().st_size != entry["bytes"] or sha256_file(path) != entry["sha256"]:
            yield f"{name}: not the bytes that {MARKER} names"
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.is_file() and not _is_hidden(within) and within.as_posix() not in {*MEASURED, *data["files"]}:
            yield f"{within}: not in {MARKER}"


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _json(path: Path) -> dict[str, Any] | None:
    """An object in a file; None where there is none, or not a whole one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
