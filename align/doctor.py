"""Say what this machine offers and what to do about what lacks. Changes nothing."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .errors import BackendError
from .execute import isolation_level, why

TRAIN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes")


def report() -> Iterator[tuple[str, str]]:
    """(what, finding) pairs."""
    yield "python", f"{sys.version.split()[0]} ({sys.platform})"
    yield "cores", str(os.cpu_count())
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    yield "accelerators", ", ".join(devices) or "none: training and generation run on the CPU"
    yield from isolation()
    lacking = [name for name in TRAIN if importlib.util.find_spec(name) is None]
    for name in TRAIN:
        if name not in lacking:
            yield name, metadata.version(name)
    if lacking:
        yield "training", f"{', '.join(lacking)} not installed: pip install 'align-rrtf[train]'"


def isolation() -> Iterator[tuple[str, str]]:
    """The level that programs get, then each level: why it can be had or not, and the cure in lines of their own."""
    try:
        yield "isolation", f"level {isolation_level()}: {why()}"
    except BackendError:
        yield "isolation", f"programs are not run unless a weaker level is asked for: {why()}"
    for level in ("A", "B", "none"):
        yield f"isolation {level}", why(level)
        try:
            isolation_level(level)
        except BackendError as error:
            for line in str(error).splitlines()[1:]:
                yield "", line
