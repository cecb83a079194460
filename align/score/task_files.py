"""The files of an evaluation task: which data files are meant, their languages and splits, and which templates.

Own templates stand in `templates/`, one file a benchmark, and are known by its name. Renders nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import ConfigError, DataError, suggest
from ..io import HUB
from ..mix.sources import SPLITS, Source, raw
from ..mix.tables import READS
from ..mix.template import Template
from ..mix.template_file import read_templates

FOLDER = Path(__file__).with_name("templates")
PATTERN = ("*", "?", "[")
"""Signs that make a path a pattern."""


def shipped() -> dict[str, Path]:
    """Name of a benchmark → our own templates for it."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def data_files(written: str, resolve: Callable[[str], Path]) -> list[str]:
    """The files that a path means: those of a folder, those that fit a pattern, or itself; as written, in order.

    Args:
        written: a path, a folder, a pattern such as `xcopa/test.*.jsonl`, or an address of the hub.
        resolve: where a written path stands.

    Raises:
        DataError: no file fits.
    """
    if written.startswith((HUB, "$")):
        return [written]
    path = resolve(written)
    if path.is_dir():
        found = [one.name for one in path.iterdir() if one.name.removesuffix(".gz").endswith(READS)]
        names, base = sorted(found), written.rstrip("/")
    elif any(sign in Path(written).name for sign in PATTERN) and not path.exists():
        base, slash, pattern = written.rpartition("/")
        # the folder is sought, not the pattern, which exists nowhere
        parent = resolve(base or slash) if slash else path.parent
        names = sorted(one.name for one in parent.glob(pattern) if one.is_file())
    else:
        return [written]
    if not names:
        raise DataError(f"{written}: no file of rows there: expected files such as test.zh.jsonl or mgsm_sw.tsv")
    return [f"{base}/{name}" if base else name for name in names]


def task_sources(
    paths: Sequence[str],
    *,
    language: str | None = None,
    split: str | None = None,
    subset: str | None = None,
    columns: dict[str, str] | None = None,
) -> list[Source]:
    """The sources of a task, one a language.

    Args:
        paths: files, whose names tell language and split.
        language: of all files, where their names do not tell it.
        split: keeps the files of this split; where no name tells one it is that of all files.
        subset: configuration of a data set of the hub.
        columns: name that templates use → the data's own name.

    Raises:
        DataError: a language or split is not told, or is there twice.
    """
    found = [raw(path, language_code=language, subset=subset, columns=columns) for path in paths]
    if split is not None:
        wanted = SPLITS.get(split, split)
        kept = [source for source in found if source.split == wanted]
        if not kept and {source.split for source in found} == {"train"}:
            # what the names do not tell is `train`
            kept = [dataclasses.replace(source, split=wanted) for source in found]
        if not kept:
            told = ", ".join(sorted({source.split for source in found}))
            raise DataError(f"split: no file of {wanted!r} (the names tell: {told}): mend `split:`")
        found = kept
    for code, count in Counter(source.language for source in found).items():
        if count > 1 and code:
            files = ", ".join(Path(source.path).name for source in found if source.language == code)
            raise DataError(f"{count} files are in {code!r} ({files}): give one a language, or `split:`")
    return found


def task_templates(path: str | Path, names: Sequence[str] | None = None, *, text: bool = False) -> list[Template]:
    """The templates of a file that a task is asked by, each with a name of its own.

    Without names those are left out that ask for something else than the data set was made for, and, where some have
    options and `text` is not set, those without.

    Args:
        path: of a template file.
        names: those wanted.
        text: whether what the model writes is compared: options are of no use then.

    Raises:
        ConfigError: the file cannot be used, or has no template of a name.
    """
    found = read_templates(path)
    counts = Counter(template.name for template in found)
    found = [dataclasses.replace(one, name=one.id) if counts[one.name] > 1 else one for one in found]
    known = {template.name: template for template in found}
    if names is not None:
        for name in names:
            if name not in known:
                raise ConfigError(f"{path}: no template {name!r}: {suggest(name, known)}")
        return [known[name] for name in dict.fromkeys(names)]
    own = [template for template in found if template.original_task] or found
    with_options = [template for template in own if template.choices is not None]
    return own if text or not with_options else with_options
