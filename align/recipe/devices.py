"""What the training and sampling stages of a recipe need of a device. Runs nothing, and knows no card.

Sizes of rows are not known before there are rows: a micro-batch is taken to be full, of rows of `max_length` (or
`LENGTH`) tokens, two thirds of them prompt. Adapters of earlier stages that stay beside frozen weights are not counted.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..config import expand, unset_variables
from ..errors import ConfigError
from ..models.entry import Weights
from ..models.launcher import Launcher, check_trainable
from ..models.lora import Lora
from ..models.shapes import Shape, shape_of
from .activations import FLOAT, HALF, Rows, Training
from .loops import AT
from .marked import is_reference, marked
from .memory import STRATEGIES, Memory, Strategy, flops, memory, state_bytes
from .recipe import Recipe, Stage
from .stage import MODEL, MODELS

LENGTH, PROMPT = 1024, 512
"""Tokens of a training row without `max_length`, and of a prompt that is answered."""
GROUP, DEVICES = 4, 8
"""Responses of a prompt where no stage samples them, and devices where the recipe names none."""
LAUNCHERS = {"fsdp2": Launcher(fsdp=2), "zero2": Launcher(zero_stage=2), "zero3": Launcher(zero_stage=3)}


@dataclass(frozen=True)
class Need:
    """What a training stage needs."""

    stage: str
    training: Training
    devices: int
    by: dict[Strategy, Memory | str]
    """The peak of a device, or why the strategy cannot serve."""
    flops: float
    """A token's operations."""
    least: int
    """Tokens of one group, which a micro-batch has to hold."""


class Sampling(NamedTuple):
    """What a stage that generates needs for one model, in bytes."""

    stage: str
    model: str
    weights: float
    cache: float
    """Keys and values of a full batch at its longest."""
    logits: float


def needs(recipe: Recipe, *, gpu: bool) -> tuple[list[Need], list[str]]:
    """What each training stage needs, and a line for each that is not counted.

    Args:
        recipe: of a loop, only the first iteration is told.
        gpu: plan for a GPU, else for a CPU.
    """
    found, left = [], []
    for stage in recipe.stages:
        if not stage.trains or stage.iteration > 1:
            continue
        try:
            training, entry = _training(recipe, stage, gpu=gpu)
        except _Unknown as error:
            left.append(f"{stage.name}: memory not counted: {error}")
            continue
        launch = getattr(stage.config, "launch", None)
        devices = (launch.num_processes if launch else None) or 1
        by = {strategy: _or_reason(training, entry, strategy, devices) for strategy in STRATEGIES}
        loss, whole = getattr(stage.config, "loss", None), training.whole
        off = loss is not None and loss.needs_reference and not whole and stage.config.reference != "file"  # type: ignore[attr-defined]
        least = _one(recipe, stage).tokens
        found.append(Need(stage.name, training, over(devices), by, flops(training, reference=off), least))
    return found, left


def sampling(recipe: Recipe) -> list[Sampling]:
    """What the stages need that generate by weights run here."""
    found = []
    for stage in recipe.stages:
        batch = getattr(stage.config, "batch_size", None)
        if stage.trains or stage.iteration > 1 or not isinstance(batch, int):
            continue
        for marker, value, place in marked(stage.config):
            if marker not in (MODEL, MODELS):
                continue
            entry = _entry(recipe, value)
            shape = shape_below(recipe, value)
            if shape is None:
                continue
            entry = entry or Weights(model_name_or_path=value)
            unit = _bytes(entry)
            frozen = memory(Training(shape, Rows(0, 0), 1, [], unit, _bits(entry), entry.bnb_4bit_use_double_quant))
            tokens = PROMPT + _longest(stage, place)
            cache = batch * tokens * shape.layers * 2 * shape.kv_width * unit
            found.append(Sampling(stage.name, value, frozen.weights, cache, 3.0 * batch * shape.vocab * FLOAT))
    return list(dict.fromkeys(found))


def over(devices: int) -> int:
    """The devices that a strategy divides over, where the recipe names one only."""
    return devices if devices > 1 else DEVICES


class _Unknown(Exception):
    """Why a stage is not counted."""


def _or_reason(training: Training, entry: Weights, strategy: Strategy, devices: int) -> Memory | str:
    try:
        check_trainable(entry, adapters=not training.whole, over=LAUNCHERS.get(strategy, Launcher()))
    except ConfigError as error:
        return str(error)
    return memory(training, strategy, over(devices))


def _training(recipe: Recipe, stage: Stage, *, gpu: bool) -> tuple[Training, Weights]:
    config: Any = stage.config
    if config.engine == "trl":
        raise _Unknown("trl's trainers lay rows out in their own way")
    entry = _entry(recipe, config.model)
    shape = shape_below(recipe, config.model)
    if shape is None:
        raise _Unknown(f"the sizes of {config.model} are not known here: no config.json, and not in the table")
    entry = entry or Weights(model_name_or_path=config.model)
    rank, targets = _adapters(recipe, stage, shape) if config.lora else (0, [])
    training = Training(
        shape,
        rows_of(recipe, stage),
        rank,
        targets,
        _bytes(entry),
        _bits(entry) if rank else 0,
        entry.bnb_4bit_use_double_quant,
        half=bool(config.args.get("bf16") or config.args.get("fp16")),
        checkpointing=bool(config.args.get("activation_checkpointing")),
        state=state_bytes(str(config.args.get("optim", "adamw_torch"))),
        device="cuda" if gpu else "cpu",
    )
    return training, entry


def rows_of(recipe: Recipe, stage: Stage) -> Rows:
    """A full micro-batch of a stage."""
    one = _one(recipe, stage)
    return one.scaled(stage.config.max_tokens_per_batch / one.tokens)  # type: ignore[attr-defined]


def _one(recipe: Recipe, stage: Stage) -> Rows:
    """A group of a stage."""
    config: Any = stage.config
    loss = getattr(config, "loss", None)
    length = min(config.max_length or LENGTH, config.max_tokens_per_batch)
    response = max(2, length // 3)
    k = {"groups": _responses(recipe), "pairs": 2, "unpaired": 1}[loss.reads] if loss else 1
    if config.backend == "plain":
        return Rows.padded(k, length - response, response)
    return Rows.packed(1, length - response, response, k)


def _responses(recipe: Recipe) -> int:
    """Answers to a prompt that the recipe's sample stages ask for."""
    counts = [
        sum(source.n for source in stage.config.sources)  # type: ignore[attr-defined]
        for stage in recipe.stages
        if stage.kind == "sample"
    ]
    return max(2, counts[0]) if counts else GROUP


def _entry(recipe: Recipe, model: str) -> Weights | None:
    """The weights below a `Model` value, through the stages that trained it."""
    for _ in recipe.stages:
        if not is_reference(model):
            break
        below = getattr(_stage(recipe, model).config, "model", None)
        if below is None:
            return None
        model = below
    entry = recipe.models.get(model)
    return entry if isinstance(entry, Weights) else None


def shape_below(recipe: Recipe, model: str) -> Shape | None:
    """The shape of a `Model` value, as far as the recipe tells it; None for a stage that there is not."""
    if is_reference(model) and not any(_is_named(stage, model) for stage in recipe.stages):
        return None
    entry = _entry(recipe, model)
    return _shape_of_stage(recipe, model) or (_shape(recipe, entry) if entry else None)


def _is_named(stage: Stage, reference: str) -> bool:
    return _plain(stage.name) == _plain(reference[1:].partition("/")[0])


def _shape_of_stage(recipe: Recipe, model: str) -> Shape | None:
    """The shape of a model that an init stage makes; its vocabulary is the most that the tokenizer may get."""
    for _ in recipe.stages:
        if not is_reference(model):
            return None
        config: Any = _stage(recipe, model).config
        if hasattr(config, "architecture"):
            kv = {"bloom": 0, "gpt_bigcode": 1, "starcoder2": 1 if config.num_heads % 2 else 2}[config.architecture]
            positions = 0 if config.architecture == "bloom" else config.max_position
            size, layers, heads = config.hidden_size, config.num_layers, config.num_heads
            return Shape(config.architecture, size, layers, heads, config.vocab_size, kv, positions=positions)
        if not hasattr(config, "model"):
            return None
        model = config.model
    return None


def _shape(recipe: Recipe, entry: Weights) -> Shape | None:
    if unset_variables(entry.model_name_or_path):
        return None
    name = expand(entry.model_name_or_path)
    return shape_of(str(recipe.path(name)) if recipe.path_is_local(name) else name)


def _stage(recipe: Recipe, reference: str) -> Stage:
    name = reference[1:].partition("/")[0]
    found = [stage for stage in recipe.stages if stage.name == name]
    # of a loop's stages that one which a later stage means is known only when the loop has ended
    return (found or [stage for stage in recipe.stages if _plain(stage.name) == _plain(name)])[0]


def _plain(name: str) -> str:
    return name.partition(AT)[0]


def _adapters(recipe: Recipe, stage: Stage, shape: Shape) -> tuple[int, list[str] | str]:
    """(rank, layers) of the adapters that a stage trains."""
    config: Any = stage.config
    lora: Lora = config.lora
    for _ in recipe.stages:
        if not lora.continues:
            return lora.r, lora.targets(shape.family)
        if not is_reference(config.model):
            break
        config = _stage(recipe, config.model).config
        if getattr(config, "lora", None) is None:
            break
        lora = config.lora
    entry = _entry(recipe, config.model)
    folder = recipe.path(expand(entry.model_name_or_path)) if entry else Path()
    try:
        told = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return int(told["r"]), [str(name) for name in told["target_modules"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise _Unknown("the adapter that it continues is not known here") from None


def _longest(stage: Stage, place: tuple[Any, ...]) -> int:
    """The most new tokens that are asked of a model named at a place of a configuration."""
    return next((found for found in _limits(stage.config, place) if isinstance(found, int)), 512)


def _limits(config: Any, place: tuple[Any, ...]) -> Iterator[Any]:
    below = next(iter(getattr(config, "sources", [])[place[1] :]), None) if place[:1] == ("from",) else None
    yield getattr(below, "max_new_tokens", None)
    yield getattr(config, "max_new_tokens", None)


def _bytes(entry: Weights) -> int:
    return FLOAT if entry.dtype == "float32" else HALF


def _bits(entry: Weights) -> Any:
    return 4 if entry.load_in_4bit else 8 if entry.load_in_8bit else 0
