"""Supervised fine-tuning: the likelihood of completions, of a chat's turns, or of many tasks' targets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..config import Section, bad_key, expand, unset_variables
from ..errors import ConfigError, StageError, suggest
from ..generate.request import Sampling
from ..io import read, rows
from ..models.entry import Weights
from ..models.lora import Lora
from ..recipe.stage import UNKEYED, Context, Counts, File, Model, Without
from ..schema import Dialogue, MultitaskRow, PreferencePair, SftRow
from ..score.generation_metrics import Metric
from ..score.while_training import GeneratedAnswers
from ..train.arguments import EVALUATION, Fault, check_arguments, moved
from ..train.options import Backend, Normaliser, Options
from ..train.settings import figure_names
from ..train.start import no_adapter, start_faults

if TYPE_CHECKING:
    from ..text.token_store import TokenStore
    from ..train.data import Row

VERSION = 4
TRAINS = True
OUTPUTS = ("model", "metrics.jsonl", "checkpoints")


class Launch(Section):
    """How `accelerate launch` starts the stage; options are its own."""

    config_file: File | None = None
    """A configuration of accelerate."""
    num_processes: int | None = Field(default=None, gt=0)
    """Processes, over all machines."""


class Generated(Section):
    """What a model in training is asked at each evaluation, greedily."""

    rows: int = Field(default=64, gt=0)
    """Rows of each task of `eval_data`, chosen by the seed."""
    max_new_tokens: int = Field(default=64, gt=0)
    """Longest answer."""
    min_new_tokens: int = Field(default=0, ge=0)
    """Before so many tokens nothing ends an answer."""
    metrics: list[Metric] = Field(default=["exact_match", "chrf", "length", "script"], min_length=1)
    """Of the answers; a row without a language counts as English."""

    @property
    def figures(self) -> list[str]:
        """Names of what is measured, over all tasks."""
        more = {"length": ["length_ratio"], "script": ["wrong_script"]}
        return [name for metric in self.metrics for name in (metric, *more.get(metric, ())) if name != "script"]

    @model_validator(mode="after")
    def _lengths_fit(self) -> "Generated":
        if self.min_new_tokens > self.max_new_tokens:
            raise bad_key("min_new_tokens", f"is over max_new_tokens {self.max_new_tokens}: no answer could end")
        return self

    def measure(self, rows: "Sequence[Row]", seed: int, name: str) -> GeneratedAnswers:
        """What `train` measures on held-out rows.

        Raises:
            ConfigError: they are no tasks.
        """
        tasks = [row for row in rows if isinstance(row, MultitaskRow)]
        if len(tasks) < len(rows):
            raise ConfigError(f"{name}: eval_generate asks tasks: eval_data needs rows with inputs and targets")
        sampling = Sampling(temperature=0, max_new_tokens=self.max_new_tokens, min_new_tokens=self.min_new_tokens)
        return GeneratedAnswers(tasks, self.metrics, self.rows, sampling, seed)


class Config(Section):
    """Train on the completions of rows, never on their prompts."""

    model: Model
    """The model to start from."""
    data: File
    """Rows with `prompt` and `completion`, final text; or chats, `messages`, whose assistant turns are targets; or
    tasks, `inputs` and `targets`. The first row's columns tell."""
    eval_data: File | None = None
    """Held-out rows of the same kind, measured while training as `args.eval_strategy` and `args.eval_steps` say; where
    they have tasks and languages, each one's loss, too. With `args.load_best_model_at_end` the model is that of the
    saved step with the best `args.metric_for_best_model`, by default `eval_loss`."""
    eval_generate: Generated | None = None
    """Answers to rows of `eval_data`, measured at each evaluation; for rows with `inputs` and `targets`."""
    columns: dict[str, str] | None = None
    """Our field → the files' column."""
    lora: Lora | None = None
    """Low-rank adapters; without it every weight is trained."""
    global_batch_size: int = Field(default=32, gt=0)
    """Rows of `data` an optimizer step, over all ranks and micro-batches: of dpo pairs, of rrtf and rrhf prompts, of
    a mixture's packed rows these."""
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
    target_length_floor: int = Field(default=1, gt=0)
    """With `targets`: tokens that a target counts as at least. A shorter one weighs less, so answers do not shorten; 1
    is BLOOMZ's own weight, and a floor above all lengths that of `tokens`."""
    args: Annotated[dict[str, Any], Without(("report_to", "run_name"))] = {}
    """Arguments of transformers.TrainingArguments. By default learning_rate 1e-4, cosine, warmup_steps 0.03,
    four checkpoints, fifty lines of metrics."""
    launch: Annotated[Launch | None, UNKEYED] = None
    """Start the stage with `accelerate launch`."""

    @model_validator(mode="before")
    @classmethod
    def _keys_of_others(cls, data: Any) -> Any:
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in data if isinstance(data, dict) else ():
            if key not in known and (told := moved(str(key))):
                raise bad_key(str(key), told)
        return data

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
            for key in ("eval_data", "eval_generate", "normaliser", "target_length_floor", "backend"):
                if key in self.model_fields_set:
                    raise bad_key(key, "is not handed to trl: remove it, or write engine: align")
            processes = (self.launch and self.launch.num_processes) or 1
            if self.global_batch_size % processes:
                raise bad_key("global_batch_size", f"is no multiple of the {processes} processes, as trl needs")
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

    @model_validator(mode="after")
    def _answers_are_measured(self) -> "Config":
        if self.eval_generate is not None:
            if self.eval_data is None:
                raise bad_key("eval_generate", "has no rows to ask: give eval_data in the stage")
            if self.args.get("eval_strategy", "no") == "no":
                raise bad_key("eval_generate", "is measured at evaluations: write args.eval_strategy: steps")
            if "loss" in type(self).model_fields:
                raise bad_key("eval_generate", "asks tasks, which only sft trains on: remove it, or add a score stage")
        return self

    @model_validator(mode="after")
    def _metric_is_measured(self) -> "Config":
        metric = str(self.args.get("metric_for_best_model") or "loss").removeprefix("eval_")
        # held-out rows, which may not be there yet, name tasks and languages
        ends = ("loss", *self.eval_generate.figures) if self.eval_generate else ("loss",)
        known = figure_names(getattr(self, "loss", None))
        if (
            self.eval_data is not None
            and metric not in (*known, *ends)
            and not metric.endswith(tuple(f"_{name}" for name in ends))
        ):
            raise bad_key("args.metric_for_best_model", f"no evaluation has {metric!r}: {suggest(metric, known)}")
        return self

    @model_validator(mode="after")
    def _can_start(self, info: ValidationInfo) -> "Config":
        for fault in _start_faults(self, info.context) if info.context is not None else ():
            raise bad_key(fault.key, fault.message)
        return self

    @model_validator(mode="after")
    def _floor_has_targets(self) -> "Config":
        if self.target_length_floor > 1 and self.normaliser != "targets":
            raise bad_key("target_length_floor", "has no meaning for normaliser tokens: write normaliser: targets")
        return self

    def options(self, seed: int) -> dict[str, Any]:
        """What `align.train.options.Options` is made of, beside the loss."""
        names = {field.name for field in fields(Options)} & type(self).model_fields.keys()
        return {name: getattr(self, name) for name in names} | {"seed": seed}


def _start_faults(config: Config, recipe: Any) -> Iterator[Fault]:
    """What a recipe that is being read says of the model."""
    entry = recipe.models.get(config.model)
    if isinstance(entry, Weights):
        if not unset_variables(entry.model_name_or_path):
            name = expand(entry.model_name_or_path)
            found = str(recipe.path(name)) if recipe.path_is_local(name) else name
            entry = entry.model_copy(update={"model_name_or_path": found})
            yield from start_faults(entry, config.lora, config.max_length)
    elif entry is not None:
        yield Fault("model", f"{config.model!r} has no weights here: name an entry with model_name_or_path")
    elif config.lora is not None and config.lora.continues:
        name = config.model[1:].partition("/")[0]
        below = next((stage.config for stage in recipe.stages if stage.name == name), None)
        if below is not None and getattr(below, "lora", None) is None:
            yield no_adapter(config.model)


def run(config: Config, context: Context) -> Counts:
    """Read rows, train, leave the model."""
    return train_on(config, context, supervised_kind(config.data, config.columns))


def supervised_kind(path: str, columns: Mapping[str, str] | None) -> type[SftRow | Dialogue | MultitaskRow]:
    """Which rows a file holds, by the columns of its first one."""
    names = next((row.keys() for _, row in rows(path)), set()) | (columns or {}).keys()
    if "messages" in names:
        return Dialogue
    return MultitaskRow if names >= {"inputs", "targets"} else SftRow


def record_kind(config: Config, path: str) -> "type[Row] | None":
    """What the rows of a file are read as; None where the model's tokenizer is needed to read them."""
    return supervised_kind(path, config.columns)


def train_on(config: Config, context: Context, kind: "type[Row]") -> Counts:
    """Read the rows of a kind and train by the engine that the stage names."""
    entry, options = context.weights(config.model), Options(**config.options(context.seed))
    stored = kind is MultitaskRow and config.engine == "align"
    data: Sequence[Row] = [] if stored else _read(config.data, config, entry, kind)
    trained = _store(config, context, entry) if stored else data
    if not len(trained):
        raise StageError(f"stages.{context.name}: {config.data} holds no row to train on")
    if config.engine == "trl":
        _check_unpacked(data, context.name)
        from ..train.trl_engine import train_with_trl

        counts = train_with_trl(data, entry, options, out=context.out, label=context.name)
        return _described(config, context, entry, counts)
    from ..train.run import train

    held_out = [] if config.eval_data is None else _read(config.eval_data, config, entry, kind)
    if config.eval_data is not None and not held_out:
        raise StageError(f"stages.{context.name}: {config.eval_data} holds no row to evaluate on: remove eval_data")
    asked = config.eval_generate
    measure = asked.measure(held_out, context.seed, f"stages.{context.name}") if asked else None
    counts = train(trained, entry, options, out=context.out, eval_rows=held_out, measure=measure, label=context.name)
    return _described(config, context, entry, counts)


def _read(path: str, config: Config, entry: Weights, kind: "type[Row]") -> "Sequence[Row]":
    """The rows of a file; pairs in messages become final text by the model's chat template."""
    if kind is PreferencePair:
        from ..models.load import load_tokenizer
        from ..text.encode import Encoder
        from ..train.chat_pairs import holds_chats, read_chat_pairs

        if holds_chats(path, config.columns):
            return list(read_chat_pairs(path, Encoder(load_tokenizer(entry)), config.columns))
    return read(path, kind, config.columns)


def _described(config: Config, context: Context, entry: Weights, counts: Counts) -> Counts:
    """Leave the models' cards, on the one rank that has counts; returns these."""
    if counts:
        from ..train.card import Made, file_name, write_cards

        made = Made(context.name, context.label(config.model), file_name(config.data, context.labels))
        write_cards(context.out, entry, config.data, made)
    return counts


def _store(config: Config, context: Context, entry: Weights) -> "TokenStore":
    """The ids of tasks, made once in a run for each file and tokenizer."""
    from ..models.load import load_tokenizer
    from ..text.encode import Encoder
    from ..text.token_store import TokenStore, store_folder

    folder = store_folder(context.out / OUTPUTS[0])
    return TokenStore.of(config.data, Encoder(load_tokenizer(entry)), folder, columns=config.columns)


def _check_unpacked(data: "Sequence[Row]", name: str) -> None:
    """Refuse packed rows, of which trl would count each one's rows as rows of the batch."""
    if any(isinstance(row, MultitaskRow) and row.pack is not None for row in data):
        raise ConfigError(f"stages.{name}: trl has no packed rows as `pack` in data makes them: write engine: align")
