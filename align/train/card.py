"""The model card of what a training stage leaves: base, licence, data, and what not to evaluate on. Torch-free.

Markdown with the YAML head that the Hugging Face hub reads. It holds nothing measured and no path of a machine: the
same run gives the same bytes. Cards of data are `align.recipe.card`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..io import HUB, replacing
from ..models.chain import STAGE_MARKER, read_base
from ..models.entry import Weights
from ..models.trained_on import TrainedOn, chain, of_data, trained_on, write_trained_on
from .checkpoints import MODELS, PREFIX

NAME = "README.md"
RAIL, OPENRAIL, APACHE = "bigscience-bloom-rail-1.0", "bigcode-openrail-m", "apache-2.0"
"""The hub's names of licences."""
PUBLISHED = (
    (re.compile(r"bigscience(?:/|--)bloom"), RAIL),
    (re.compile(r"bigscience(?:/|--)mt0"), APACHE),
    (re.compile(r"bigcode(?:/|--)(?:starcoder|starcoderbase|starcoder2|santacoder|tiny_starcoder)"), OPENRAIL),
)
"""Names of published weights → their licence."""
CLASSES = {"bloom": RAIL, "gpt_bigcode": OPENRAIL, "starcoder2": OPENRAIL}
"""Class of a model of unknown origin → the licence of the weights that the class was made for."""
TERMS = {
    RAIL: "BigScience RAIL 1.0: its use restrictions hold for this model too, and must be passed on with it.",
    OPENRAIL: "BigCode OpenRAIL-M: its use restrictions hold for this model too, and must be passed on with it.",
    APACHE: "Apache 2.0.",
    None: "none is known of the base.",
}


@dataclass(frozen=True)
class Made:
    """What a training stage made its model from, in names that say no path."""

    stage: str
    """The stage's name."""
    base: str
    """Name of the model it started from, as the recipe has it."""
    data: str
    """Name of the file it was trained on."""


def write_cards(out: Path, entry: Weights, data: str, made: Made) -> None:
    """Leave a card and `trained_on.json` in every model's folder of a training stage, those on the way too.

    Args:
        out: the stage's folder, with `model/` and `checkpoints/`.
        entry: the weights that it started from.
        data: the file of rows, or its address on the hub.
        made: what the card calls these.

    Raises:
        DataError: what stands beside the base or the data is damaged, or a file cannot be written.
    """
    known = of_data(data).with_base(trained_on(entry))
    text = card(made, entry, licence_of(entry.model_name_or_path), known)
    for folder in (out / "model", *sorted((out / MODELS).glob(f"{PREFIX}*"))):
        if folder.is_dir():
            write_trained_on(folder, known)
            with replacing(folder / NAME) as file:
                file.write(text)


def card(made: Made, entry: Weights, licence: str | None, known: TrainedOn) -> str:
    """The text of a card."""
    head = [f"license: {licence}"] if licence else []
    if not entry.is_local:
        head.append(f"base_model: {entry.model_name_or_path}")
    base = made.base if entry.is_local else f"{entry.model_name_or_path}" + _revision(entry)
    if known.benchmarks:
        held = f" (in {known.variant})" if known.variant else ""
        warning = f"{', '.join(known.benchmarks)}{held}: do not evaluate on them."
    else:
        warning = "no benchmark that is known of."
    lines = [
        "---",
        *head,
        "library_name: transformers",
        "tags: [align]",
        "---",
        f"# {_plain(made.stage)}",
        "",
        f"- Base: `{_plain(base)}`",
        f"- Licence: {TERMS.get(licence, f'{licence}, that of the base.')}",
        f"- Data: `{_plain(made.data)}`; its own terms apply besides.",
        f"- Trained on: {warning}",
    ]
    return "\n".join(lines) + "\n"


def file_name(data: str, labels: Mapping[str, str]) -> str:
    """What a card calls a file: `stage/rows.jsonl`, the file's name, or its address on the hub."""
    if data.startswith(HUB):
        return data
    stage = labels.get(data)
    return f"{stage}/{Path(data).name}" if stage else Path(data).name


def licence_of(name: str) -> str | None:
    """The licence that a model inherits: its card's, that of its published base, or of its class; None: none is known.

    Args:
        name: a model's folder or a hub id.
    """
    for below in chain(name):
        folder, told = Path(below), _told(below)
        if told or not folder.is_dir():
            return told
        if (folder / NAME).is_file():
            return _stated((folder / NAME).read_text(encoding="utf-8", errors="replace"))
        if read_base(folder) is None:
            # random weights of our own are nobody's
            return None if _kind(folder) == "init" else CLASSES.get(_model_type(folder))
    return None


def _stated(text: str) -> str | None:
    """The licence in a card's YAML head, where it names one of the hub's."""
    head = text.split("\n---", 1)[0] if text.startswith("---\n") else ""
    found = re.search(r"^license: *([\w.+-]+) *$", head, re.MULTILINE)
    return found[1] if found else None


def _told(name: str) -> str | None:
    return next((licence for pattern, licence in PUBLISHED if pattern.search(name)), None)


def _kind(folder: Path) -> str:
    """The kind of the stage that left the folder; "" for other folders."""
    return _field(folder.parent / STAGE_MARKER, "kind")


def _model_type(folder: Path) -> str:
    return _field(folder / "config.json", "model_type")


def _field(path: Path, name: str) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[name])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _revision(entry: Weights) -> str:
    return f" at {entry.revision}" if entry.revision else ""


def _plain(text: str) -> str:
    """Text of the user's on one line, which ends no code span."""
    return " ".join(text.replace("`", "'").split())
