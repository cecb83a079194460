"""Read and write records: JSON Lines, plain or gzipped, and JSON arrays.

A wrong line is reported with its number; a file is replaced whole or not at all; a journal survives
`kill -9`. Knows nothing of recipes. Foreign row forms are translated by `align.forms`.
"""

import contextlib
import errno
import gzip
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from .errors import BackendError, DataError
from .forms import FORMS, adapt
from .schema import Record

R = TypeVar("R", bound=Record)

HUB = "hf://datasets/"
FULL, ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room and run again"
"""The system's errors for a full disk, and the cure."""
LARGE_BYTES = 16 * 2**20
"""From this size on a file's hash is remembered."""
GZIP = b"\x1f\x8b"
"""How every gzip begins."""
MAPPING = "must be a mapping (`key: value`)"
MAPPING_TYPES = ("dict_type", "model_type", "model_attributes_type")
"""Types of pydantic's errors that it words in Python's terms."""
KEYS = {
    "string_type": "a key must be text: put it in quotes",
    "string_pattern_mismatch": "a name is made of letters, digits, - and _",
}
"""Type of pydantic's errors about a key → what to say."""


def read(path: str | Path, kind: type[R], columns: Mapping[str, str] | None = None) -> list[R]:
    """All records of a file.

    Args:
        path: `.jsonl`, `.jsonl.gz`, `.json` (an array or JSON Lines) or `hf://datasets/owner/name@revision/split`.
        kind: the record class; foreign forms that `align.forms` knows are translated.
        columns: our field → the file's column, for files with other names.

    Raises:
        DataError: with `file:line`, the field and what was found there.
    """
    return [record for _, record in scan(path, kind, columns)]


def scan(path: str | Path, kind: type[R], columns: Mapping[str, str] | None = None) -> Iterator[tuple[str, R]]:
    """Like `read`, one record at a time with its place (`file:line`)."""
    seen: set[str] = set()
    for where, row in rows(path):
        seen |= row.keys()
        try:
            yield where, kind.model_validate(adapt(kind, _renamed(row, columns or {})))
        except ValidationError as error:
            raise DataError(f"{where}: {_lacks(error, kind, row, columns or {}) or explain(error)}") from None
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    for theirs in (columns or {}).values():
        if seen and theirs not in seen:
            raise DataError(f"{path}: no row has a column {theirs!r} (columns: {', '.join(seen)}): mend `columns:`")


def rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file, each with its place (`file:line`)."""
    if str(path).startswith(HUB):
        yield from _hub_rows(str(path))
        return
    with _open(Path(path)) as file:
        try:
            if _is_array(file):
                yield from _array_rows(str(path), file)
            else:
                yield from _line_rows(str(path), file)
        except UnicodeDecodeError:
            raise DataError(not_text(Path(path))) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path}: cannot be decompressed ({error}): the file is cut or is not gzip: fetch it again"
            ) from None


def read_object(path: Path, keys: Iterable[str] = ()) -> dict[str, Any]:
    """The one JSON object of a file that we wrote, with these keys among others.

    Raises:
        DataError: it holds something else.
        OSError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or (lacking := [key for key in keys if key not in found]):
        what = "not a JSON object" if not isinstance(found, dict) else f"lacks {', '.join(lacking)}"
        raise DataError(f"{path}: {what}: remove it and run again")
    return found


def explain(error: ValidationError) -> str:
    """The first fault of a pydantic error in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "[key]") or "record"
    if first["type"] == "missing":
        return f"{place}: missing: add it"
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown field: remove it"
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        # the message is about several keys: the whole section would only hide it
        return f"{place}: {message}"
    message = MAPPING if first["type"] in MAPPING_TYPES else message
    if first["loc"][-1:] == ("[key]",):
        message = KEYS[first["type"]]
    elif first["type"] == "too_short":
        message = "must not be empty"
    found = repr(first["input"])
    return f"{place}: {message}, found {found if len(found) <= 60 else found[:57] + '...'}"


def not_text(path: Path) -> str:
    """The message on a file that is not UTF-8, with the first line that is not."""
    if path.suffix != ".gz" and path.read_bytes().startswith(GZIP):
        return f"{path}: gzip under another name: rename it to {path.name}.gz"
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{path}:{number}: not UTF-8 text (byte {error.start + 1} of the line): save it as UTF-8"
    raise AssertionError(f"{path} is UTF-8")


def dump(value: Any) -> str:
    """One line of JSON."""
    if isinstance(value, BaseModel):
        try:
            return value.model_dump_json()
        except PydanticSerializationError:
            # half a surrogate pair, which a model may write: the file takes it as its escape
            return json.dumps(value.model_dump(), ensure_ascii=False, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, records: Iterable[Any]) -> int:
    """Write records as JSON Lines, replacing the file whole; returns how many."""
    count = 0
    with replacing(path) as file:
        for record in records:
            file.write(dump(record) + "\n")
            count += 1
    return count


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON value, replacing the file whole."""
    with replacing(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def make_way(path: Path) -> None:
    """Make the folder of a file that is to be written.

    Raises:
        DataError: it cannot be made or written, or something that is no plain file has the file's name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            # a rename would put a plain file in a device's place
            raise DataError(f"{path}: cannot be written (it is no plain file): name another one")
    except OSError as error:
        raise _unwritable(path, error) from None
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: cannot be written (its folder is read-only)")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name only when it is complete and on disk; `.gz` is compressed."""
    make_way(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.suffix == ".gz":
            # mtime 0 keeps the bytes the same between runs
            with open(temporary, "wb") as raw:
                packed = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
                with TextIOWrapper(packed, "utf-8", "backslashreplace", newline="\n") as file:
                    yield file
                os.fsync(raw.fileno())
        else:
            with open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


class Journal:
    """An append-only file of JSON lines: what is in it survives `kill -9`, a torn last line is dropped.

    `sync_seconds=0` puts every entry on disk before `append` returns (paid answers); otherwise at most
    that many seconds of entries are lost to a power cut, and none to `kill -9`.
    """

    def __init__(self, path: Path, sync_seconds: float = 1.0) -> None:
        self.path = path
        self.sync_seconds = sync_seconds
        self.entries: list[dict[str, Any]] = []
        make_way(path)
        try:
            # unbuffered: an entry is with the system, or an error, before `append` returns
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise _unwritable(path, error) from None
        self._recover()
        self._synced = time.monotonic()

    def _recover(self) -> None:
        good = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                self.entries.append(json.loads(line))
            except ValueError:
                break
            good += len(line)
        self._file.truncate(good)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one entry."""
        line = dump(dict(entry)).encode("utf-8", "backslashreplace") + b"\n"
        try:
            written = self._file.write(line)
            if time.monotonic() - self._synced >= self.sync_seconds:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise _unwritable(self.path, error) from None
        if written != len(line):
            raise DataError(f"{self.path}: cannot be written (the disk took part of a line): {ROOM}")

    def close(self) -> None:
        """Put everything on disk and close."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unwritable(path: Path, error: OSError) -> DataError:
    cure = f": {ROOM}" if error.errno in FULL else ""
    return DataError(f"{path}: cannot be written ({error.strerror or error}){cure}")


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hashes:
    """Hex sha256 of files; a large one's is remembered in a sidecar, by size and time, which processes may share."""

    def __init__(self, sidecar: Path) -> None:
        self.sidecar = sidecar

    def of(self, path: Path) -> str:
        """The sha256 of a file."""
        status, name = path.stat(), str(path.resolve())
        if status.st_size < LARGE_BYTES:
            return sha256_file(path)
        known = read_object(self.sidecar) if self.sidecar.is_file() else {}
        if known.get(name, [])[:2] != [status.st_size, status.st_mtime_ns]:
            # what another process loses by writing at the same time is hashed again
            known = {other: found for other, found in known.items() if os.path.exists(other)}
            known[name] = [status.st_size, status.st_mtime_ns, sha256_file(path)]
            write_json(self.sidecar, known)
        return str(known[name][2])


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8")
        return open(path, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _is_array(file: TextIO) -> bool:
    start = file.read(4096).lstrip("\ufeff \t\r\n")
    file.seek(0)
    return start.startswith("[")


def _array_rows(path: str, file: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
    values = _parsed(file.read(), path, 1)
    for index, value in enumerate(values):
        yield from _object(f"{path}[{index}]", value)


def _line_rows(path: str, file: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        yield from _object(f"{path}:{number}", _parsed(line, path, number))


def _parsed(text: str, path: str, number: int) -> Any:
    """The value of a text that begins in line `number` of the file."""
    try:
        return json.loads(text.lstrip("\ufeff").rstrip())
    except json.JSONDecodeError as error:
        place = f"{path}:{number + error.lineno - 1}"
        raise DataError(f"{place}: not JSON: {error.msg} at column {error.colno}: mend the line") from None
    except (ValueError, RecursionError) as error:
        # a number of thousands of digits, or thousands of brackets
        raise DataError(f"{path}:{number}: JSON that cannot be read: {str(error).partition(';')[0]}") from None


def _object(where: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(value).__name__}")
    yield where, value


def _renamed(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under our names; a mapped column may be absent or null where the row has none."""
    mapped = {ours: row[theirs] for ours, theirs in columns.items() if row.get(theirs) is not None}
    return {name: value for name, value in row.items() if name not in columns.values()} | mapped


def _lacks(error: ValidationError, kind: type[Record], row: dict[str, Any], columns: Mapping[str, str]) -> str | None:
    """What to say where the first fault is that a row lacks a field."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if len(first["loc"]) == 1 else ""
    if first["type"] != "missing" or not name:
        return None
    found = f"(columns: {', '.join(row)})"
    theirs = columns.get(name, name)
    if theirs in row:
        return f"{theirs}: null, but each row needs {name}: fill it, or leave the row out"
    if name in columns:
        return f"no column {theirs!r} {found}: mend `columns:`"
    return f"{name}: missing {found}: add it" + (", or name its column in `columns:`" if kind in FORMS else "")


def parse_hub(address: str) -> tuple[str, str | None, str]:
    """(dataset, revision, split) of `hf://datasets/owner/name@revision/split`."""
    parts = address.removeprefix(HUB).split("/")
    if len(parts) != 3 or not all(parts):
        raise DataError(f"{address}: expected {HUB}owner/name@revision/split")
    owner, name, split = parts
    name, _, revision = name.partition("@")
    return f"{owner}/{name}", revision or None, split


def _hub_rows(address: str) -> Iterator[tuple[str, dict[str, Any]]]:
    dataset, revision, split = parse_hub(address)
    try:
        import datasets
    except ImportError:
        raise BackendError(f"{address}: reading from the hub needs `pip install 'align-rrtf[train]'`") from None
    try:
        loaded = datasets.load_dataset(dataset, revision=revision, split=split)
    except Exception as error:  # the hub client raises a dozen unrelated types for one cause: not reachable
        first = (str(error).splitlines() or [""])[0]
        raise BackendError(f"{address}: cannot be loaded ({type(error).__name__}: {first})") from None
    for index, row in enumerate(loaded):
        yield f"{address}[{index}]", dict(row)
