"""Adapters below the one that is trained: kept beside frozen layers without loss, or summed into their weights.

Summing an adapter into weights of 4, 8 or 16 bits rounds most of it away, so there a layer goes on with its low-rank
update as a second, frozen path; in float32 the sum is the exact merge. Other layers than linear ones, and other
variants than plain LoRA, are merged by peft itself.
"""

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import BackendError
from .quantise import Quantised, Steady4bit, Steady8bit, forget_quantisation, whole_weight


class LowRank(nn.Module):
    """A frozen low-rank update.

    Args:
        down: (r, in) applied first.
        up: (out, r).
        scaling: of the product.
    """

    def __init__(self, down: Tensor, up: Tensor, scaling: float) -> None:
        super().__init__()
        self.down = nn.Parameter(down.detach().clone(), requires_grad=False)
        self.up = nn.Parameter(up.detach().clone(), requires_grad=False)
        self.scaling = scaling

    def forward(self, x: Tensor) -> Tensor:
        """(…, out) of (…, in), as peft computes it."""
        down = nn.functional.linear(x.to(self.down.dtype), self.down)
        return nn.functional.linear(down, self.up) * self.scaling

    def weight(self) -> Tensor:
        """(out, in) in float32."""
        return (self.up.float() @ self.down.float()) * self.scaling


class _Folded:
    """A linear layer with `below`, the low-rank updates under it, added as peft adds them: bit by bit the same."""

    below: nn.ModuleList

    def forward(self, x: Tensor) -> Tensor:
        """The layer's own output and the updates', in the order in which they were trained."""
        found: Tensor = super().forward(x)  # type: ignore[misc]
        for update in self.below:
            found = found + update(x).to(found.dtype)
        return found


class FoldedLinear(_Folded, nn.Linear):
    """Of whole weights in half precision."""

    def forward(self, x: Tensor) -> Tensor:
        """The same; the sum is rounded once an update."""
        found = nn.Linear.forward(self, x)
        for update in self.below:
            found = (found + update(x)).to(found.dtype)
        return found


class Folded4bit(_Folded, Steady4bit):
    """Of 4-bit weights."""


class Folded8bit(_Folded, Steady8bit):
    """Of 8-bit weights."""


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FoldedLinear,
    Steady4bit: Folded4bit,
    Steady8bit: Folded8bit,
    FoldedLinear: FoldedLinear,
    Folded4bit: Folded4bit,
    Folded8bit: Folded8bit,
}


def settle(adapted: PeftModel, *, keep: bool = False) -> PreTrainedModel:
    """The model below the adapters, saying what it says with them.

    Args:
        adapted: with one adapter; used up.
        keep: keep every update beside its layer, also where the weights are float32.

    Raises:
        BackendError: an adapter on quantised weights is of a variant that only a merge serves.
    """
    tree = adapted.get_base_model()
    for name, layer in list(tree.named_modules()):
        if not isinstance(layer, LoraLayer):
            continue
        linear: Any = layer.get_base_layer()
        if type(linear) in _KINDS and _is_plain(layer):
            _fold(layer, linear)
            tree.set_submodule(name, linear)
            if linear.weight.dtype == torch.float32 and not isinstance(linear, Quantised) and not keep:
                tree.set_submodule(name, _melted(linear, torch.float32))
        elif isinstance(linear, Quantised):
            raise BackendError(f"{name}: only plain LoRA without bias can stand on quantised weights: train it anew")
    return adapted.merge_and_unload()  # type: ignore[no-any-return]


def melt(model: PreTrainedModel, dtype: torch.dtype | None) -> PreTrainedModel:
    """The same model with whole weights: low-rank updates summed in float32, quantised layers made whole, in place.

    Args:
        model: as `settle` leaves it; used up.
        dtype: of the weights; None: what each layer had, and for quantised ones what they were quantised from.
    """
    for name, linear in list(model.named_modules()):
        if isinstance(linear, _Folded | Steady4bit | Steady8bit):
            model.set_submodule(name, _melted(linear, dtype or _own_dtype(model, linear)))
    forget_quantisation(model)
    # only parameters: a class may hold tables in a type of their own
    for parameter in model.parameters():
        if dtype is not None and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype or model.config.dtype
    return model


def _is_plain(layer: LoraLayer) -> bool:
    return not layer.lora_variant and not any(layer.lora_bias.values()) and bool(layer.lora_A)


def _fold(layer: LoraLayer, linear: Any) -> None:
    updates = list(getattr(linear, "below", ()))
    down: Any = layer.lora_A
    up: Any = layer.lora_B
    updates += [
        LowRank(down[name].weight, up[name].weight, layer.scaling[name])
        for name in layer.active_adapters
        if name in down
    ]
    linear.below = nn.ModuleList(updates)
    linear.__class__ = _KINDS[type(linear)]


@torch.no_grad()
def _melted(linear: Any, dtype: torch.dtype) -> nn.Linear:
    weight = whole_weight(linear)
    for update in getattr(linear, "below", ()):
        weight = weight + update.weight().to(weight.device)
    out, width = weight.shape
    found = nn.Linear(width, out, bias=linear.bias is not None, device="meta")
    found.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if linear.bias is not None:
        found.bias = nn.Parameter(linear.bias.detach().to(dtype), requires_grad=False)
    return found.train(linear.training)


def _own_dtype(model: PreTrainedModel, linear: Any) -> torch.dtype:
    """The type of a layer's weights, or of the model's where they are quantised."""
    found: Any = model.get_input_embeddings() if isinstance(linear, Quantised) else linear
    return found.weight.dtype  # type: ignore[no-any-return]
