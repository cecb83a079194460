"""Show one stage of a run: what came of it, the files it left, and what it was made with."""

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..recipe.closing import closing, describe
from ..recipe.workspace import MARKER, Manifest, Workspace
from ..report.collect import is_begun, state_of
from ..terminal import Table, console, is_plain
from .record import held_in
from .records import print_fields
from .run import show_scores

SCORES = ("score", "evaluate")
"""Kinds that measure models."""
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def is_stage(folder: Path) -> bool:
    """Whether it is a stage's folder, done or not."""
    return (folder / MARKER).is_file() or is_begun(folder.resolve())


def stage_json(folder: Path) -> Any:
    """What its `stage.json` holds.

    Raises:
        DataError: the stage is not done.
    """
    manifest = _manifest(folder.resolve())
    if manifest is None:
        raise DataError(f"{folder}: not done: it has no {MARKER} yet")
    return manifest.data


def show_stage(folder: Path) -> None:
    """Its state and counts, its scores if it is a score, its files, and its configuration."""
    folder = folder.resolve()
    manifest = _manifest(folder)
    if manifest is None:
        _show_begun(folder)
        return
    data = manifest.data
    known = ("kind", "seconds", "seed", "key", "commit")
    print_fields({"stage": data["name"], "state": _state(manifest), **{name: data[name] for name in known}})
    _show_counts(data)
    if data["kind"] in SCORES and (folder / "score.json").is_file():
        measured = json.loads((folder / "score.json").read_text(encoding="utf-8"))
        show_scores({"scores": {data["name"]: measured | {"problems": data["config"].get("problems")}}})
    print()
    _show_files(((name, entry["bytes"]) for name, entry in data["files"].items()), data["kind"])
    print()
    print_fields({"config": data["config"], "versions": data["versions"]})


def _manifest(folder: Path) -> Manifest | None:
    return Workspace(folder.parent, folder.name).manifest(folder)


def _show_begun(folder: Path) -> None:
    name, _, key = folder.name.rpartition("-")
    state, why = state_of(folder)
    print_fields({"stage": name, "state": f"{state}: {why}" if why else state, "key": key})
    inside = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    # hidden: what the stage goes on from
    seen = [(place.as_posix(), path.stat().st_size) for place, path in inside.items() if "/." not in f"/{place}"]
    if seen:
        print()
        _show_files(seen)


def _state(manifest: Manifest) -> str:
    """`done`, or which files are not those it left."""
    changed = [
        name
        for name, entry in manifest.data["files"].items()
        if not (path := manifest.folder / name).is_file() or path.stat().st_size != entry["bytes"]
    ]
    return f"done; changed since: {', '.join(changed)}" if changed else "done"


def _show_counts(data: dict[str, Any]) -> None:
    out = console()
    if is_plain(out):
        print(f"counts: {describe(data['counts'])}")
        return
    for part in closing("counts", data["counts"], data["seconds"]):
        out.print(part)


def _show_files(files: Iterable[tuple[str, int]], kind: str = "") -> None:
    """One row a file, or a folder with all that is in it."""
    table = Table(("file", "size", "records"), numbers=("size",))
    for name, group in groupby(files, key=lambda file: file[0].partition("/")[0]):
        inside = list(group)
        many = f"{name}/ ({len(inside)} files)" if inside[0][0] != name else name
        table.add(many, _size(sum(size for _, size in inside)), held_in(name, kind))
    table.show()


def _size(count: int) -> str:
    return next((f"{count / size:.1f} {unit}" for size, unit in UNITS if count >= size), f"{count} B")
