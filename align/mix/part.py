"""One source under one template, rendered into a file of its own with what is needed to weigh and draw its rows.

A part is finished by rename: a run that was killed finds the finished ones. Does not cap, weigh or shuffle.
"""

import codecs
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..generate.ask import derive_seed
from ..io import HUB, not_text, replacing, write_json
from ..schema import content_id
from .rows import Rows, text_key
from .sources import Source
from .template import Template

TRIED = 20
"""Rows that are rendered to try a template."""
CHUNK = 1 << 20
BINARY = (".gz", ".parquet")


@dataclass(frozen=True)
class Part:
    """One source under one template."""

    number: int
    """Its place among the parts of a pool."""
    source: Source
    template: Template | None = None
    """None where the source has `inputs` and `targets`."""

    @property
    def template_name(self) -> str:
        """Name of the template, as the rows have it."""
        return self.template.name if self.template else self.source.template

    @cached_property
    def group(self) -> tuple[str, ...]:
        """What a cap is for: data set, language, split and template."""
        template = self.template.id if self.template else self.source.template
        return (self.source.task, self.source.language, self.source.split, template)

    def rows(self, seed: int) -> Rows:
        """Its rows; each part draws its own choices."""
        return Rows(self.source, self.template, derive_seed("mix", seed, *self.group))

    def stem(self, folder: Path, seed: int, min_target_characters: int) -> Path:
        """Its files without suffix: another source, template or setting has other files."""
        path, stamp = Path(self.source.path), [0, 0]
        if not self.source.path.startswith(HUB):
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
        made_by = [seed, min_target_characters, self.source.path, stamp, *self.group, *map(list, self.source.columns)]
        return folder / f"{self.number:05d}-{content_id([*made_by, self.source.subset])}"


@dataclass(frozen=True)
class RenderedPart:
    """The files of a part, and what was counted."""

    stem: Path
    kept: int
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """Reason → place and cause of the first row dropped for it."""
    languages: list[str] = field(default_factory=list)
    """What `codes` number."""

    @property
    def lines(self) -> Path:
        """`MultitaskRow`s without `pack`, one a line."""
        return self.stem.with_suffix(".jsonl")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`bytes` of each line; `keys`, a hash of input and target; `origins`, one of the row of data; `characters` of
        the target; `codes`."""
        with np.load(self.stem.with_suffix(".npz")) as found:
            return dict(found)


def check_text(path: str) -> None:
    """Refuse a file that is not UTF-8 somewhere, before hours go into what comes above that line.

    Raises:
        DataError: with the line.
    """
    if path.startswith(HUB) or path.endswith(BINARY):
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise DataError(not_text(Path(path))) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def check_part(part: Part, seed: int) -> None:
    """Refuse, before anything long begins, a source that the template does not fit.

    Raises:
        ConfigError: a column is missing, or the template works without end or reaches for what it may not.
        DataError: there are no rows, or they are not in the form.
    """
    rows = part.rows(seed)
    rows.check()
    for _ in islice(rows, TRIED):
        pass


def render_part(part: Part, folder: Path, seed: int, min_target_characters: int = 0) -> RenderedPart:
    """Render a part into `folder`, unless it stands there.

    Args:
        part: what to render.
        folder: of the parts' files.
        seed: of the `choice` filter.
        min_target_characters: shorter targets are dropped as `short_target`.

    Raises:
        ConfigError, DataError: see `Rows`.
    """
    stem = part.stem(folder, seed, min_target_characters)
    told = stem.with_suffix(".json")
    if told.is_file():
        found = json.loads(told.read_text(encoding="utf-8"))
        return RenderedPart(stem, found["kept"], Counter(found["dropped"]), found["examples"], found["languages"])
    rows, languages = part.rows(seed), dict[str, int]()
    lengths, keys, origins, characters, codes, short = [], list[bytes](), list[bytes](), [], [], 0
    with replacing(stem.with_suffix(".jsonl")) as file:
        for origin, row in rows.keyed():
            if len(row.targets) < min_target_characters:
                short += 1
                continue
            line = row.model_dump_json(exclude={"pack"}).encode() + b"\n"
            file.buffer.write(line)
            lengths.append(len(line))
            keys.append(text_key(row))
            origins.append(origin)
            characters.append(len(row.targets))
            codes.append(languages.setdefault(row.language, len(languages)))
    arrays = {
        "bytes": np.array(lengths, np.int64),
        "keys": np.frombuffer(b"".join(keys), "<u8"),
        "origins": np.frombuffer(b"".join(origins), "<u8"),
        "characters": np.array(characters, np.int32),
        "codes": np.array(codes, np.int16),
    }
    with replacing(stem.with_suffix(".npz")) as file:
        np.savez(file.buffer, **arrays)  # type: ignore[arg-type]
    dropped = rows.dropped + Counter({"short_target": short} if short else {})
    # a record never holds a path
    name = Path(part.source.path).name
    examples = {reason: text.replace(part.source.path, name) for reason, text in rows.examples.items()}
    made = RenderedPart(stem, len(lengths), dropped, examples, list(languages))
    facts = {"kept": made.kept, "dropped": dict(sorted(dropped.items())), "examples": examples}
    write_json(told, {**facts, "languages": made.languages})
    return made


def parts(pairs: Sequence[tuple[Source, Template | None]]) -> list[Part]:
    """Parts of these sources and templates, numbered in order."""
    return [Part(number, source, template) for number, (source, template) in enumerate(pairs)]
