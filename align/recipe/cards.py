"""Graphics cards: how large they are, which strategies fit one, and what to write where none does. Measures nothing."""

import re
import shutil
import subprocess
from dataclasses import replace
from typing import NamedTuple

from ..errors import ConfigError
from .devices import Need
from .memory import CONTEXT, GIB, Memory, Strategy, memory

ROOM = 0.95
"""Share of a card that may be planned for."""
UTILISATION = 0.35
"""Share of its peak that a card reaches over a whole training; an assumption."""
CARDS: dict[str, tuple[float, float]] = {
    "t4": (16, 65),
    "v100": (32, 125),
    "a10": (24, 125),
    "l4": (24, 121),
    "l40s": (48, 362),
    "rtx3090": (24, 71),
    "rtx4090": (24, 165),
    "a100-40gb": (40, 312),
    "a100-80gb": (80, 312),
    "h100": (80, 989),
    "h200": (141, 989),
}
"""Name → GiB, and 10¹² operations a second of dense half-precision products, by their makers."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:gib|gb|g)", re.IGNORECASE)


class Card(NamedTuple):
    """What is trained on."""

    name: str
    size: float
    """Bytes."""
    rate: float | None = None
    """Operations a second that it may reach; None where that is not known."""


def card(text: str) -> Card:
    """A card by its name or size, such as `h100` or `24GiB`.

    Raises:
        ConfigError: neither.
    """
    if found := CARDS.get(text.lower()):
        return Card(text.lower(), found[0] * GIB, found[1] * 1e12 * UTILISATION)
    if (size := SIZE.fullmatch(text.strip())) and float(size[1]) > 0:
        return Card(text, float(size[1]) * GIB)
    raise ConfigError(f"--card: expected a size such as 24GiB, or one of {', '.join(CARDS)}; found {text!r}")


def detected() -> Card | None:
    """The first GPU of this machine, as its driver tells it."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        size, _, name = told.splitlines()[0].partition(",")
        mib = float(size)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    plain = name.lower().replace(" ", "")
    rate = next((entry[1] * 1e12 * UTILISATION for known, entry in CARDS.items() if known in plain), None)
    return Card(name.strip(), mib * 2**20, rate)


def fits(need: Need, size: float) -> list[Strategy]:
    """The strategies whose devices may be of this size, in bytes; a GPU keeps some of it for itself."""
    room = size * ROOM - CONTEXT
    return [name for name, peak in need.by.items() if isinstance(peak, Memory) and peak.total <= room]


def cure(need: Need, size: float) -> str:
    """What to write so that a stage that fits nowhere does; says so where nothing helps."""
    served = [name for name, peak in need.by.items() if isinstance(peak, Memory)]
    room, tokens = size * ROOM - CONTEXT, need.training.rows.tokens
    for checkpointing in dict.fromkeys((need.training.checkpointing, True)):
        budget = tokens
        while budget >= need.least:
            rows = need.training.rows.scaled(budget / tokens)
            tried = replace(need.training, checkpointing=checkpointing, rows=rows)
            good = [name for name in served if memory(tried, name, need.devices).total <= room]
            if good:
                told = [f"max_tokens_per_batch: {budget}"] if budget < tokens else []
                told += (
                    ["args.activation_checkpointing: true"] if tried.checkpointing > need.training.checkpointing else []
                )
                return f"for {', '.join(good)} write {' and '.join(told)}"
            budget //= 2
    return "take load_in_4bit with lora, a smaller model, or more devices"
