"""Preference alignment: RRTF and RRHF on ranked groups, DPO on pairs."""

from collections.abc import Sequence
from typing import Any

from pydantic import field_validator, model_validator

from ..config import bad_key
from ..errors import StageError
from ..io import read
from ..recipe.stage import Context, Counts, File
from ..schema import PreferencePair, RankedGroup
from ..train.settings import Dpo, Loss, check_name
from . import sft

VERSION = 2
TRAINS = True
OUTPUTS = ("model", "metrics.jsonl", "reference.jsonl", "checkpoints")


class Config(sft.Config):
    """Train on ranked responses."""

    data: File
    """Ranked groups for rrtf and rrhf, pairs for dpo; all final text."""
    loss: Loss
    """What is trained for; also the reference, for dpo, is `model`."""

    @field_validator("loss", mode="before")
    @classmethod
    def _known_loss(cls, loss: Any) -> Any:
        return check_name(loss)

    @model_validator(mode="after")
    def _data_fits_the_loss(self) -> "Config":
        needed, other = ("pairs", "groups") if isinstance(self.loss, Dpo) else ("groups", "pairs")
        if self.data.startswith("$") and self.data.endswith(f"/{other}.jsonl"):
            meant = self.data.replace(f"/{other}.", f"/{needed}.")
            raise bad_key("data", f"loss {self.loss.name} reads {needed}: did you mean {meant!r}?")
        return self

    @model_validator(mode="after")
    def _reference_has_no_dropout(self) -> "Config":
        if isinstance(self.loss, Dpo) and not self.disable_dropout:
            raise bad_key("disable_dropout", "must be true for dpo: its reference has no dropout")
        return self


def run(config: Config, context: Context) -> Counts:
    """Read groups or pairs, train, leave the model."""
    from ..train.run import train

    kind: type[PreferencePair] | type[RankedGroup] = PreferencePair if isinstance(config.loss, Dpo) else RankedGroup
    rows: Sequence[PreferencePair | RankedGroup] = read(config.data, kind, config.columns)
    if not rows:
        raise StageError(f"stages.{context.name}: {config.data} holds no row to train on")
    entry = context.weights(config.model)
    return train(
        rows, entry, out=context.out, seed=context.seed, loss=config.loss, label=context.name, **config.options()
    )
