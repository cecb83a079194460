"""All rows that a mixture may draw from, in one file that is read at random through a memory map.

Parts are rendered in parallel processes and put together in their order, so that the bytes do not depend on how many
processes there are. Caps are applied here. Does not weigh or draw.
"""

import json
import mmap
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clean.workers import ordered
from ..errors import DataError
from ..generate.ask import derive_seed
from ..io import replacing, write_json
from ..progress import progress
from ..schema import content_id
from .part import Part, RenderedPart, check_part, check_text, render_part

CAP = 100_000
"""Rows for each data set, split and template (xP3's)."""
AT_ONCE = 8192
"""Rows that are written at once."""
SMALL = 2**20
"""Bytes of all parts' sources that are rendered sooner in this process than others are started: thousands of rows."""
LINES, ARRAYS, TOLD = "rows.jsonl", "rows.npz", "rows.json"


@dataclass(frozen=True)
class Pool:
    """Rows and what is known of each, as arrays of one length."""

    path: Path
    """`MultitaskRow`s without `pack`, one a line."""
    parts: Sequence[Part]
    ends: NDArray[np.int64]
    """Where each line ends in the file; (rows + 1,), the first is 0."""
    keys: NDArray[np.uint64]
    """Hash of input and target."""
    origins: NDArray[np.uint64]
    """Hash of the row of data that it renders; of a row that no template made, its key."""
    characters: NDArray[np.int32]
    """Of the target."""
    part: NDArray[np.int32]
    """Number of the part that each row is of."""
    codes: NDArray[np.int16]
    """Number in `languages` of each row's."""
    languages: Sequence[str]
    dropped: Sequence[Counter[str]]
    """Of each part, by reason."""
    examples: dict[str, str]
    """Reason → place and cause of the first row dropped for it."""

    def __len__(self) -> int:
        return len(self.keys)

    def lines(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """The rows' lines in the order asked for, each with its line end."""
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for start in range(0, len(rows), AT_ONCE):
                some = rows[start : start + AT_ONCE]
                for begin, end in zip(self.ends[some].tolist(), self.ends[some + 1].tolist(), strict=True):
                    yield text[begin:end]

    def write(
        self, path: Path, rows: NDArray[np.int64], packs: NDArray[np.int64] | None = None, label: str = ""
    ) -> None:
        """Write the rows in this order.

        Args:
            path: the file, replaced whole.
            rows: (n,) places in the pool; a row may stand more than once.
            packs: (n,) number of the packed row of each; None: without.
            label: of the bar.
        """
        lines = self.lines(rows)
        with progress(label, len(rows)) as bar, replacing(path) as file:
            for start in range(0, len(rows), AT_ONCE):
                some = list(islice(lines, AT_ONCE))
                if packs is not None:
                    numbers = packs[start : start + AT_ONCE].tolist()
                    some = [
                        b'%b,"pack":%d}\n' % (line[:-2], number) for line, number in zip(some, numbers, strict=True)
                    ]
                file.buffer.write(b"".join(some))
                bar.advance(len(some))


def check(parts: Sequence[Part], seed: int, workers: int | None = None) -> None:
    """Refuse, before anything long begins, sources and templates that do not fit.

    Raises:
        ConfigError, DataError: one line on the first part that cannot be rendered.
    """
    workers = _processes(parts, workers)
    for _ in ordered(partial(check_part, seed=seed), parts, workers):
        pass
    for _ in ordered(check_text, list(dict.fromkeys(part.source.path for part in parts)), workers):
        pass


def build(
    parts: Sequence[Part],
    folder: Path,
    *,
    seed: int,
    cap: int = CAP,
    min_target_characters: int = 0,
    workers: int | None = None,
    label: str = "mix",
) -> Pool:
    """Render the parts and put them together; what stands in `folder` already is not done again.

    Args:
        parts: of which the pool is made, in this order.
        folder: of the pool's files.
        seed: of the `choice` filter and of what a cap keeps.
        cap: rows for each data set, language, split and template; the others are dropped as `over_cap`.
        min_target_characters: shorter targets are dropped.
        workers: processes; None: as many as cores, or one for small files. The pool does not depend on it.
        label: of the bar.

    Raises:
        ConfigError, DataError: see `Rows`; no row is left.
    """
    stems = [part.stem(folder / "parts", seed, min_target_characters).name for part in parts]
    key = content_id([stems, cap])
    if (folder / TOLD).is_file() and _told(folder)["key"] == key:
        return _open(parts, folder)
    one = partial(render_part, folder=folder / "parts", seed=seed, min_target_characters=min_target_characters)
    made: list[RenderedPart] = []
    with progress(f"{label}: rendering", len(parts)) as bar:
        for found in ordered(one, parts, _processes(parts, workers)):
            made.append(found)
            bar.advance()
    _assemble(parts, made, folder, cap, seed, key)
    shutil.rmtree(folder / "parts")
    return _open(parts, folder)


def _processes(parts: Sequence[Part], workers: int | None) -> int | None:
    """Those asked for; where none are, one for small files."""
    paths = [Path(part.source.path) for part in parts]
    if workers is None and all(path.is_file() for path in paths):
        return 1 if sum(path.stat().st_size for path in paths) <= SMALL else None
    return workers


def _assemble(parts: Sequence[Part], made: Sequence[RenderedPart], folder: Path, cap: int, seed: int, key: str) -> None:
    columns = defaultdict[str, list[NDArray[Any]]](list)
    languages: dict[str, int] = {}
    dropped, examples = [found.dropped for found in made], dict[str, str]()
    with replacing(folder / LINES) as file:
        for number, (found, chosen) in enumerate(zip(made, _capped(parts, made, cap, seed), strict=True)):
            arrays = found.arrays()
            _copy(found, arrays["bytes"], chosen, file.buffer)
            renamed = [languages.setdefault(code, len(languages)) for code in found.languages]
            arrays["codes"] = np.array(renamed or [0], np.int16)[arrays["codes"]]
            arrays["part"] = np.full(found.kept, number, np.int32)
            for name, values in arrays.items():
                columns[name].append(values if chosen is None else values[chosen])
            if chosen is not None:
                dropped[number] = dropped[number] + Counter({"over_cap": found.kept - len(chosen)})
            for reason, text in found.examples.items():
                examples.setdefault(reason, text)
    if not sum(map(len, columns["keys"])):
        count = ", ".join(f"{number} {reason}" for reason, number in sorted(sum(dropped, Counter()).items()))
        why = next((" ".join(some) for some in sorted(examples.items())), count or "no source has a row")
        raise DataError(f"no row is left of {len(parts)} sources and templates ({why})")
    with replacing(folder / ARRAYS) as file:
        np.savez(file.buffer, **{name: np.concatenate(values) for name, values in columns.items()})  # type: ignore[arg-type]
    told = {"dropped": [dict(sorted(some.items())) for some in dropped], "examples": dict(sorted(examples.items()))}
    write_json(folder / TOLD, {**told, "languages": list(languages), "key": key})


def _capped(
    parts: Sequence[Part], made: Sequence[RenderedPart], cap: int, seed: int
) -> Iterator[NDArray[np.int64] | None]:
    """Of each part the rows that are kept, in their order; None: all."""
    members = defaultdict[tuple[str, ...], list[int]](list)
    for number, part in enumerate(parts):
        members[part.group].append(number)
    chosen: dict[int, NDArray[np.int64]] = {}
    for group, numbers in members.items():
        counts = [made[number].kept for number in numbers]
        if sum(counts) <= cap:
            continue
        draw = np.random.default_rng(derive_seed("cap", seed, *group))
        kept = np.sort(draw.choice(sum(counts), cap, replace=False, shuffle=False))
        starts = np.cumsum([0, *counts])
        for place, number in enumerate(numbers):
            own = kept[(kept >= starts[place]) & (kept < starts[place + 1])]
            chosen[number] = own - starts[place]
    for number in range(len(parts)):
        yield chosen.get(number)


def _copy(found: RenderedPart, lengths: NDArray[np.int64], chosen: NDArray[np.int64] | None, out: Any) -> None:
    with open(found.lines, "rb") as file:
        if chosen is None:
            shutil.copyfileobj(file, out, 1 << 20)
        elif len(chosen):
            ends = np.concatenate([[0], np.cumsum(lengths)])
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                for begin, end in zip(ends[chosen].tolist(), ends[chosen + 1].tolist(), strict=True):
                    out.write(text[begin:end])


def _open(parts: Sequence[Part], folder: Path) -> Pool:
    told = _told(folder)
    with np.load(folder / ARRAYS) as found:
        arrays = dict(found)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(arrays.pop("bytes"))])
    return Pool(
        path=folder / LINES,
        parts=parts,
        ends=ends,
        **arrays,
        languages=told["languages"],
        dropped=[Counter(some) for some in told["dropped"]],
        examples=told["examples"],
    )


def _told(folder: Path) -> Any:
    return json.loads((folder / TOLD).read_text(encoding="utf-8"))
