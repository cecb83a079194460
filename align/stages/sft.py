"""Supervised fine-tuning: the likelihood of completions."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from ..config import Section, bad_key
from ..errors import StageError
from ..io import read
from ..models.lora import Lora
from ..recipe.stage import UNKEYED, Context, Counts, File, Model
from ..schema import SftRow
from ..train.arguments import check_arguments

VERSION = 2
TRAINS = True
OUTPUTS = ("model", "metrics.jsonl", "checkpoints")


class Launch(Section):
    """How `accelerate launch` starts the stage; options are its own."""

    config_file: str | None = None
    """A configuration of accelerate."""
    num_processes: int | None = Field(default=None, gt=0)
    """Processes, over all machines."""


class Config(Section):
    """Train on the completions of rows, never on their prompts."""

    model: Model
    """The model to start from."""
    data: File
    """Rows with `prompt` and `completion`, both final text."""
    columns: dict[str, str] | None = None
    """Our field → the file's column."""
    lora: Lora | None = None
    """Low-rank adapters; without it every weight is trained."""
    global_batch_size: int = Field(default=32, gt=0)
    """Rows of `data` an optimizer step, over all ranks and micro-batches: of dpo pairs, of rrtf and rrhf prompts."""
    max_tokens_per_batch: Annotated[int, UNKEYED] = Field(default=16384, gt=0)
    """Padded tokens of a micro-batch. Only cuts micro-batches: results do not depend on it."""
    max_length: int | None = Field(default=None, gt=1)
    """Tokens of prompt + response; longer rows are dropped and counted. By default what the model's positions allow."""
    disable_dropout: bool = True
    """Build the model with every dropout at 0."""
    args: dict[str, Any] = {}
    """Arguments of transformers.TrainingArguments. By default learning_rate 1e-4, cosine, warmup_steps 0.03,
    four checkpoints, fifty lines of metrics."""
    launch: Annotated[Launch | None, UNKEYED] = None
    """Start the stage with `accelerate launch`."""

    @field_validator("args")
    @classmethod
    def _known_arguments(cls, args: dict[str, Any]) -> dict[str, Any]:
        for fault in check_arguments(args):
            raise bad_key(fault.key, fault.message)
        return args

    @model_validator(mode="after")
    def _dropout_is_meant(self) -> "Config":
        if self.lora and self.lora.lora_dropout and self.disable_dropout:
            raise bad_key("disable_dropout", "is true, which contradicts lora.lora_dropout: write false, or remove it")
        return self

    def options(self) -> dict[str, Any]:
        """What `align.train.run.train` is given, beside rows, model and loss."""
        names = ("lora", "global_batch_size", "max_tokens_per_batch", "max_length", "disable_dropout", "args")
        return {name: getattr(self, name) for name in names}


def run(config: Config, context: Context) -> Counts:
    """Read rows, train, leave the model."""
    from ..train.run import train

    rows = read(config.data, SftRow, config.columns)
    if not rows:
        raise StageError(f"stages.{context.name}: {config.data} holds no row to train on")
    entry = context.weights(config.model)
    return train(rows, entry, out=context.out, seed=context.seed, loss=None, label=context.name, **config.options())
