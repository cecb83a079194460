"""Write a chain of adapters as one folder of whole safetensors, and say how far it is from them. Knows no recipe."""

import gc
import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import StageError
from .denormals import flushed
from .entry import Dtype, Weights
from .load import Model, load_model, load_tokenizer, whole

PROBE = 48
"""Tokens that the two models are compared on."""


class Merged(NamedTuple):
    """What a merge left."""

    difference: float
    """Largest difference of a logit between the chain, with its adapters and its quantisation, and the folder."""
    largest: float
    """The largest logit, in absolute value."""
    agree: float
    """Share of the probe's places at which both find the same token the likeliest."""


@flushed()
def merge(entry: Weights, out: Path, dtype: Dtype = "auto") -> Merged:
    """Merge an entry into whole weights: adapters summed in float32, quantised weights as what they stand for.

    The folder appears whole or not at all, and is loaded before it does.

    Args:
        entry: a folder that a training stage left; or whole weights, to be written in another type.
        out: the new folder.
        dtype: of the merged weights, rounded to once; `auto`: that of the frozen ones.

    Raises:
        ConfigError, DataError, BackendError: as `load_model`.
        StageError: `out` is there already, or cannot be written.
    """
    if out.exists():
        raise StageError(f"{out}: is there already: remove it, or give another folder")
    expected = _said(load_model(entry)[0])
    gc.collect()
    torn = out.with_name(f".{out.name}")
    try:
        shutil.rmtree(torn, ignore_errors=True)
        torn.mkdir(parents=True)
        model = whole(entry, dtype=None if dtype == "auto" else getattr(torch, dtype))
        model.save_pretrained(torn)
        load_tokenizer(entry).save_pretrained(torn)
    except (OSError, SafetensorError) as error:
        raise StageError(f"{out}: cannot be written ({str(error).strip().splitlines()[0]}): make room") from None
    del model
    gc.collect()
    written = Weights(model_name_or_path=str(torn), dtype="auto", trust_remote_code=entry.trust_remote_code)
    found = _said(load_model(written)[0])
    torn.rename(out)
    return Merged(
        difference=float((found - expected).abs().max()),
        largest=float(expected.abs().max()),
        agree=float((found.argmax(-1) == expected.argmax(-1)).float().mean()),
    )


@torch.no_grad()
def _said(model: Model) -> Tensor:
    """(1, T, V) logits of the probe, in float32."""
    ids = [[(37 * i + 11) % model.config.vocab_size for i in range(PROBE)]]
    logits: Tensor = model(input_ids=torch.tensor(ids, device=model.device)).logits
    return logits.float().cpu()
