"""What a training leaves along its way: models, and the state that an interrupted run goes on from. Torch-free.

A state (weights under training, optimizer, random numbers) counts once its marker is there, which is written last and
says what each file holds. The one before it stays, for the case that a disk loses some of it. States are of no use
after the last step, and go with the stage's other hidden files. A model of a step is a model's folder like any other.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ..io import sha256_file

STATES = ".resume"
MODELS = "checkpoints"
"""Below a stage's folder."""
MARKER = "complete"
PREFIX = "checkpoint-"


def publish(folder: Path, write: Callable[[Path], None], keep: int | None, best: int | None = None) -> None:
    """Let `write` fill a model's folder, whole or not at all.

    All but the last `keep` of its siblings are removed, and all but the one of the step `best`.
    """
    torn = folder.with_name(f".{folder.name}")
    shutil.rmtree(torn, ignore_errors=True)
    write(torn)
    _sync_files(torn)
    if folder.exists():
        shutil.rmtree(folder)
    torn.rename(folder)
    siblings = sorted(folder.parent.glob(f"{PREFIX}*"), key=step_of)
    for old in siblings[: -keep if keep else 0]:
        if step_of(old) != best:
            shutil.rmtree(old)


def make_room(states: Path) -> None:
    """Before a state is written, remove all whole ones but the last: two take part of the disk at any time."""
    for old in _whole(states)[:-1]:
        _remove(old)


def finish(folder: Path) -> None:
    """Mark a state as whole, on disk, with what its files hold; of those before it the last one stays."""
    _sync_files(folder)
    marker, torn = folder / MARKER, folder / f".{MARKER}"
    torn.write_text(json.dumps({path.relative_to(folder).as_posix(): _stamp(path) for path in _files(folder)}))
    _sync(torn)
    torn.rename(marker)
    _sync(folder)
    for old in _whole(folder.parent)[:-2]:
        _remove(old)


def last_intact(folder: Path, label: str) -> Path | None:
    """The latest whole state below a folder whose files are as they were written; a damaged one is named and removed.

    Args:
        folder: of the states.
        label: what a line about a damaged one begins with.
    """
    for state in reversed(_whole(folder)):
        fault = _fault(state)
        if fault is None:
            return state
        _remove(state)
        before = last_whole(folder)
        cure = f"going on from step {step_of(before)}" if before else "starting anew"
        print(f"align: {label}: {state}: {fault}: {cure}", file=sys.stderr, flush=True)
    return None


def last_whole(folder: Path) -> Path | None:
    """The latest whole state below a folder."""
    whole = _whole(folder)
    return whole[-1] if whole else None


def remove_torn(folder: Path) -> None:
    """Remove the states that a killed run did not finish."""
    for path in folder.glob(f"{PREFIX}*"):
        if not (path / MARKER).is_file():
            shutil.rmtree(path)


def step_of(folder: Path) -> int:
    """The optimizer step that a state or a model was written after."""
    return int(folder.name.removeprefix(PREFIX))


def _remove(state: Path) -> None:
    (state / MARKER).unlink()
    shutil.rmtree(state)


def _fault(state: Path) -> str | None:
    """What is wrong with a state's files; None where nothing is."""
    try:
        stamps = json.loads((state / MARKER).read_text(encoding="utf-8"))
        for name, stamp in stamps.items():
            found = _stamp(state / name) if (state / name).is_file() else None
            if found is None:
                return f"{name} is missing"
            if found["bytes"] != stamp["bytes"]:
                return f"{name} has {found['bytes']} bytes of {stamp['bytes']}"
            if found != stamp:
                return f"{name} holds other bytes than were written"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"cannot be read ({(str(error).strip().splitlines() or [type(error).__name__])[0]})"
    return None


def _stamp(path: Path) -> dict[str, int | str]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (MARKER, f".{MARKER}"))


def _whole(folder: Path) -> list[Path]:
    return sorted((path.parent for path in folder.glob(f"{PREFIX}*/{MARKER}")), key=step_of)


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
