"""Tokenise a range of a file's bytes: one shard of a token store. Merges nothing, and knows no model.

A shard holds the rows whose lines begin in its range, so that any process may make any shard, in any order, and all
of them together are the file. Run as a module it is a worker: numbers of shards on its input, an answer to each on its
output, until the input ends with the process that asked.
"""

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..errors import DataError
from ..forms import adapt
from ..io import replacing, scan, write_json
from ..schema import MultitaskRow
from .environment import environment

if TYPE_CHECKING:
    from .encode import Encoder

Ids = Callable[[list[str]], list[list[int]]]
"""Texts → the ids of each, nothing added."""
CHUNK = 512
"""Rows that are tokenised in one call."""
JOB, TOKENIZER = "job.json", "tokenizer.json"
ALONE = -1
"""The pack of a row that stands alone."""


class Columns(NamedTuple):
    """Rows as arrays: what a shard, and a whole store, holds."""

    tokens: NDArray[Any]
    """Every row's prompt, then its target, in the order of the file."""
    prompts: NDArray[np.int64]
    """Tokens of each prompt."""
    targets: NDArray[np.int64]
    """Tokens of each target with the EOS; 0 where the row has no target."""
    packs: NDArray[np.int64]
    """Packed row of each, or `ALONE`."""


@dataclass(frozen=True)
class Job:
    """What all shards of a store have in common."""

    data: str
    """A file of JSON Lines."""
    opening: list[int]
    """What opens every prompt: a BOS, or nothing."""
    eos_id: int
    dtype: str
    """Type of the ids on disk."""
    split_special: bool
    """Whether the text of a special token in the data is plain text."""
    shard_bytes: int

    @staticmethod
    def of(data: Path, encoder: "Encoder", shard_bytes: int) -> "Job":
        """The job of a file and a tokenizer."""
        tokenizer = encoder.tokenizer
        vocabulary = max(tokenizer.get_vocab().values(), default=0)
        return Job(
            data=str(data.absolute()),
            opening=encoder.prompt("")[:1] if encoder.opens_with_bos else [],
            eos_id=encoder.eos_id,
            dtype="uint16" if vocabulary < 2**16 else "uint32",
            split_special=bool(getattr(tokenizer, "split_special_tokens", False)),
            shard_bytes=shard_bytes,
        )

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-Path(self.data).stat().st_size // self.shard_bytes)

    def write(self, folder: Path, tokenizer: str | None) -> None:
        """Leave the job for the workers.

        Args:
            folder: theirs.
            tokenizer: a fast tokenizer's JSON.
        """
        write_json(folder / JOB, asdict(self))
        if tokenizer is not None:
            (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")


def fast_ids(tokenizer: str, split_special: bool) -> Ids:
    """The ids of a fast tokenizer, from its JSON, as transformers gets them of it."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = split_special
    return lambda texts: [found.ids for found in backend.encode_batch_fast(texts, add_special_tokens=False)]


def shard_file(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:06}.npz"


def write_shard(job: Job, ids: Ids, folder: Path, number: int) -> None:
    """Tokenise a shard's rows; the file appears under its name when it is whole and on disk.

    Raises:
        DataError: a line is no row.
    """
    found = columns_of(_rows(job, number), job, ids)
    with replacing(shard_file(folder, number)) as file:
        np.savez(file.buffer, **found._asdict())


def read_shard(path: Path) -> Columns:
    """What a shard holds."""
    with np.load(path) as found:
        return Columns(*(found[name] for name in Columns._fields))


def columns_of(rows: Iterable[MultitaskRow], job: Job, ids: Ids) -> Columns:
    """Rows as ids.

    Raises:
        DataError: half a surrogate pair, which no tokenizer takes.
    """
    tokens: list[NDArray[Any]] = [np.zeros(0, job.dtype)]
    prompts, targets, packs = [], [], []
    waiting = iter(rows)
    while chunk := list(itertools.islice(waiting, CHUNK)):
        # the space belongs to the targets: a model that is asked continues after the inputs' last character
        texts = [text for row in chunk for text in (row.inputs, f" {row.targets}" if row.targets else "")]
        # without the tokenizer's threads: processes share the work, and a later fork must find none
        with environment("TOKENIZERS_PARALLELISM", "false"):
            try:
                found = ids(texts)
            except (TypeError, UnicodeEncodeError):
                raise DataError(f"{job.data}: {_halved(texts)}") from None
        flat: list[list[int]] = []
        for row, prompt, target in zip(chunk, found[::2], found[1::2], strict=True):
            said = [*target, job.eos_id] if row.targets else []
            flat += [job.opening, prompt, said]
            prompts.append(len(job.opening) + len(prompt))
            targets.append(len(said))
            packs.append(ALONE if row.pack is None else row.pack)
        tokens.append(np.fromiter(itertools.chain.from_iterable(flat), job.dtype))
    return Columns(np.concatenate(tokens), *(np.array(values, np.int64) for values in (prompts, targets, packs)))


def _rows(job: Job, number: int) -> Iterator[MultitaskRow]:
    """The rows whose lines begin in a shard's range."""
    place, end = number * job.shard_bytes, (number + 1) * job.shard_bytes
    with open(job.data, "rb") as file:
        if place:
            # a line that begins right at the range's start is its own
            file.seek(place - 1)
            place += len(file.readline()) - 1
        while place < end and (line := file.readline()):
            place += len(line)
            if line.strip():
                yield _row(line, job.data)


def _row(line: bytes, path: str) -> MultitaskRow:
    try:
        value = json.loads(line.decode("utf-8").lstrip("\ufeff"))
        return MultitaskRow.model_validate(adapt(MultitaskRow, value))
    except (ValueError, AttributeError, RecursionError, ValidationError, DataError):
        # the one reader of files knows the line's number, and says what is wrong as it always does
        for _ in scan(path, MultitaskRow):
            pass
        raise DataError(f"{path}: a line ends in something else than a newline: write it as JSON Lines") from None


def _halved(texts: list[str]) -> str:
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            shown = text[max(error.start - 20, 0) : error.start].encode("unicode_escape").decode()
            return f"half a surrogate pair after {shown!r}: remove it, since no tokenizer takes it"
    return "the tokenizer takes no text of it: load another one"


def _work(folder: Path) -> None:
    """Make the shards whose numbers come in; answer each with a line, empty if all is well."""
    job = Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    ids = fast_ids((folder / TOKENIZER).read_text(encoding="utf-8"), job.split_special)
    for number in sys.stdin:
        fault = ""
        try:
            write_shard(job, ids, folder, int(number))
        except DataError as error:
            fault = str(error)
        except OSError as error:
            fault = f"{folder}: cannot be written ({error.strerror or error})"
        print(json.dumps(fault), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _work(Path(sys.argv[1]))
