"""Token ids of a file of multitask rows, on disk and mapped into memory: tokenised once, read at any place.

A store is a folder named by a key (the data's sha256, the tokenizer's content) with plain numpy arrays: `tokens.npy`
(uint16 or uint32 by vocabulary), `offsets.npy`, `prompts.npy` and `packs.npy`, the packing index (int64), and
`store.json` with their hashes. It is built in shards by several processes; shards that are done stay, so that a killed
build goes on, and the whole appears by a rename. A store that is torn or changed is found when it is opened, and built
again; large files are hashed again only where their size or time is another. It goes when the file that it was made of
is gone or changed and another one is built. Packs nothing, plans nothing.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from ..io import FULL, HUB, ROOM, Hashes, sha256_file, write_json
from ..schema import MultitaskRow, content_id
from .token_build import TORN, build, copied, ids_of, mapped, offsets, save
from .token_shards import ALONE, Job, columns_of

if TYPE_CHECKING:
    from .encode import Encoder

VERSION = 1
"""Bumped by hand when the same data and tokenizer would give other arrays."""
GATHERED = 2**22
"""Tokens that are copied in one go."""
STORES, INFO, HASHES = ".tokens", "store.json", ".hashes.json"
ARRAYS = ("tokens", "offsets", "prompts", "packs")


class TokenStore:
    """The ids of rows, read-only. An item is (ids of the prompt, ids of the target with its EOS) of a row.

    Rows stand as in the file, those without a target too: its length is 0, for the caller to count as dropped.
    """

    def __init__(
        self,
        tokens: NDArray[Any],
        offsets: NDArray[np.int64],
        prompts: NDArray[np.int64],
        packs: NDArray[np.int64],
        *,
        name: str = "rows",
        tokenizer: str = "",
    ) -> None:
        self.tokens, self.offsets = tokens, offsets
        self.prompts = prompts
        """Tokens of each row's prompt, the BOS counted where there is one."""
        self.packs = packs
        """Packed row that holds each, or `token_shards.ALONE`."""
        self.name = name
        """What messages call the file."""
        self.tokenizer = tokenizer
        """Fingerprint of the tokenizer."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.prompts)

    @functools.cached_property
    def targets(self) -> NDArray[np.int64]:
        """Tokens of each row's target, its EOS counted; 0 where it has none."""
        return np.diff(self.offsets) - self.prompts

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> tuple[NDArray[Any], NDArray[Any]]:
        start, end = int(self.offsets[row]), int(self.offsets[row + 1])
        middle = start + int(self.prompts[row])
        return self.tokens[start:middle], self.tokens[middle:end]

    @classmethod
    def of(
        cls,
        path: str | Path,
        encoder: "Encoder",
        folder: Path,
        *,
        columns: Mapping[str, str] | None = None,
        workers: int | None = None,
    ) -> "TokenStore":
        """Open the store of a file, or build it.

        Args:
            path: rows in any form that `align.io` reads.
            encoder: the one tokenisation.
            folder: of all stores: `store_folder`.
            columns: our field → the file's column.
            workers: processes that tokenise; by default one a core.

        Raises:
            DataError: a line is no row, or the folder cannot be written.
        """
        with _writing(folder), contextlib.ExitStack() as stack:
            source, named, lasting = Path(path), columns, True
            if str(path).startswith(HUB):
                spare = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
                source, named, lasting = copied(str(path), columns, spare), None, False
            elif not source.is_file():
                raise DataError(f"{path}: cannot be read (no such file)")
            tokenizer = _fast_json(encoder)
            mark = fingerprint(encoder, tokenizer)
            data = Hashes(folder / HASHES).of(source)
            key = content_id([data, sorted((named or {}).items()), mark])
            cores = workers or len(os.sched_getaffinity(0))

            def fill(out: Path) -> None:
                build(source, encoder, tokenizer, _shards(folder, key), out, columns=named, workers=cores)

            return _published(folder, key, fill, _Made(source, data, lasting), mark)

    @classmethod
    def in_memory(cls, rows: Sequence[MultitaskRow], encoder: "Encoder") -> "TokenStore":
        """The store of rows that are at hand; nothing is written."""
        found = columns_of(rows, Job.of(Path("rows"), encoder, 1), ids_of(encoder, _fast_json(encoder)))
        return cls(found.tokens, offsets(found.prompts + found.targets), found.prompts, found.packs)

    def take(self, order: ArrayLike, path: Path, folder: Path, *, packs: ArrayLike | None) -> "TokenStore":
        """Make the store of another file that holds rows of this one: ids are copied, not made again.

        Args:
            order: the row of this store that stands in each place of the file.
            path: the file, already written.
            folder: of all stores.
            packs: `pack` of each of its rows; None where the rows have none.
        """
        order_R = np.asarray(order, np.int64)
        packs_R = np.full(len(order_R), ALONE, np.int64) if packs is None else np.asarray(packs, np.int64)
        if len(packs_R) != len(order_R):
            raise ValueError(f"{len(packs_R)} packs of {len(order_R)} rows")

        def fill(out: Path) -> None:
            prompts_R = self.prompts[order_R]
            starts = offsets(prompts_R + self.targets[order_R])
            tokens = mapped(out / "tokens.npy", self.tokens.dtype, int(starts[-1]))
            for first, end in _stretches(starts):
                lengths = np.diff(starts[first : end + 1])
                shift = self.offsets[order_R[first:end]] - (starts[first:end] - starts[first])
                places = np.repeat(shift, lengths) + np.arange(lengths.sum())
                tokens[starts[first] : starts[end]] = self.tokens[places]
            tokens.flush()  # type: ignore[attr-defined]
            save(out, offsets=starts, prompts=prompts_R, packs=packs_R)

        with _writing(folder):
            data = Hashes(folder / HASHES).of(path)
            key = content_id([data, [], self.tokenizer])
            return _published(folder, key, fill, _Made(path, data), self.tokenizer)


def store_folder(path: str | Path) -> Path:
    """The folder of all stores of a run: beside the folder of the stage that leaves the file `path`."""
    return Path(path).absolute().parent.parent / STORES


def fingerprint(encoder: "Encoder", tokenizer: str | None) -> str:
    """A hash of all that ids depend on, beside the text.

    Args:
        encoder: the one tokenisation.
        tokenizer: its fast tokenizer's JSON, if it has one.
    """
    job = Job.of(Path("rows"), encoder, 1)
    if tokenizer is None:
        with tempfile.TemporaryDirectory() as folder:
            encoder.tokenizer.save_pretrained(folder)
            tokenizer = content_id({path.name: sha256_file(path) for path in Path(folder).iterdir()})
    digest = hashlib.sha256(tokenizer.encode("utf-8", "surrogatepass")).hexdigest()
    return content_id([VERSION, digest, job.opening, job.eos_id, job.dtype, job.split_special])


def _fast_json(encoder: "Encoder") -> str | None:
    """The content of a fast tokenizer, without what its last call set; None of one that is written in Python."""
    backend = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    content = json.loads(backend.to_str())
    return json.dumps(content | {"truncation": None, "padding": None}, ensure_ascii=False)


def _stretches(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows [first, end) of about `GATHERED` tokens each."""
    first, rows = 0, len(starts) - 1
    while first < rows:
        end = int(np.searchsorted(starts, starts[first] + GATHERED, side="right")) - 1
        end = min(max(end, first + 1), rows)
        yield first, end
        first = end


def _shards(folder: Path, key: str) -> Path:
    return folder / f".{key}.shards"


@dataclass(frozen=True)
class _Made:
    """The file that a store is made of."""

    path: Path
    sha256: str
    lasting: bool = True
    """Whether the file outlives the building."""

    def told(self, folder: Path) -> dict[str, Any]:
        """What `store.json` says of it; paths are from the folder of all stores."""
        return {"sha256": self.sha256, "path": os.path.relpath(self.path, folder) if self.lasting else None}


def _published(folder: Path, key: str, fill: Callable[[Path], None], made: _Made, tokenizer: str) -> TokenStore:
    """The store of a key, made by `fill` in an empty folder where there is none that is whole."""
    home = folder / key
    if not _shards(folder, key).exists() and (found := _opened(home, made, tokenizer)):
        return found
    with _alone(folder / f".{key}.lock") as alone:
        # whoever waited finds what the other one built
        found = _opened(home, made, tokenizer)
        if found is None:
            shutil.rmtree(home, ignore_errors=True)
            for left in folder.glob(f".{key}.*.tmp") if alone else ():
                shutil.rmtree(left, ignore_errors=True)
            fresh = folder / f".{key}.{os.getpid()}.tmp"
            fresh.mkdir()
            fill(fresh)
            _finish(fresh, home, made)
            found = _opened(home, made, tokenizer)
            prune(folder)
        shutil.rmtree(_shards(folder, key), ignore_errors=True)
    if found is None:
        raise DataError(f"{home}: what was written reads otherwise: the disk is at fault")
    return found


def prune(folder: Path, *, without: Collection[Path] = (), dry_run: bool = False) -> list[Path]:
    """Remove the stores whose data are gone or changed, which nothing can open any more.

    Whoever has mapped one still reads it; what is left of a removal that was killed goes with the next one.

    Args:
        folder: of all stores.
        without: folders that count as gone.
        dry_run: remove nothing.

    Returns:
        What goes.
    """
    gone = [home for home in sorted(folder.glob("[0-9a-f]*")) if home.is_dir() and not _is_of_use(home, without)]
    for home in () if dry_run else gone:
        # first what makes it a store: nobody opens half of one
        (home / INFO).unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)
    return gone


def _is_of_use(home: Path, without: Collection[Path] = ()) -> bool:
    """Whether a folder has its `store.json`, and the file that it was made of is still the same."""
    try:
        data = json.loads((home / INFO).read_text(encoding="utf-8")).get("data", {})
        if data.get("path") is None:
            return True
        path = (home.parent / data["path"]).resolve()
        left = not any(path.is_relative_to(gone.resolve()) for gone in without)
        return left and Hashes(home.parent / HASHES).of(path) == data["sha256"]
    except (*TORN, AttributeError, TypeError):
        return False


def _finish(fresh: Path, home: Path, made: _Made) -> None:
    """Put the arrays on disk with their hashes, and under their name."""
    hashes = {}
    for name in ARRAYS:
        path = fresh / f"{name}.npy"
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        hashes[name] = sha256_file(path)
    write_json(fresh / INFO, {"version": VERSION, "sha256": hashes, "data": made.told(home.parent)})
    try:
        os.rename(fresh, home)
    except OSError:
        if not home.is_dir():
            raise
        # another process, on another machine, was first
        shutil.rmtree(fresh)


def _opened(home: Path, made: _Made, tokenizer: str) -> TokenStore | None:
    """The store in a folder; None where there is none, or not as it was written."""
    try:
        known, hashes = json.loads((home / INFO).read_text(encoding="utf-8")), Hashes(home.parent / HASHES)
        if any(hashes.of(home / f"{array}.npy") != known["sha256"][array] for array in ARRAYS):
            return None
        arrays = [np.load(home / f"{array}.npy", mmap_mode="r") for array in ARRAYS]
        if not _is_of_use(home):
            # the same rows now stand in another file
            write_json(home / INFO, known | {"data": made.told(home.parent)})
    except (*TORN, TypeError):
        return None
    return TokenStore(*arrays, name=made.path.name, tokenizer=tokenizer)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Wait for other builders of the same store, where the file system has locks; without them both build."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder; name it in an error of the disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        cure = f": {ROOM}" if error.errno in FULL else ""
        raise DataError(f"{folder}: cannot be written ({error.strerror or error}){cure}") from None
