"""Which checkpoints of a stage are whole. A checkpoint counts once its marker is there, which is written last.

Torch-free: what is inside is transformers' affair.
"""

import os
import shutil
from pathlib import Path

MARKER = "complete"
PREFIX = "checkpoint-"


def finish(folder: Path, keep: int) -> None:
    """Mark a checkpoint as whole, on disk, and remove all but the last `keep` of its siblings."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    marker = folder / MARKER
    marker.touch()
    _sync(marker)
    _sync(folder)
    for old in _whole(folder.parent)[:-keep]:
        (old / MARKER).unlink()
        shutil.rmtree(old)


def last_whole(folder: Path) -> Path | None:
    """The latest whole checkpoint below a folder."""
    whole = _whole(folder)
    return whole[-1] if whole else None


def remove_torn(folder: Path) -> None:
    """Remove the checkpoints that a killed run did not finish."""
    for path in folder.glob(f"{PREFIX}*"):
        if not (path / MARKER).is_file():
            shutil.rmtree(path)


def step_of(folder: Path) -> int:
    """The optimizer step that a checkpoint was written after."""
    return int(folder.name.removeprefix(PREFIX))


def _whole(folder: Path) -> list[Path]:
    return sorted((path.parent for path in folder.glob(f"{PREFIX}*/{MARKER}")), key=step_of)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
