"""Preference alignment: on ranked groups, on pairs, or on rows with a label."""

from typing import Any

from pydantic import field_validator, model_validator

from ..config import bad_key
from ..recipe.stage import Context, Counts, File
from ..schema import PreferencePair, RankedGroup, UnpairedRow
from ..train.chat_pairs import holds_chats
from ..train.options import Reference
from ..train.settings import Dpo, Loss, check_name
from . import sft

VERSION = 4
TRAINS = True
OUTPUTS = ("model", "metrics.jsonl", "reference.jsonl", "checkpoints")
KINDS: dict[str, "type[RankedGroup | PreferencePair | UnpairedRow]"] = {
    "groups": RankedGroup,
    "pairs": PreferencePair,
    "unpaired": UnpairedRow,
}
"""What losses read → the records."""
FILES = {"groups.jsonl": "groups", "pairs.jsonl": "pairs"}
"""File that a rank stage leaves → what a loss reads in it."""
NAMES = {"groups": "groups", "pairs": "pairs", "unpaired": "rows with prompt, completion and label"}
"""What losses read, in words."""


class Config(sft.Config):
    """Train on ranked responses."""

    data: File
    """Ranked groups for rrtf, rrhf, listmle and lipo; pairs for dpo, simpo and orpo, final text or trl's messages,
    which the model's chat template makes text; rows with `label` for kto."""
    loss: Loss
    """What is trained for. The reference of a loss that has one is `model`."""
    reference: Reference = "auto"
    """Where its log-probabilities come from. `adapter_off`: from each step's own weights without the adapters; `file`:
    from `reference.jsonl`, computed once, which saves a forward a step; `auto`: adapter_off with `lora`, else file."""

    @field_validator("loss", mode="before")
    @classmethod
    def _known_loss(cls, loss: Any) -> Any:
        return check_name(loss)

    @model_validator(mode="after")
    def _data_fits_the_loss(self) -> "Config":
        needed, (stage, _, file) = self.loss.reads, self.data.rpartition("/")
        if self.data.startswith("$") and FILES.get(file, needed) != needed:
            meant = next((f"{stage}/{name}" for name, reads in FILES.items() if reads == needed), None)
            cure = f"{file} cannot serve it" if meant is None else f"did you mean {meant!r}?"
            raise bad_key("data", f"loss {self.loss.name} reads {NAMES[needed]}: {cure}")
        return self

    @model_validator(mode="after")
    def _reference_has_no_dropout(self) -> "Config":
        if self.loss.needs_reference and not self.disable_dropout:
            raise bad_key("disable_dropout", f"must be true for {self.loss.name}: its reference has no dropout")
        return self

    @model_validator(mode="after")
    def _reference_is_meant(self) -> "Config":
        if self.reference != "auto" and not self.loss.needs_reference:
            raise bad_key("reference", f"has no meaning for {self.loss.name}, which has none: remove it")
        if self.reference == "adapter_off" and self.lora is None:
            raise bad_key("reference", "adapter_off needs lora: without it every weight is trained: write file")
        if self.reference == "adapter_off" and self.lora is not None and self.lora.continues:
            raise bad_key("reference", "adapter_off is not where lora.continue began: write file, or leave it out")
        return self

    @model_validator(mode="after")
    def _trl_has_the_loss(self) -> "Config":
        if self.engine == "trl" and not isinstance(self.loss, Dpo):
            raise bad_key("engine", f"trl's stable trainers have no {self.loss.name}: write engine: align")
        if self.engine == "trl" and self.lora is not None and self.lora.continues:
            raise bad_key("lora.continue", "trl's reference is the model without its adapter: write engine: align")
        if self.engine == "trl" and "reference" in self.model_fields_set:
            raise bad_key("reference", "is not handed to trl: remove it, or write engine: align")
        return self

    @model_validator(mode="after")
    def _kl_has_another_row(self) -> "Config":
        if self.loss.reads == "unpaired" and self.global_batch_size == 1:
            raise bad_key("global_batch_size", f"1 leaves {self.loss.name} no other row to estimate its KL from")
        return self


def record_kind(config: Config, path: str) -> type[RankedGroup | PreferencePair | UnpairedRow] | None:
    """What the rows of a file are read as; None of pairs in messages, which the model's tokenizer makes text."""
    chats = config.loss.reads == "pairs" and holds_chats(path, config.columns)
    return None if chats else KINDS[config.loss.reads]


def run(config: Config, context: Context) -> Counts:
    """Read groups, pairs or labelled rows, train, leave the model."""
    return sft.train_on(config, context, KINDS[config.loss.reads])
