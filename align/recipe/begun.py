"""What a stage was begun with, so that a changed recipe can say what it leaves behind. Removes nothing.

A changed setting gives a stage another key and another folder: work under the old one is never mixed into it.
"""

import json
from pathlib import Path
from typing import Any

from ..io import write_json
from .plan import Step, difference
from .workspace import MARKER

BEGUN = ".begun.json"
"""In a stage's folder until it is done."""


def begin(folder: Path, step: Step) -> str | None:
    """Note what a stage is begun with; returns a line where other work on it was begun and not finished.

    Args:
        folder: the stage's, empty where nothing was begun with this key.
        step: the stage.
    """
    if (folder / BEGUN).is_file():
        return None
    now = {"config": step.written, "seed": step.stage.seed, "inputs": step.inputs}
    said = _left(folder, step.stage.name, now)
    write_json(folder / BEGUN, now)
    return said


def _left(folder: Path, name: str, now: dict[str, Any]) -> str | None:
    """What differs from the newest unfinished work on the stage."""
    others = [path for path in folder.parent.glob(f"{name}-*/{BEGUN}") if not (path.parent / MARKER).exists()]
    if not others:
        return None
    newest = max(others, key=lambda path: path.stat().st_mtime)
    try:
        before = json.loads(newest.read_text(encoding="utf-8"))
        changes = difference(before["config"], now["config"])
        changes += difference({"seed": before["seed"]}, {"seed": now["seed"]})
        changes += [
            f"{place} changed" for place in now["inputs"] if before["inputs"].get(place) != now["inputs"][place]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    what = ", ".join(dict.fromkeys(changes)) or "its environment changed"
    return f"{name}: {what}: begins anew; the unfinished work stays in {newest.parent}, for the old settings"
