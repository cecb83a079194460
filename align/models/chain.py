"""`base.json`: which weights an adapter stands on, so that a chain of adapters loads as it was trained. Torch-free.

A folder that a LoRA stage leaves names its predecessor, which may itself hold an adapter: the chain is followed
link by link, and every link is checked against the hash it had. Loads nothing.
"""

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import BackendError, ConfigError, DataError
from ..io import explain, sha256_file, write_json
from ..schema import Record, content_id
from .entry import Compute, Dtype, QuantType, Storage, Weights

FILE = "base.json"
CONVERTED = "source.json"
"""In a folder that was converted for CTranslate2: the configuration of the weights that it was made from."""
STAGE_MARKER = "stage.json"
"""Beside a `model/` folder, or a `checkpoints/` one, that a stage left; such folders move with their `runs/`."""


NEEDED = {
    "config.json": "a configuration",
    "*.safetensors": "safetensors weights (pickled ones are not read: convert them)",
    "tokenizer*.json": "a tokenizer",
}
"""What a folder with whole weights holds."""


class Base(Record):
    """The weights below an adapter."""

    model_name_or_path: str
    """A hub id, an absolute path, or a path from this folder (starts with `..`) to another stage's model."""
    revision: str | None
    """Hub revision, as the commit that was loaded."""
    dtype: Dtype
    """Type of the frozen weights."""
    load_in_4bit: bool
    """Whether they were quantised to 4 bits for this adapter; if not, those below them may say so themselves."""
    weights: str | None
    """Digest of a folder's weights; None for a hub id."""
    load_in_8bit: bool = False
    """Likewise, to 8 bits."""
    bnb_4bit_quant_type: QuantType = "nf4"
    """As in `Weights`, and so the next three."""
    bnb_4bit_use_double_quant: bool = False
    bnb_4bit_compute_dtype: Compute | None = None
    bnb_4bit_quant_storage: Storage = "uint8"


BITS = ("load_in_4bit", "load_in_8bit")
FOUR = ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage")
SAME = ("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant")
"""What an entry above cannot ask for otherwise than the adapter was trained."""


def is_converted(folder: Path) -> bool:
    """Whether a folder holds weights that an export converted for CTranslate2, which generates and nothing else."""
    return (folder / CONVERTED).is_file() and (folder / "model.bin").is_file()


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be a model's, or that this machine cannot load.

    Raises:
        DataError: it lacks something, or holds an adapter without its `base.json`.
        BackendError: the library that quantised its weights is not installed.
    """
    if folder.is_file():
        raise DataError(f"{folder}: a file: a model is a folder with config.json and its weights")
    if read_base(folder) is None and not is_converted(folder):
        for pattern, what in NEEDED.items():
            if not any(folder.glob(pattern)):
                raise DataError(f"{folder}: no {pattern}: a model's folder needs {what}")
        # without transformers nothing is loaded here anyway
        if quantised_by(folder) == "gptq" and importlib.util.find_spec("transformers"):
            for module in ("gptqmodel", "optimum"):
                if importlib.util.find_spec(module) is None:
                    raise BackendError(
                        f"{folder}: its weights are of GPTQ, and {module} is not installed: "
                        "pip install 'align-rrtf[gptq]'"
                    )


def config_of(folder: Path) -> dict[str, Any]:
    """The `config.json` of a folder with whole weights; empty without one that can be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def quantised_by(folder: Path) -> str | None:
    """What quantised the weights of a folder, by transformers' name; None for whole ones."""
    found = config_of(folder).get("quantization_config")
    return str(found.get("quant_method")) if isinstance(found, dict) else None


def read_base(folder: Path) -> Base | None:
    """The base of an adapter's folder; None for a folder with whole weights.

    Raises:
        DataError: an adapter without its `base.json`, or a `base.json` that is not one.
    """
    path = folder / FILE
    if not path.is_file():
        if (folder / "adapter_config.json").is_file():
            raise DataError(f"{folder}: an adapter without {FILE}: merge it into its base first")
        return None
    try:
        return Base.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise DataError(f"{path}: {explain(error)}") from None


def base_entry(folder: Path, base: Base, above: Weights) -> Weights:
    """The entry that loads the base.

    Args:
        folder: the adapter's.
        base: what the folder says of its base.
        above: the adapter's own entry; what it says of running the model holds for the base.

    Raises:
        DataError: its folder is gone, or holds other weights than the adapter was trained on.
        ConfigError: the entry above asks for another quantisation than the adapter was trained on.
    """
    name = base.model_name_or_path
    if base.weights is not None:
        below = (folder / name).resolve() if name.startswith("..") else Path(name)
        if not below.is_dir():
            raise DataError(f"{folder / FILE}: its base {below} is gone: restore it, or train again")
        if weights_digest(below) != base.weights:
            raise DataError(f"{folder / FILE}: {below} holds other weights than this adapter was trained on")
        name = str(below)
    return Weights(
        model_name_or_path=name,
        revision=base.revision,
        dtype=base.dtype,
        **_bits(folder, base, above),
        attn_implementation=above.attn_implementation,
        trust_remote_code=above.trust_remote_code,
    )


def root(entry: Weights) -> Weights:
    """The whole weights at the foot of an entry's chain, with how they are quantised.

    Raises:
        DataError, ConfigError: as `base_entry`.
    """
    folder = Path(entry.model_name_or_path)
    base = read_base(folder) if entry.is_local else None
    return entry if base is None else root(base_entry(folder, base, entry))


def _bits(folder: Path, base: Base, above: Weights) -> dict[str, Any]:
    """How the base is quantised: as for the adapter; where it was not, as the entry above asks."""
    below = {name: getattr(base, name) for name in (*BITS, *FOUR)}
    if not above.is_quantised:
        return below if base.load_in_4bit else {name: below[name] for name in BITS}
    asked = {name: getattr(above, name) for name in (*BITS, *FOUR)}
    if not (base.load_in_4bit or base.load_in_8bit):
        return asked
    for name in SAME:
        if asked[name] != below[name] and (above.load_in_4bit or not name.startswith("bnb")):
            raise ConfigError(
                f"{folder}: {name}: {asked[name]}, but the adapter was trained on {below[name]}: write the same, or "
                "leave the quantisation out of the entry"
            )
    return asked | {"bnb_4bit_compute_dtype": asked["bnb_4bit_compute_dtype"] or below["bnb_4bit_compute_dtype"]}


def write_base(folder: Path, entry: Weights, commit: str | None) -> Base:
    """Record in an adapter's folder the entry that it was trained on.

    Args:
        folder: where the adapter is.
        entry: the weights it was trained on.
        commit: the hub commit that was loaded, for a hub id.
    """
    name, digest = entry.model_name_or_path, None
    if entry.is_local:
        below = Path(name).resolve()
        digest = weights_digest(below)
        moves_along = any((above / STAGE_MARKER).is_file() for above in (below.parent, below.parents[1]))
        name = os.path.relpath(below, folder.resolve()) if moves_along else str(below)
    base = Base(
        model_name_or_path=name,
        revision=commit or entry.revision,
        dtype=entry.dtype,
        weights=digest,
        **{name: getattr(entry, name) for name in (*BITS, *FOUR)},
    )
    write_json(folder / FILE, base.model_dump())
    return base


def copy_model(source: Path, folder: Path) -> None:
    """Copy a model's folder; an adapter's copy stands on the same base."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    base = read_base(source)
    if base is not None and base.model_name_or_path.startswith(".."):
        below = (source / base.model_name_or_path).resolve()
        moved = base.model_copy(update={"model_name_or_path": os.path.relpath(below, folder.resolve())})
        write_json(folder / FILE, moved.model_dump())


def weights_digest(folder: Path) -> str:
    """Digest of a folder's weights, and of the chain below them."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob(FILE)])
    return content_id({path.name: sha256_file(path) for path in files})
