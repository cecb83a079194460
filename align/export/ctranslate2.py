"""CTranslate2's form of whole weights, in 8-bit integers (extra `[ctranslate2]`). Writes and compares; `generate` runs.

Every row of a weight has a scale of its own; activations are rounded as they come, row by row.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BackendError
from ..generate.ctranslate2 import library
from ..io import write_json
from ..models.chain import CONVERTED

TOKENS = ("bos_token", "unk_token")


def convert(model: Path, out: Path) -> None:
    """Write the form, with the configuration of the weights that it was made from.

    Args:
        model: the whole weights' folder.
        out: an empty folder.

    Raises:
        BackendError: the library is missing, or cannot convert the class.
    """
    library()
    from ctranslate2 import converters  # type: ignore[import-not-found, import-untyped, unused-ignore]

    try:
        # force: the folder is there, and empty
        converters.TransformersConverter(str(model)).convert(str(out), quantization="int8", force=True)
    except (ValueError, RuntimeError, KeyError) as error:
        raise BackendError(f"{model}: CTranslate2 cannot convert it ({str(error).splitlines()[0]})") from None
    own = json.loads((out / "config.json").read_text(encoding="utf-8"))
    # the library refuses to load a model whose tokenizer lacks one of them
    write_json(out / "config.json", own | {name: own[name] or own["eos_token"] for name in TOKENS})
    shutil.copy(model / "config.json", out / CONVERTED)
    if (model / "generation_config.json").is_file():
        shutil.copy(model / "generation_config.json", out / "generation_config.json")


def said(folder: Path, ids: list[int]) -> Tensor:
    """(1, T, V) logits of some ids, in float32."""
    generator: Any = library().Generator(str(folder), device="cpu")
    return torch.from_numpy(np.array(generator.forward_batch([ids]))).float()
