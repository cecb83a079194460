"""A mixture of sets: what is held out, how much is drawn of each set, and in which order. Reads no text of rows.

A set is all rows of a language, of a task (data set), or of a source (a data set in one language). The unit is an
example, or a packed row: each set is packed on its own, and the packed rows are blended, as xP3's weights mean it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..generate.ask import derive_seed
from ..text.pack import pack
from .blend import Ints, check_passes, draw, hold_out, quotas, together
from .part import Part
from .pool import Pool
from .sources import Source
from .weights import check_names, shares

By = Literal["language", "task", "source"]
Unit = Literal["example", "packed_row"]
UNITS: dict[Unit, str] = {"example": "example", "packed_row": "packed row"}


@dataclass(frozen=True)
class Lengths:
    """Tokens of the pool's rows."""

    prompts: Ints
    """(rows,)"""
    targets: Ints
    """(rows,), the end of text among them."""
    max_length: int
    """Longer rows are not drawn."""

    @property
    def whole(self) -> Ints:
        """Of prompt and target."""
        return self.prompts + self.targets


@dataclass(frozen=True)
class Settings:
    """How a mixture is drawn."""

    by: By = "language"
    weights: Mapping[str, float] | None = None
    """Set → weight; None: by size."""
    max_size: int | None = None
    temperature: float = 1.0
    unit: Unit = "example"
    size: int | None = None
    """Units of the mixture; None: as many as there are."""
    max_repeats: int = 4
    validation: float = 0.0
    """Share of each set that is held out."""
    seed: int = 0
    where: str = "weights"
    """What messages about weights name."""


@dataclass(frozen=True)
class Mixture:
    """Which rows train, in which order; all arrays of rows hold places in the pool."""

    pool: Pool
    settings: Settings
    lengths: Lengths | None
    names: list[str]
    """Of the sets."""
    set_of: Ints
    """(pool,) number of the set of each row."""
    over_long: NDArray[np.bool_]
    """(pool,)"""
    held_out: NDArray[np.bool_]
    """(pool,) rows for validation; none of them is drawn, nor a row of the same text or of the same row of data."""
    sizes: dict[str, int]
    """Set → units that there are to draw."""
    shares: dict[str, float]
    """Set → share of the units."""
    drawn: dict[str, int]
    """Set → units drawn."""
    order: Ints
    """(rows of the mixture,) in the order of training."""
    packs: Ints | None
    """(rows of the mixture,) number of the packed row of each."""

    @property
    def units(self) -> int:
        """Units of the mixture."""
        return sum(self.drawn.values())

    @property
    def held_rows(self) -> Ints:
        """Rows for validation, in the pool's order."""
        return np.flatnonzero(self.held_out)

    @property
    def sources(self) -> list[Source]:
        """The sources that a row was drawn of."""
        return [self.pool.parts[number].source for number in np.unique(self.pool.part[self.order]).tolist()]

    @property
    def fill(self) -> float | None:
        """Share of the packed rows' room that is used; None without packed rows."""
        if self.lengths is None or self.packs is None:
            return None
        return float(self.lengths.whole[self.order].sum() / (self.units * self.lengths.max_length))


def set_name(by: By, source: Source, code: str) -> str:
    """The set that a source's rows in this language belong to: `zh`, `xcopa` or `xcopa.zh`."""
    return {"language": code, "task": source.task, "source": f"{source.task}.{code}"}[by]


def check_weights(parts: Sequence[Part], settings: Settings) -> None:
    """Refuse weights that do not fit the sources, before these are rendered.

    Raises:
        DataError: a weight for a set that is not there, or a set without one.
    """
    if settings.weights is None:
        return
    told = [part.source for part in parts if part.source.language or settings.by == "task"]
    names = {set_name(settings.by, source, source.language) for source in told}
    # rows that tell their own language may be of any set
    more = settings.weights.keys() if len(told) < len(parts) else ()
    check_names(sorted(names.union(more)), settings.weights, settings.where)


def mix(pool: Pool, settings: Settings, lengths: Lengths | None = None) -> Mixture:
    """Draw a mixture.

    Args:
        pool: all rows.
        settings: how.
        lengths: tokens of the pool's rows: needed to pack; where they are given, over-long rows are left out.

    Raises:
        DataError: weights do not fit the sets, a set would be repeated too often, or nothing is left to draw.
    """
    names, set_of = _sets(pool, settings.by)
    over_long = np.zeros(len(pool), bool) if lengths is None else lengths.whole > lengths.max_length
    held_out = np.zeros(len(pool), bool)
    if settings.validation:
        fits = ~over_long
        groups = together(pool.keys[fits], pool.origins[fits])
        held_out[fits] = hold_out(groups, set_of[fits], len(names), settings.validation, settings.seed)
    trains = ~(over_long | held_out)
    members = [np.flatnonzero(trains & (set_of == number)) for number in range(len(names))]
    units = (
        None
        if settings.unit == "example"
        else [_packed(own, lengths, settings, names[n]) for n, own in enumerate(members)]
    )
    counts = [len(own) for own in (members if units is None else units)]
    sizes = dict(zip(names, counts, strict=True))
    if not any(counts):
        raise DataError(f"no row is left to draw of {len(pool):,}: {int(over_long.sum()):,} are over max_length")
    part = shares(
        sizes, settings.weights, max_size=settings.max_size, temperature=settings.temperature, where=settings.where
    )
    wanted = settings.size or sum(min(count, settings.max_size or count) for count in counts)
    taken = quotas(list(part.values()), wanted)
    drawn = dict(zip(names, taken, strict=True))
    check_passes(sizes, drawn, part, settings.max_repeats, UNITS[settings.unit])
    sets, places = draw(taken, counts, names, settings.seed)
    order, packs = _examples(members, sets, places) if units is None else _rows(units, sets, places)
    return Mixture(pool, settings, lengths, names, set_of, over_long, held_out, sizes, part, drawn, order, packs)


def _sets(pool: Pool, by: By) -> tuple[list[str], Ints]:
    """(names, the set of each row); a source of which every row was dropped is a set without rows."""
    codes = len(pool.languages)
    pairs, found = np.unique(pool.part.astype(np.int64) * codes + pool.codes, return_inverse=True)
    of_pair = [set_name(by, pool.parts[pair // codes].source, pool.languages[pair % codes]) for pair in pairs.tolist()]
    empty = [set_name(by, part.source, part.source.language) for part in pool.parts if part.source.language]
    names = sorted({*of_pair, *empty})
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.array([numbers[name] for name in of_pair], np.int64)[found]


def _packed(members: Ints, lengths: Lengths | None, settings: Settings, name: str) -> list[Ints]:
    """The packed rows of one set."""
    assert lengths is not None, "packed rows need lengths"
    if not len(members):
        return []
    seed = derive_seed("pack", settings.seed, name)
    return [members[rows] for rows in pack(lengths.whole[members], lengths.max_length, seed=seed)]


def _examples(members: list[Ints], sets: Ints, places: Ints) -> tuple[Ints, None]:
    order = np.zeros(len(sets), np.int64)
    for number, own in enumerate(members):
        here = sets == number
        order[here] = own[places[here]]
    return order, None


def _rows(units: list[list[Ints]], sets: Ints, places: Ints) -> tuple[Ints, Ints]:
    """(rows, the number of each one's packed row)."""
    found = [units[one][place] for one, place in zip(sets.tolist(), places.tolist(), strict=True)]
    return np.concatenate(found), np.repeat(np.arange(len(found)), [len(rows) for rows in found])
