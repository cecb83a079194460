"""The `lora:` section of a recipe and the layers it adapts in each model class. Torch-free."""

from pydantic import Field

from ..config import Section
from ..errors import ConfigError

TARGETS: dict[str, tuple[str, ...]] = {
    "bloom": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "gpt_bigcode": ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"),
    "starcoder2": ("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"),
}
"""Model type → the linear layers adapted where `target_modules` is not given."""


class Lora(Section):
    """Low-rank adapters on frozen weights. Keys are peft's own."""

    r: int = Field(default=16, gt=0)
    """Rank."""
    lora_alpha: int = Field(default=32, gt=0)
    """The update is scaled by lora_alpha / r."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the adapters; needs `disable_dropout: false`."""
    target_modules: list[str] | None = None
    """Names of the adapted layers; by default all linear ones of bloom, gpt_bigcode and starcoder2."""

    def targets(self, model_type: str) -> list[str]:
        """The layers to adapt.

        Raises:
            ConfigError: the class has no default.
        """
        if self.target_modules:
            return self.target_modules
        if model_type not in TARGETS:
            known = ", ".join(TARGETS)
            raise ConfigError(f"lora: no default layers for {model_type!r} (only {known}): give target_modules")
        return list(TARGETS[model_type])
