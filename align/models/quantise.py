"""Weights in 4 or 8 bits by bitsandbytes: what is asked of it, layers that say the same twice, and the way back.

Nothing here knows adapters or folders. The three classes below are given to a loaded model in place of the library's
own, like the fused attention of BLOOM: parameters and their names stay.
"""

from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft.utils.integrations import dequantize_bnb_weight
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from .entry import Weights

Quantised = (Linear4bit, Linear8bitLt)


class Steady4bit(Linear4bit):
    """A 4-bit layer that evaluation leaves as it was.

    On a processor with AVX512-BF16 the library's own repacks its weights at the first evaluation: the scales of blocks
    lose bits for good, training cannot go on, and a layer whose width is no multiple of 32 fails.
    """

    support_avx512bf16_for_cpu = False

    def forward(self, x: Tensor) -> Tensor:
        """Of the library's shape; a new tensor, since the library returns a view that must not be added to."""
        found: Tensor = super().forward(x)
        return found.clone() if found.requires_grad else found


class Steady8bit(Linear8bitLt):
    """An 8-bit layer that says in evaluation what it says in training.

    Away from CUDA the library's own rounds activations to 8 bits in evaluation only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Of the library's shape."""
        training = self.training
        self.training = training or x.device.type != "cuda"
        try:
            found: Tensor = super().forward(x)
        finally:
            self.training = training
        return found


def quantisation(entry: Weights) -> BitsAndBytesConfig | None:
    """What the library is asked for; None for whole weights."""
    if entry.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    if not entry.load_in_4bit:
        return None
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=entry.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=entry.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=getattr(torch, entry.compute_dtype),
        bnb_4bit_quant_storage=getattr(torch, entry.bnb_4bit_quant_storage),
    )


def steady(model: nn.Module) -> None:
    """Give a loaded model our quantised layers, in place."""
    for module in model.modules():
        if type(module) is Linear4bit:
            module.__class__ = Steady4bit
            module.support_avx512bf16_for_cpu = False
        elif type(module) is Linear8bitLt:
            module.__class__ = Steady8bit


def is_quantised(model: nn.Module) -> bool:
    """Whether any layer of a model is in 4 or 8 bits."""
    return any(isinstance(module, Quantised) for module in model.modules())


@torch.no_grad()
def whole_weight(linear: nn.Module) -> Tensor:
    """(out, in) the weight that a linear layer multiplies by, in float32.

    Args:
        linear: a linear layer, quantised or not.
    """
    weight: Any = linear.weight
    if isinstance(linear, Linear4bit):
        # on a sharded or moved layer the state stays with the module
        state = getattr(weight, "quant_state", None) or linear.quant_state
        return dequantize_4bit(weight.data, state).float()
    if isinstance(linear, Linear8bitLt):
        if linear.state.SCB is None:
            linear.state.SCB = weight.SCB
        return dequantize_bnb_weight(weight, linear.state).float()
    return weight.detach().float()  # type: ignore[no-any-return]


def forget_quantisation(model: PreTrainedModel) -> None:
    """Have a model whose quantised layers were replaced be saved as one with whole weights."""
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None:
        quantizer.remove_quantization_config(model)
    for flag in ("is_loaded_in_4bit", "is_loaded_in_8bit"):
        if hasattr(model, flag):
            delattr(model, flag)
