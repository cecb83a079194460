"""Say what this machine offers and what to do about what lacks. Changes nothing."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .execute import isolation_level, why

TRAIN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes")


def report() -> Iterator[tuple[str, str]]:
    """(what, finding) pairs."""
    yield "python", f"{sys.version.split()[0]} ({sys.platform})"
    yield "cores", str(os.cpu_count())
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    yield "accelerators", ", ".join(devices) or "none: training and generation run on the CPU"
    yield "isolation", f"{isolation_level('auto')}: {why()}"
    lacking = [name for name in TRAIN if importlib.util.find_spec(name) is None]
    for name in TRAIN:
        if name not in lacking:
            yield name, metadata.version(name)
    if lacking:
        yield "training", f"{', '.join(lacking)} not installed: pip install 'align-rrtf[train]'"
