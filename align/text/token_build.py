"""Build the arrays of a token store: shards made by several processes, then merged. Opens and publishes nothing.

Workers are programs of their own, not forks: the process that asks may hold threads of torch and of a tokenizer.
"""

import contextlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, StageError
from ..io import GZIP, scan, write
from ..progress import progress
from ..schema import MultitaskRow
from .token_shards import Ids, Job, fast_ids, read_shard, shard_file, write_shard

if TYPE_CHECKING:
    from .encode import Encoder

SHARD_BYTES = 4 * 2**20
"""Text of a shard: a file of one is tokenised by the process that asks."""
COPY = "rows.jsonl"
TORN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises of a file that is cut or changed."""


def build(
    source: Path,
    encoder: "Encoder",
    tokenizer: str | None,
    shards: Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None,
    workers: int,
) -> None:
    """Tokenise a file.

    Args:
        source: rows.
        encoder: the one tokenisation.
        tokenizer: its fast tokenizer's JSON; None of a slow one, which works in this process alone.
        shards: folder of the shards; those that an earlier try left are not made again.
        out: folder of the arrays.
        columns: our field → the file's column.
        workers: processes.

    Raises:
        DataError: a line is no row.
        StageError: a worker died.
    """
    shards.mkdir(exist_ok=True)
    if columns or not _is_plain(source):
        source = copied(source, columns, shards)
    job = Job.of(source, encoder, SHARD_BYTES)
    job.write(shards, tokenizer)
    merged = False
    while not merged:
        missing = [number for number in range(job.shards) if not shard_file(shards, number).is_file()]
        with progress("tokenise", job.shards) as bar:
            bar.skip(job.shards - len(missing))
            for _ in _made(job, missing, shards, ids_of(encoder, tokenizer), 0 if tokenizer is None else workers):
                bar.advance()
        merged = _merged(shards, job, out)


def ids_of(encoder: "Encoder", tokenizer: str | None) -> Ids:
    """What turns texts into ids: the fast tokenizer of its JSON, or a slow one as it is."""
    if tokenizer is not None:
        return fast_ids(tokenizer, bool(encoder.tokenizer.split_special_tokens))
    return lambda texts: [encoder.response(text)[:-1] for text in texts]


def copied(source: str | Path, columns: Mapping[str, str] | None, folder: Path) -> Path:
    """The rows of a file of any form as JSON Lines under our names, which ranges of bytes divide."""
    write(folder / COPY, (row for _, row in scan(source, MultitaskRow, columns)))
    return folder / COPY


def offsets(lengths_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R + 1,) where each row begins, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_R)])


def save(folder: Path, **arrays: NDArray[Any]) -> None:
    """Each array in a file of its name."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def mapped(path: Path, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    """A new array on disk."""
    return np.lib.format.open_memmap(path, "w+", dtype, (length,))


def _is_plain(source: Path) -> bool:
    """Whether a file is JSON Lines as they are."""
    with open(source, "rb") as file:
        start = file.read(4096)
    return not start.startswith(GZIP) and not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _made(job: Job, missing: Sequence[int], shards: Path, ids: Ids, workers: int) -> Iterator[None]:
    """Make shards, one item each."""
    if workers < 2 or len(missing) < 2:
        for number in missing:
            write_shard(job, ids, shards, number)
            yield
        return
    workers = min(workers, len(missing))
    idle: SimpleQueue[_Worker] = SimpleQueue()

    def make(number: int) -> None:
        worker = idle.get()
        try:
            worker.make(number)
        finally:
            idle.put(worker)

    with contextlib.ExitStack() as stack:
        for _ in range(workers):
            idle.put(stack.enter_context(_Worker(shards)))
        # gone before the workers are: it waits for the shards that are being made
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(make, missing)


class _Worker:
    """A process that makes shards one by one; it ends when this process does."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "align.text.token_shards", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"},
        )

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]

    def make(self, number: int) -> None:
        """Wait for a shard."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._died()
        answer = self.process.stdout.readline()
        if not answer:
            self._died()
        if fault := json.loads(answer):
            raise DataError(fault)

    def _died(self) -> NoReturn:
        code = self.process.wait()
        raise StageError(f"tokenise: a process ended with status {code}: run again (what is done stays)")


def _merged(shards: Path, job: Job, out: Path) -> bool:
    """Write all shards, in order, as one store; False where one was torn: it is removed, to be made again."""
    number, found = 0, []
    try:
        for number in range(job.shards):
            with np.load(shard_file(shards, number)) as shard:
                found.append((shard["prompts"], shard["targets"], shard["packs"]))
        prompts, targets, packs = (
            np.concatenate([np.zeros(0, np.int64), *(shard[i] for shard in found)]) for i in range(3)
        )
        starts = offsets(prompts + targets)
        tokens, place = mapped(out / "tokens.npy", np.dtype(job.dtype), int(starts[-1])), 0
        for number in range(job.shards):
            own = read_shard(shard_file(shards, number)).tokens
            tokens[place : place + len(own)] = own
            place += len(own)
    except TORN:
        shard_file(shards, number).unlink(missing_ok=True)
        return False
    tokens.flush()  # type: ignore[attr-defined]
    save(out, offsets=starts, prompts=prompts, packs=packs)
    return True
