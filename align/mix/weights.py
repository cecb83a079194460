"""How much of each set a mixture takes: by size, capped or tempered, by given weights, or by xP3's file of weights.

Does not draw; see METHODS and T5 (Raffel et al. 2020, 3.5.2) for the names.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, DataError, suggest
from ..io import not_text
from .language import known

ENTRY = re.compile(r"(?P<weight>[^\s,:]+)\s+(?P<start>[\d.]+):(?P<end>[\d.]+)\s+(?P<path>[^\s,]+)")
FORM = 'expected Megatron\'s form, `"train: WEIGHT 0:0.95 PATH, …"`'


@dataclass(frozen=True)
class Weights:
    """What a file of weights says."""

    of: dict[str, float]
    """Set → weight, as written: they need not sum to 1."""
    trains: float
    """Share of each set that trains; the rest is for validation."""


def read_weights(path: str | Path) -> Weights:
    """Read weights in Megatron's form, as xP3's: a weight, a range of the set and a path for each set.

    A set's name is its path's last part without `xp3_`.

    Raises:
        ConfigError: the file cannot be read, is not in the form, or says a set twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(not_text(path)) from None
    body = re.sub(r"^\w+:\s+", "", text.strip('"'))
    entries = [entry.strip() for entry in body.split(",") if entry.strip()]
    found: dict[str, float] = {}
    trains = set()
    for entry in entries:
        match = ENTRY.fullmatch(entry)
        if match is None:
            raise ConfigError(f"{path}: {FORM}, found {entry[:60]!r}")
        name = Path(match["path"]).name.removeprefix("xp3_")
        name = known(name) or name
        if name in found:
            raise ConfigError(f"{path}: {name!r} has two weights: keep one")
        found[name] = _number(match["weight"], path, name)
        start, end = _number(match["start"], path, name), _number(match["end"], path, name)
        if start != 0 or not 0 < end <= 1:
            raise ConfigError(
                f"{path}: {name}: range {match['start']}:{match['end']}: expected 0:SHARE, such as 0:0.95"
            )
        trains.add(end)
    if not found:
        raise ConfigError(f"{path}: no weight in it: {FORM}")
    if len(trains) > 1:
        raise ConfigError(f"{path}: sets have ranges that end at {', '.join(map(str, sorted(trains)))}: give all one")
    return Weights(found, trains.pop())


def shares(
    sizes: Mapping[str, int],
    weights: Mapping[str, float] | None = None,
    *,
    max_size: int | None = None,
    temperature: float = 1.0,
    where: str = "weights",
) -> dict[str, float]:
    """Each set's share of the mixture; they sum to 1.

    Args:
        sizes: set → units of it.
        weights: set → weight, of exactly these sets; 0 leaves a set out. None: by size.
        max_size: a set counts as at most so many units (T5's examples-proportional mixing).
        temperature: sizes ** (1 / temperature): 1 is proportional, large ones are even.
        where: what to name in messages.

    Raises:
        DataError: a weight for a set that is not there, a set without one, or nothing has a weight.
    """
    if weights is None:
        found = {
            name: min(size, max_size or size) ** (1 / temperature) if size else 0.0 for name, size in sizes.items()
        }
    else:
        check_names(sizes, weights, where)
        found = {name: float(weights[name]) for name in sizes}
        for name, size in sizes.items():
            if not size and found[name]:
                raise DataError(f"{where}: set {name!r} has no row left to draw: write {name}: 0, or give it rows")
    total = sum(found.values())
    if not total:
        raise DataError(f"{where}: every weight is 0: raise one")
    return {name: value / total for name, value in found.items()}


def check_names(sets: Collection[str], weights: Mapping[str, float], where: str) -> None:
    """Refuse weights that are not of exactly these sets.

    Raises:
        DataError: a weight for a set that is not there, a set without one, or a weight below 0.
    """
    absent = [name for name in weights if name not in sets]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        hint = _suggest(absent[0], sets)
        raise DataError(f"{where}: no set {absent[0]!r}{more} in the sources: {hint}")
    without = [name for name in sets if name not in weights]
    if without:
        more = f" (and {len(without) - 1} more)" if len(without) > 1 else ""
        raise DataError(f"{where}: set {without[0]!r}{more} has no weight: add it, or write 0 to leave it out")
    for name, value in weights.items():
        if not 0 <= value < float("inf"):
            raise DataError(f"{where}: {name}: must be a number from 0 on, found {value}")


def _suggest(name: str, sets: Collection[str]) -> str:
    hint = suggest(name, sets)
    return hint if len(hint) < 200 else f"{hint[:200]}…"


def _number(text: str, path: Path, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{path}: {name}: expected a number from 0 on, found {text!r}")
    return value
