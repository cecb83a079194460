"""The `lora:` section of a recipe and the layers it adapts in each model class. Torch-free."""

from typing import Literal

from pydantic import Field, model_validator

from ..config import Section, bad_key
from ..errors import ConfigError

_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TARGETS: dict[str, tuple[str, ...]] = {
    "bloom": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "codegen": ("qkv_proj", "out_proj", "fc_in", "fc_out"),
    "gpt_bigcode": ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"),
    "gpt_neox": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "starcoder2": ("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"),
}
"""Model type → the linear layers adapted where `target_modules` is not given: all but the head."""
ALL_LINEAR: Literal["all-linear"] = "all-linear"
OF_ADAPTER = ("r", "lora_alpha", "target_modules")
"""What an adapter has that goes on."""


class Lora(Section):
    """Low-rank adapters on frozen weights. Keys are peft's own, but for `continue`."""

    r: int = Field(default=16, gt=0)
    """Rank."""
    lora_alpha: int = Field(default=32, gt=0)
    """The update is scaled by lora_alpha / r."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the adapters; needs `disable_dropout: false`."""
    target_modules: list[str] | Literal["all-linear"] | None = None
    """Names of the adapted layers, or `all-linear`: every linear one but the head; by default those of the class."""
    continues: bool = Field(default=False, alias="continue")
    """Train the adapter that the model's folder holds further, with its rank and layers, in place of a new one on the
    model with that adapter merged."""

    @model_validator(mode="after")
    def _one_adapter(self) -> "Lora":
        for name in OF_ADAPTER if self.continues else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise bad_key(name, "is the adapter's own where it continues: leave it out")
        return self

    def targets(self, model_type: str) -> list[str] | str:
        """The layers to adapt.

        Raises:
            ConfigError: the class has no default.
        """
        if self.target_modules:
            return self.target_modules
        if model_type not in TARGETS:
            known = ", ".join(TARGETS)
            raise ConfigError(
                f"lora: no default layers for {model_type!r} (only {known}): give target_modules: a list of names, "
                "or all-linear"
            )
        return list(TARGETS[model_type])
