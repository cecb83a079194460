"""Supervised fine-tuning: the likelihood of completions, of a chat's turns, or of many tasks' targets."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..config import Section, bad_key
from ..errors import StageError
from ..io import read, rows
from ..models.lora import Lora
from ..recipe.stage import UNKEYED, Context, Counts, File, Model
from ..schema import Dialogue, MultitaskRow, SftRow
from ..train.arguments import EVALUATION, check_arguments
from ..train.options import Backend, Normaliser, Options

if TYPE_CHECKING:
    from ..train.data import Row

VERSION = 3
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
    """Rows with `prompt` and `completion`, final text; or chats, `messages`, whose assistant turns are targets; or
    tasks, `inputs` and `targets`. The first row's columns tell."""
    eval_data: File | None = None
    """Held-out rows of the same kind, measured while training as `args.eval_strategy` and `args.eval_steps` say."""
    columns: dict[str, str] | None = None
    """Our field → the files' column."""
    lora: Lora | None = None
    """Low-rank adapters; without it every weight is trained."""
    global_batch_size: int = Field(default=32, gt=0)
    """Rows of `data` an optimizer step, over all ranks and micro-batches: of dpo pairs, of rrtf and rrhf prompts."""
    max_tokens_per_batch: Annotated[int, UNKEYED] = Field(default=16384, gt=0)
    """Tokens of a micro-batch as they are laid out. Only cuts micro-batches: results do not depend on it."""
    max_length: int | None = Field(default=None, gt=1)
    """Tokens of prompt + response; longer rows are dropped and counted. By default what the model's positions allow."""
    disable_dropout: bool = True
    """Build the model with every dropout at 0."""
    backend: Annotated[Backend, UNKEYED] = "auto"
    """`grouped`: rows packed, every prompt once; `plain`: a padded row for each response; `flex`: grouped, by
    FlexAttention on a GPU; `auto`: grouped for the models it serves, else plain. Results differ by rounding only."""
    engine: Literal["align", "trl"] = "align"
    """Whose trainer runs the stage. `trl`: its SFTTrainer or DPOTrainer, from the same rows and settings."""
    normaliser: Normaliser = "tokens"
    """`tokens`: the mean over all target tokens of a step; `targets`: over its rows of each one's mean (BLOOMZ)."""
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

    @model_validator(mode="after")
    def _trl_has_it(self) -> "Config":
        if self.engine == "trl":
            for key in ("eval_data", "normaliser", "backend"):
                if key in self.model_fields_set:
                    raise bad_key(key, "is not handed to trl: remove it, or write engine: align")
        return self

    @model_validator(mode="after")
    def _evaluation_has_rows(self) -> "Config":
        if self.eval_data is None:
            for key in EVALUATION:
                if key in self.args:
                    raise bad_key(
                        f"args.{key}", "has no rows to evaluate on: give eval_data in the stage, or add a score stage"
                    )
        return self

    def options(self, seed: int) -> dict[str, Any]:
        """What `align.train.options.Options` is made of, beside the loss."""
        names = {field.name for field in fields(Options)} & type(self).model_fields.keys()
        return {name: getattr(self, name) for name in names} | {"seed": seed}


def run(config: Config, context: Context) -> Counts:
    """Read rows, train, leave the model."""
    return train_on(config, context, supervised_kind(config.data, config.columns))


def supervised_kind(path: str, columns: Mapping[str, str] | None) -> type[SftRow | Dialogue | MultitaskRow]:
    """Which rows a file holds, by the columns of its first one."""
    names = next((row.keys() for _, row in rows(path)), set()) | (columns or {}).keys()
    if "messages" in names:
        return Dialogue
    return MultitaskRow if names >= {"inputs", "targets"} else SftRow


def train_on(config: Config, context: Context, kind: "type[Row]") -> Counts:
    """Read the rows of a kind and train by the engine that the stage names."""
    data = read(config.data, kind, config.columns)
    if not data:
        raise StageError(f"stages.{context.name}: {config.data} holds no row to train on")
    entry, options = context.weights(config.model), Options(**config.options(context.seed))
    if config.engine == "trl":
        from ..train.trl_engine import train_with_trl

        return train_with_trl(data, entry, options, out=context.out, label=context.name)
    from ..train.run import train

    held_out = [] if config.eval_data is None else read(config.eval_data, kind, config.columns)
    return train(data, entry, options, out=context.out, eval_rows=held_out, label=context.name)
