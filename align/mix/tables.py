"""Rows of raw data sets as plain mappings: JSON, JSON Lines, CSV, TSV and parquet files, and data sets of the hub.

Known by name besides: XQuAD and SQuAD (`data:` of paragraphs), XWinograd's TSV and MGSM's, which have no header. One
row at a time, with its place. Does not know templates, splits or languages.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import BackendError, DataError, suggest
from ..io import HUB, not_text, parse_hub
from ..io import rows as json_rows

Row = dict[str, Any]
Placed = Iterator[tuple[str, Row]]
FIELD = 10_000_000
"""Characters of one field of a CSV file; the reader's own bound is 131,072."""
PENN_QUOTES = {"``": '"', "''": '"'}
"""What XWinograd's tokens have for quotation marks → what its sentences have."""


def table(path: str | Path, subset: str | None = None) -> Placed:
    """The rows of a file or of a data set of the hub, each with its place.

    Args:
        path: `.jsonl`, `.json`, `.csv`, `.tsv` (the first three also `.gz` where JSON), `.parquet`, or
            `hf://datasets/owner/name@revision/split`, which is streamed.
        subset: configuration of the hub's data set.

    Raises:
        DataError: the file cannot be read, is empty, or a line of it is wrong: with `file:line`.
        BackendError: a library or the hub is not there.
    """
    reader = _hub(str(path), subset) if str(path).startswith(HUB) else _reader(Path(path))
    found = False
    for placed in reader:
        found = True
        yield placed
    if not found:
        raise DataError(f"{path}: no rows in it: leave the file out")


def _reader(path: Path) -> Placed:
    name = path.name.removesuffix(".gz")
    if not path.is_file():
        raise DataError(f"{path}: cannot be read (no such file)")
    if name.endswith((".csv", ".tsv")):
        return _separated(path, "\t" if name.endswith(".tsv") else ",")
    if name.endswith(".parquet"):
        return _parquet(path)
    if name.endswith(".json") and _is_object(path):
        return _nested(path)
    if name.endswith((".json", ".jsonl")):
        return json_rows(path)
    raise DataError(f"{path}: unknown form {path.suffix!r}: {suggest(path.suffix, READS)}")


READS = (".json", ".jsonl", ".csv", ".tsv", ".parquet")


def _is_object(path: Path) -> bool:
    """Whether a `.json` file is one object over several lines, as SQuAD's are, rather than rows."""
    if path.suffix == ".gz":
        return False
    with open(path, "rb") as file:
        first = file.readline().strip()
    try:
        return first.startswith(b"{") and "data" in json.loads(first)
    except ValueError:
        return first.startswith(b"{")


def _nested(path: Path) -> Placed:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise DataError(not_text(path)) from None
    except (ValueError, RecursionError):
        # JSON Lines under the name .json, whose faults have a line
        yield from json_rows(path)
        return
    data = value.get("data")
    if not isinstance(data, list):
        raise DataError(f"{path}: one JSON object without `data:` rows: write one object a line")
    for number, item in enumerate(data):
        if not isinstance(item, dict):
            raise DataError(f"{path}: data[{number}]: expected an object, found {type(item).__name__}")
        yield from _squad(f"{path}: data[{number}]", item) if "paragraphs" in item else [(f"{path}[{number}]", item)]


def _squad(where: str, article: Row) -> Placed:
    """SQuAD's nesting, flattened to the columns that its templates take."""
    try:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = {name: [a[name] for a in qa["answers"]] for name in ("text", "answer_start")}
                row = {"id": qa.get("id"), "title": article.get("title", ""), "context": paragraph["context"]}
                yield f"{where}: {qa.get('id')}", {**row, "question": qa["question"], "answers": answers}
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: not in SQuAD's form ({type(error).__name__}: {error}): mend it") from None


def _separated(path: Path, divider: str) -> Placed:
    known = _headerless(path.name) if divider == "\t" else None
    csv.field_size_limit(FIELD)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if known:
                # quotes stand as they are: a lone one would swallow the rest of the file
                reader = csv.reader(file, delimiter=divider, quoting=csv.QUOTE_NONE)
            else:
                reader = csv.reader(file, delimiter=divider, strict=True)
            header = None if known else next(reader, None)
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if cells:
                    yield where, known(cells, where) if known else _named(header or [], cells, where)
    except UnicodeDecodeError:
        raise DataError(not_text(path)) from None
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}: mend the line") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _named(header: list[str], cells: list[str], where: str) -> Row:
    if len(cells) != len(header):
        raise DataError(f"{where}: {len(cells)} cells under {len(header)} columns: mend the line")
    # a label in a text file numbers an option: templates index with it
    return {name: int(cell) if _is_number(cell) else cell for name, cell in zip(header, cells, strict=True)}


def _is_number(cell: str) -> bool:
    digits = cell.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10 and (digits == "0" or digits[0] != "0")


def _headerless(name: str) -> Callable[[list[str], str], Row] | None:
    if name.startswith("mgsm_"):
        return _mgsm
    return _xwinograd if name.startswith("xwinograd") else None


def _mgsm(cells: list[str], where: str) -> Row:
    """google-research/url-nlp: question, number."""
    if len(cells) != 2:
        raise DataError(f"{where}: {len(cells)} cells, and MGSM has question and number: mend the line")
    return {"question": cells[0], "answer_number": cells[1]}


def _xwinograd(cells: list[str], where: str) -> Row:
    """Tikhonov & Ryabinin 2021, in the columns of WinoGrande: the pronoun is `_`, `answer` is "1" or "2".

    The pronoun's place is a span of tokens, which the sentence is searched for one after the other.
    """
    try:
        code, _, _, sentence, tokens, pronoun, options = cells
        words, (_, (first, last), _), both = json.loads(tokens), json.loads(pronoun), json.loads(options)
        start = end = 0
        for index, word in enumerate(words[:last]):
            word = PENN_QUOTES.get(word, word)
            found = sentence.index(word, end)
            start, end = (found if index <= first else start), found + len(word)
        (one, _, _, right), (two, _, _, wrong) = both
        if right == wrong:
            raise ValueError("not one right option")
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: not in XWinograd's form ({error}): mend the line") from None
    blank = f"{sentence[:start]}_{sentence[end:]}"
    return {"lang": code, "sentence": blank, "option1": one, "option2": two, "answer": "1" if right else "2"}


def _parquet(path: Path) -> Placed:
    try:
        import pyarrow as arrow  # type: ignore[import-untyped]
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]
    except ImportError:
        raise BackendError(f"{path}: reading parquet needs `pip install 'align-rrtf[train]'`") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    yield f"{path}[{number}]", row
                    number += 1
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({str(error).splitlines()[0]})") from None


def _hub(address: str, subset: str | None) -> Placed:
    dataset, revision, split = parse_hub(address)
    try:
        import datasets
    except ImportError:
        raise BackendError(f"{address}: reading from the hub needs `pip install 'align-rrtf[train]'`") from None
    index = 0
    try:
        rows = iter(datasets.load_dataset(dataset, subset, revision=revision, split=split, streaming=True))
        while (row := next(rows, None)) is not None:
            yield f"{address}[{index}]", dict(row)
            index += 1
    except Exception as error:  # the hub client raises a dozen unrelated types for one cause: not reachable
        first = (str(error).splitlines() or [""])[0]
        raise BackendError(f"{address}: cannot be loaded ({type(error).__name__}: {first})") from None
