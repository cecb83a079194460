"""Where rows of a mixture come from: folders in xP3's form, and raw data sets with templates.

Tells the language, the split and the data set of each file. A split that evaluates never trains, unless it is asked
for by name. Does not render rows (`rows`) nor weigh them.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from ..io import HUB, parse_hub
from .language import known, language
from .tables import READS, Row, table
from .template import Template

Variant = Literal["xP3", "xP3mt", "xP3all"]
TRAIN = ("train",)
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "devtest", "heldout"), "test"),
}
"""Word in a file's name → the split it stands for."""
EVALUATES = {"mgsm": "test", "xwinograd": "test", "xquad": "validation", "openai_humaneval": "test"}
"""Data sets without a training split, whose files do not say so: beginning of the name → their split."""
BENCHMARKS: dict[str, str] = {
    "MBPP": r"mbpp",
    "APPS": r"(?:^|_|/)apps(?:_|/|$)",
    "HumanEval": r"human_?eval",
    "XNLI": r"xnli",
    "XCOPA": r"xcopa",
    "XStoryCloze": r"xstory_?cloze",
    "XWinograd": r"xwinograd",
    "MGSM": r"mgsm",
}
"""Benchmark → a pattern of the names of data sets that hold it."""
EVALUATION = ("XNLI", "XCOPA", "XStoryCloze", "XWinograd")
"""What xP3all trains on and xP3 does not."""
XP3_NAME = re.compile(r"^(?:xp3_)?(?P<task>.+?)_(?P<split>train|validation|test|devtest|dev)(?:_(?P<template>.+))?$")
TRANSLATED = re.compile(r"(?:^|[_ -])([a-z]{2})(?:mt|ht)$")
"""How the name of a translated prompt ends: `zhmt` by machine, `zhht` by people."""
LABELLED = 20
"""Rows that a split must have before one label in all of them is taken for a hidden one."""


@dataclass(frozen=True)
class Source:
    """One file, or one split of a data set of the hub."""

    path: str
    language: str
    split: str
    task: str
    template: str = ""
    """Name of the template that made it; "" for raw data, and where it is not known."""
    subset: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    """(name that templates use, the data's own name), for data with other names."""

    def rows(self) -> Iterator[tuple[str, Row]]:
        """The rows, each with its place, from the beginning.

        Raises:
            DataError: the file is empty or cannot be read, or a column that `columns` names is not there.
        """
        for where, row in table(self.path, self.subset):
            for ours, theirs in self.columns:
                if theirs not in row:
                    raise DataError(f"{where}: no column {theirs!r} (columns: {', '.join(row)}): mend `columns:`")
                row[ours] = row.pop(theirs)
            yield where, row

    def names(self) -> list[str]:
        """The columns, from the first rows."""
        return list(dict.fromkeys(name for _, row in itertools.islice(self.rows(), 100) for name in row))

    def check(self, templates: Collection[Template]) -> None:
        """Refuse templates whose columns the source lacks, and rows in xP3's form without theirs.

        Raises:
            ConfigError: a template's column is missing.
            DataError: there are no rows, or `inputs` and `targets` are missing.
        """
        names = self.names()
        for template in templates:
            template.check(names, self.path)
        for name in () if templates else ("inputs", "targets"):
            if name not in names:
                raise DataError(f"{self.path}: no column {name!r} (columns: {', '.join(names)}): name a template")

    def constant_labels(self, fields: Collection[str]) -> list[str]:
        """Of the label columns, those with one value in the whole split: the answers are withheld.

        A split of under 20 rows is not judged. The scan ends as soon as every column has two values.
        """
        first: dict[str, Any] = {}
        left, count = set(fields), 0
        for _, row in self.rows() if left else ():
            count += 1
            left = {name for name in left if first.setdefault(name, row.get(name)) == row.get(name)}
            if not left:
                return []
        return sorted(left) if count >= LABELLED else []


def raw(
    path: str | Path,
    *,
    language_code: str | None = None,
    split: str | None = None,
    task: str = "",
    subset: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Source:
    """A raw data set, to be rendered by templates.

    What is not given is told by the name: `test.zh.jsonl`, `mgsm_sw.tsv`, `xcopa/val.it.jsonl`.

    Raises:
        DataError: the language is unknown, or none is given and the name has none.
    """
    text = str(path)
    if text.startswith(HUB):
        data_set, _, own_split = parse_hub(text)
        code = known((subset or "").rpartition(".")[2])
    else:
        data_set, own_split, code = _data_set(Path(text)), told_split(Path(text).name), _told_language(Path(text).name)
    if language_code is not None:
        code = language(language_code, text)
    if code is None:
        raise DataError(f"{path}: the name does not tell the language: give `language:`")
    told = split or own_split
    return Source(text, code, SPLITS.get(told, told), task or data_set, "", subset, tuple((columns or {}).items()))


def _data_set(path: Path) -> str:
    """`xcopa` of `xcopa/test.zh.jsonl` and of `xcopa.zh.jsonl`."""
    first = re.split(r"[._]", path.name)[0]
    return path.parent.name if first.lower() in SPLITS else first


def _told_language(name: str) -> str | None:
    """The code between dots, or after the last `_`; "" where each row has its own; None where there is none."""
    if name.startswith("xwinograd"):
        return ""
    stem = name.lower().removesuffix(".gz").rpartition(".")[0]
    words = [word for word in (*reversed(stem.split(".")), stem.rpartition("_")[2]) if word not in SPLITS]
    return next((code for word in words if (code := known(word) if len(word) < 8 else None)), None)


def told_split(name: str) -> str:
    """The split that a file's name tells: a word of it, else what the data set has, else `train`."""
    for begins, split in EVALUATES.items():
        if name.lower().startswith(begins):
            return split
    words = re.split(r"[._-]", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "train")


def training(sources: Collection[Source], splits: Collection[str] = TRAIN) -> tuple[list[Source], list[Source]]:
    """(the sources that train, those left out): a split trains only where it is among `splits`.

    Raises:
        DataError: none trains.
    """
    kept = [source for source in sources if source.split in splits]
    if not kept:
        found = ", ".join(sorted({f"{source.task} {source.split}" for source in sources})) or "no sources"
        raise DataError(f"nothing to train on: {found}; splits that train: {', '.join(splits)}")
    return kept, [source for source in sources if source.split not in splits]


def xp3(
    folder: str | Path,
    *,
    languages: Collection[str] | None = None,
    merged: bool = False,
    splits: Collection[str] = TRAIN,
) -> tuple[list[Source], list[Source]]:
    """(the files that train, the files left out) of a folder in xP3's form: one folder a language, many files.

    Args:
        folder: of `{"inputs", "targets"}` JSON lines; files beside the folders are refused.
        languages: those wanted; None: all.
        merged: whether `merged_*` files are read, which repeat the others of their folder: never both.
        splits: those that train. A file whose name tells no split trains.

    Raises:
        DataError: no such folder, a folder that is no language, one without files, or an empty file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    codes = {path: language(path.name, str(path)) for path in folders}
    wanted = None if languages is None else {language(text, "languages") for text in languages}
    for code in sorted((wanted or set()) - set(codes.values())):
        raise DataError(f"{root}: no folder for the language {code!r} (folders: {', '.join(p.name for p in folders)})")
    found = [
        source
        for path, code in codes.items()
        if wanted is None or code in wanted
        for source in _xp3_files(path, code, merged)
    ]
    if not found:
        raise DataError(f"{root}: no rows in it: expected folders en, zh, … of .jsonl files")
    return training(found, splits)


def _xp3_files(folder: Path, code: str, merged: bool) -> Iterator[Source]:
    found = [path for path in sorted(folder.iterdir()) if path.name.removesuffix(".gz").endswith(READS)]
    files = [path for path in found if path.name.startswith("merged_") == merged]
    if not files:
        other = "only merged_* files: set `merged: true`" if found else "no files of rows in it"
        raise DataError(f"{folder}: {other if not merged else 'no merged_* files: set `merged: false`'}")
    for path in files:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: empty: remove it")
        stem = path.name.partition(".json")[0]
        named = XP3_NAME.match(stem)
        if named and not merged:
            split = SPLITS[named["split"]]
            yield Source(str(path), code, split, named["task"], template=named["template"] or "")
        else:
            yield Source(str(path), code, "train", stem.removeprefix("xp3_"))


def benchmarks(tasks: Collection[str]) -> list[str]:
    """The benchmarks among data sets' names: a model trained on these cannot be evaluated on them."""
    return [name for name, pattern in BENCHMARKS.items() if any(re.search(pattern, task.lower()) for task in tasks)]


def variant(sources: Collection[Source]) -> Variant:
    """Which of xP3's mixtures the files are: xP3all has the evaluation tasks, xP3mt translated prompts."""
    if set(benchmarks({source.task for source in sources})) & set(EVALUATION):
        return "xP3all"
    ends = (TRANSLATED.search(source.template) for source in sources)
    return "xP3mt" if any(end and known(end[1]) for end in ends) else "xP3"
