"""Near-duplicates in large sets: MinHash, locality-sensitive hashing, and the true Jaccard index of what that finds.

Sets of token n-grams as ROOTS and BigCode compare them (arXiv 2303.03915, 2402.19173). A row goes if it is like an
earlier row that stays: unlike clusters by transitivity, no chain of small differences eats a family of texts, and
each drop names one row with its true similarity. Pairs that share no band are not seen: `plan_bands` bounds how many.

Signatures come from rensa. They and the n-grams
lie in files: 4 bytes a band and an n-gram. Memory is taken by rows that share a band with another, about 200 bytes
each and band. Semantics is not compared: a paraphrase passes.
"""

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rensa import RMinHash

from ..config import Section
from ..text.environment import environment
from ..text.similarity import Shingles, mix, shingles, tokens

RECALL = 0.95
"""Expected share of pairs at the threshold that share a band; above it, more."""
SEED = 1


class Bands(NamedTuple):
    """How a signature is cut."""

    number: int
    rows: int

    def recall(self, similarity: float) -> float:
        """Expected share of pairs of that Jaccard index that share a band: 1 − (1 − s^rows)^number."""
        return float(1 - (1 - similarity**self.rows) ** self.number)


@cache
def plan_bands(permutations: int, threshold: float, recall: float = RECALL) -> Bands:
    """The longest bands, which pair the fewest rows, that still find `recall` of the pairs at the threshold."""
    plans = [Bands(permutations // rows, rows) for rows in range(1, permutations + 1)]
    return next((plan for plan in reversed(plans) if plan.recall(threshold) >= recall), plans[0])


class Sketches(NamedTuple):
    """Of some texts, in order."""

    sizes: NDArray[np.int32]
    """n-grams of each text; 0: it is not compared."""
    shingles: Shingles
    """All n-grams, one text after the other."""
    bands: NDArray[np.uint32]
    """(bands, texts): what must be equal in one place for two texts to be compared."""


class Match(NamedTuple):
    """A row that is like an earlier one."""

    row: int
    of: int
    """The earlier row, which stays."""
    similarity: float
    """Their Jaccard index."""


class Sketcher(Section):
    """Turns texts into sketches; the same on every machine."""

    threshold: float = Field(default=0.7, gt=0, le=1)
    """A row goes whose Jaccard index with an earlier one is at least this. This default and the next two are those of
    ROOTS and BigCode."""
    ngram: int = Field(default=5, gt=0)
    """Tokens in a run; the sets of runs are compared."""
    permutations: int = Field(default=256, ge=16)
    """Numbers in a signature: fewer are faster and pair more rows that are not alike; what is found stays as exact."""
    min_tokens: int = Field(default=30, ge=0)
    """Shorter texts are compared as wholes only: in 30 tokens one changed word, which may ask for another program, is
    a third of the runs of 5, but at the end of the text it is one."""

    @property
    def plan(self) -> Bands:
        """How signatures are cut."""
        return plan_bands(self.permutations, self.threshold)

    def shingles(self, found: Sequence[str], salt: str = "") -> Shingles:
        """n-grams of a text's tokens."""
        return shingles(found if len(found) >= self.min_tokens else (), self.ngram, salt)

    def sketch(self, sets: Sequence[Shingles]) -> Sketches:
        """Sizes, n-grams and bands of some texts' n-grams."""
        sizes = np.array([len(one) for one in sets], np.int32)
        flat = np.concatenate(sets) if sets else np.empty(0, np.uint32)
        filled = np.flatnonzero(sizes)
        bands = np.zeros((self.plan.number, len(sets)), np.uint32)
        if len(filled):
            # rensa refuses an empty set; with threads of its own, a process forked later would wait for them for ever
            ends = np.append(0, np.cumsum(sizes[filled])).astype(np.uint64)
            with environment("RAYON_NUM_THREADS", "1"):
                matrix = RMinHash.digest_matrix_from_flat_token_hashes(
                    mix(flat.astype(np.uint64)), ends, num_perm=self.permutations, seed=SEED
                )
            bands[:, filled] = self._fold(np.array(matrix.to_rows(), np.uint64))
        return Sketches(sizes, flat, bands)

    def _fold(self, signatures: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """(texts, permutations) → (bands, texts), a hash of each band's numbers."""
        number, rows = self.plan
        cut = signatures[:, : number * rows].reshape(-1, number, rows)
        found = np.zeros(cut.shape[:2], np.uint64)
        for row in range(rows):
            found = mix(found ^ cut[:, :, row]) + np.uint64(row)
        return (found >> np.uint64(32)).astype(np.uint32).T


class Finder:
    """Finds rows that are like an earlier one among any number of rows.

    Args:
        folder: takes the files, which `close` removes.
        sketcher: made the sketches.
    """

    def __init__(self, folder: Path, sketcher: Sketcher) -> None:
        self._threshold, self._count = sketcher.threshold, sketcher.plan.number
        self._shingles = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._bands = [tempfile.TemporaryFile(dir=folder) for _ in range(self._count)]  # noqa: SIM115
        self._sizes: list[NDArray[np.int32]] = []

    def add(self, sketches: Sketches) -> None:
        """Append rows."""
        self._sizes.append(sketches.sizes)
        self._shingles.write(sketches.shingles.tobytes())
        for file, band in zip(self._bands, sketches.bands, strict=True):
            file.write(band.tobytes())

    def find(self, alive: NDArray[np.bool_]) -> Iterator[Match]:
        """Rows that are like an earlier one which stays, in order.

        Args:
            alive: whether each row counts.
        """
        sizes = np.concatenate([np.empty(0, np.int32), *self._sizes])
        store = _Store(self._shingles, sizes)
        rows, buckets = self._shared(np.flatnonzero(alive & (sizes > 0)), len(sizes))
        last = np.zeros(len(buckets), np.bool_)
        # the last place of each bucket: nobody asks for it afterwards
        last[len(buckets) - 1 - np.unique(buckets[::-1], return_index=True)[1]] = True
        bounds = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
        kept: dict[int, list[int]] = {}
        for start, end in itertools.pairwise(bounds):
            row, mine = int(rows[start]), buckets[start:end].tolist()
            match = store.match(row, sorted({one for bucket in mine for one in kept.get(bucket, ())}), self._threshold)
            if match:
                yield match
            for bucket, ends in zip(mine, last[start:end].tolist(), strict=True):
                if ends:
                    kept.pop(bucket, None)
                elif not match:
                    kept.setdefault(bucket, []).append(row)

    def _shared(self, chosen: NDArray[np.int64], total: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(row, bucket) of every band that several of the chosen rows share, ordered by row."""
        rows, buckets, count = [np.empty(0, np.int32)], [np.empty(0, np.int32)], 0
        for file in self._bands:
            file.seek(0)
            hashes = np.frombuffer(file.read(), np.uint32)
            assert len(hashes) == total
            _, names, members = np.unique(hashes[chosen], return_inverse=True, return_counts=True)
            several = members[names] > 1
            rows.append(chosen[several].astype(np.int32))
            buckets.append((names[several] + count).astype(np.int32))
            count += len(members)
        row, bucket = np.concatenate(rows), np.concatenate(buckets)
        order = np.argsort(row, kind="stable")
        return row[order], bucket[order]

    def close(self) -> None:
        """Remove the files."""
        for file in (self._shingles, *self._bands):
            file.close()

    def __enter__(self) -> "Finder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Store:
    """The n-grams of each row, in a file."""

    def __init__(self, file: Any, sizes: NDArray[np.int32]) -> None:
        file.flush()
        self._number, self._sizes = file.fileno(), sizes
        self._ends = np.cumsum(sizes, dtype=np.int64)

    def read(self, row: int) -> Shingles:
        size = int(self._sizes[row])
        # read, not mapped: the pages of a map would count as our memory
        return np.frombuffer(os.pread(self._number, 4 * size, 4 * (int(self._ends[row]) - size)), np.uint32)

    def match(self, row: int, others: Sequence[int], threshold: float) -> Match | None:
        """The first of the others that is like the row."""
        if not others:
            return None
        size, sizes = int(self._sizes[row]), self._sizes[list(others)]
        mine: set[int] = set()
        # sets of very different sizes cannot be alike
        for place in np.flatnonzero(np.minimum(sizes, size) >= threshold * np.maximum(sizes, size)).tolist():
            mine = mine or set(self.read(row).tolist())
            other = self.read(others[place])
            shared = len(mine.intersection(other.tolist()))
            similarity = shared / (size + len(other) - shared)
            if similarity >= threshold:
                return Match(row, others[place], similarity)
        return None


def near_duplicates(texts: Iterable[str], sketcher: Sketcher | None = None) -> list[Match]:
    """The texts that are like an earlier one which stays, in order."""
    chosen = sketcher or Sketcher()
    with tempfile.TemporaryDirectory() as folder, Finder(Path(folder), chosen) as found:
        sets = [chosen.shingles(tokens(text)) for text in texts]
        found.add(chosen.sketch(sets))
        return list(found.find(np.ones(len(sets), np.bool_)))
