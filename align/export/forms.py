"""Make the forms: each folder appears whole or not at all, with what it says compared to the whole weights.

Adapters are merged by `align.models.merge`. Loads one model at a time; knows no recipe, writes no card.
"""

import contextlib
import gc
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig

from ..errors import ConfigError, StageError
from ..models.chain import root
from ..models.denormals import flushed
from ..models.entry import Dtype, Weights
from ..models.load import fetch, load_model, load_tokenizer
from ..models.merge import merge
from . import ctranslate2, gptq
from .formats import check_libraries, unknown_class

PROBE = 48
"""Tokens that two forms are compared on."""


class Made(NamedTuple):
    """What a form is, beside the whole weights that it was made from."""

    bytes: int
    """Of all its files."""
    difference: float
    """Largest difference of a logit; for whole weights, from the chain of adapters that was merged."""
    largest: float
    """The largest logit, in absolute value."""
    agree: float
    """Share of the probe's places at which both find the same token the likeliest."""


@dataclass(frozen=True)
class Calibration:
    """What GPTQ measures its rounding on."""

    texts: Sequence[str] = ()
    """Texts like those that the model is used on."""
    group_size: int = 128
    """Weights that share a scale."""


def check_forms(formats: Sequence[str], model_type: str) -> None:
    """Refuse, before anything is made, a form whose library is missing or does not know the class.

    Raises:
        BackendError: with what to install.
        ConfigError: with what to write instead.
    """
    check_libraries(formats)
    for name in formats:
        if told := unknown_class(name, model_type):
            raise ConfigError(told)


def model_type(entry: Weights) -> str:
    """The class of an entry's weights, by transformers' name.

    Raises:
        DataError, BackendError: they cannot be read.
    """
    return str(fetch(AutoConfig, root(entry)).model_type)


def merged(entry: Weights, folder: Path, dtype: Dtype) -> Made:
    """The whole weights of an entry, its adapters summed into them.

    Raises:
        ConfigError, DataError, BackendError, StageError: as `align.models.merge.merge`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    found = merge(entry, folder, dtype)
    return Made(size(folder), found.difference, found.largest, found.agree)


@flushed()
def quantised(name: str, model: Path, folder: Path, calibration: Calibration) -> Made:
    """A quantised form of whole weights.

    Args:
        name: a format other than `safetensors`.
        model: the whole weights' folder.
        folder: the form's.
        calibration: for GPTQ.

    Raises:
        BackendError: its library cannot do it here.
        StageError: the folder cannot be written.
    """
    whole = Weights(model_name_or_path=str(model), dtype="auto")
    # 4-bit layers multiply in float32 only where the weights were of it
    whole = whole.model_copy(update={"dtype": str(fetch(AutoConfig, whole).dtype or "float32").removeprefix("torch.")})
    makers: dict[str, Callable[[Path], None]] = {
        "ctranslate2": lambda out: ctranslate2.convert(model, out),
        "gptq-int8": lambda out: gptq.convert(model, out, 8, calibration.group_size, calibration.texts),
        "gptq-int4": lambda out: gptq.convert(model, out, 4, calibration.group_size, calibration.texts),
        "bnb-int8": lambda out: _bitsandbytes(whole.model_copy(update={"load_in_8bit": True}), out),
        "bnb-nf4": lambda out: _bitsandbytes(whole.model_copy(update={"load_in_4bit": True}), out),
    }
    with appearing(folder) as torn:
        makers[name](torn)
        load_tokenizer(whole).save_pretrained(torn)
        gc.collect()
        expected = said(model)
        found = ctranslate2.said(torn, _probe(expected)) if name == "ctranslate2" else said(torn)
    return Made(
        size(folder),
        float((found - expected).abs().max()),
        float(expected.abs().max()),
        float((found.argmax(-1) == expected.argmax(-1)).float().mean()),
    )


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when it is complete.

    Raises:
        StageError: it cannot be written.
    """
    torn = folder.with_name(f".{folder.name}")
    try:
        for path in (torn, folder):
            shutil.rmtree(path, ignore_errors=True)
        torn.mkdir(parents=True)
        yield torn
        torn.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(torn, ignore_errors=True)
        raise StageError(f"{folder}: cannot be written ({str(error).strip().splitlines()[0]}): make room") from None


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@torch.no_grad()
def said(folder: Path) -> Tensor:
    """(1, T, V) logits of the probe, in float32.

    Raises:
        DataError, BackendError: as `load_model`.
    """
    model: Any = load_model(Weights(model_name_or_path=str(folder), dtype="auto"))[0]
    ids = torch.tensor([[(37 * i + 11) % model.config.vocab_size for i in range(PROBE)]], device=model.device)
    logits: Tensor = model(input_ids=ids).logits
    return logits.float().cpu()


def _probe(logits: Tensor) -> list[int]:
    """The ids that `said` asks, by what it said."""
    return [(37 * i + 11) % logits.shape[-1] for i in range(PROBE)]


def _bitsandbytes(entry: Weights, out: Path) -> None:
    load_model(entry)[0].save_pretrained(str(out))
