"""Load weights that GPTQ quantised: what one class of transformers needs for it. Makes none: `align.export` does."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from torch import nn
from transformers import PreTrainedConfig
from transformers.models.gpt_bigcode.modeling_gpt_bigcode import (
    GPTBigCodeAttention,
    GPTBigCodeMLP,
    GPTBigCodePreTrainedModel,
)


@contextlib.contextmanager
def loading(config: PreTrainedConfig) -> Iterator[None]:
    """Have GPTBigCode not draw its output projections at random before it loads them.

    It does so by writing into their weights, which layers of GPTQ have not. All are in the file: `load` refuses one in
    which a weight is missing.

    Args:
        config: of the weights that are loaded meanwhile.
    """
    if config.model_type != "gpt_bigcode" or quantised_by(config) != "gptq":
        yield
        return
    draw = GPTBigCodePreTrainedModel._init_weights

    def without_projections(model: GPTBigCodePreTrainedModel, module: nn.Module) -> None:
        if not isinstance(module, GPTBigCodeMLP | GPTBigCodeAttention):
            draw(model, module)  # type: ignore[no-untyped-call]

    with mock.patch.object(GPTBigCodePreTrainedModel, "_init_weights", without_projections):
        yield


def quantised_by(config: PreTrainedConfig) -> str | None:
    """What quantised the weights of a configuration, by transformers' name; None for whole ones."""
    found: Any = getattr(config, "quantization_config", None)
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    return None if method is None else str(getattr(method, "value", method))
