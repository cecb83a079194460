"""What a training leaves along its way: models, and the state that an interrupted run goes on from. Torch-free.

A state (weights under training, optimizer, random numbers) counts once its marker is there, which is written last.
It is of no use after the last step, and goes with the stage's other hidden files. A model of a step is a model's
folder like any other.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

STATES = ".resume"
MODELS = "checkpoints"
"""Below a stage's folder."""
MARKER = "complete"
PREFIX = "checkpoint-"


def publish(folder: Path, write: Callable[[Path], None], keep: int | None) -> None:
    """Let `write` fill a model's folder, whole or not at all, and remove all but the last `keep` of its siblings."""
    torn = folder.with_name(f".{folder.name}")
    shutil.rmtree(torn, ignore_errors=True)
    write(torn)
    _sync_files(torn)
    if folder.exists():
        shutil.rmtree(folder)
    torn.rename(folder)
    siblings = sorted(folder.parent.glob(f"{PREFIX}*"), key=step_of)
    for old in siblings[: -keep if keep else 0]:
        shutil.rmtree(old)


def finish(folder: Path) -> None:
    """Mark a state as whole, on disk, and remove those before it."""
    _sync_files(folder)
    marker = folder / MARKER
    marker.touch()
    _sync(marker)
    _sync(folder)
    for old in _whole(folder.parent)[:-1]:
        (old / MARKER).unlink()
        shutil.rmtree(old)


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
