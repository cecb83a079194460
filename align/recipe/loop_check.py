"""Whether a recipe's `repeat:` section can be meant: its stages, what is carried, what ends it, who serves it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..config import Document
from ..errors import ConfigError, suggest
from .loops import SCORE, Loop, Repeat, Until
from .marked import is_file, is_reference, marked
from .serving import check_command
from .stage import ALL, FILE

if TYPE_CHECKING:
    from .recipe import Recipe, Stage

PLACE = ("repeat",)


def check_body(document: Document, repeat: Repeat, names: Sequence[str]) -> None:
    """Refuse stages that there are not, or that do not stand together.

    Raises:
        ConfigError: with `file:line`.
    """
    for index, name in enumerate(repeat.stages):
        if name not in names:
            raise ConfigError(f"{document.where((*PLACE, 'stages', index))}: no stage {name!r}: {suggest(name, names)}")
    start = names.index(repeat.stages[0])
    found = list(names[start : start + len(repeat.stages)])
    if found != repeat.stages:
        told = f"found {', '.join(found)} there from {found[0]!r} on: name the stages of a loop in the recipe's order"
        raise ConfigError(f"{document.where((*PLACE, 'stages'))}: {told}, and move others out from between them")


def check_loop(recipe: "Recipe", repeat: Repeat) -> Loop:
    """The loop, once its stages are read and before those after it are.

    Raises:
        ConfigError: with `file:line`.
    """
    body = {stage.name: stage for stage in recipe.stages if stage.name in repeat.stages}
    read = {value: marker is FILE for stage in body.values() for marker, value, _ in marked(stage.config)}
    for taken, left in repeat.carry.items():
        _check_carried(recipe, taken, left, body, read)
    if repeat.server is not None:
        check_command(repeat.server.command, recipe.document.where((*PLACE, "server", "command")))
        for index, name in enumerate(repeat.server.stages or ()):
            where = recipe.document.where((*PLACE, "server", "stages", index))
            if name not in body:
                raise ConfigError(f"{where}: {name!r} is no stage of the loop: {suggest(name, body)}")
            if body[name].trains:
                raise ConfigError(f"{where}: {name!r} trains, and asks no server: leave it out")
    return Loop(repeat, "" if repeat.until is None else _measured(recipe, repeat.until, body))


def _check_carried(
    recipe: "Recipe", taken: str, left: str, body: Mapping[str, "Stage"], read: Mapping[str, bool]
) -> None:
    where = recipe.document.where((*PLACE, "carry", taken))
    if taken not in read:
        told = suggest(taken, [value for value in read if value[1:].partition("/")[0] not in body])
        raise ConfigError(f"{where}: no stage of the loop reads {taken!r}: {told}")
    name, _, file = left[1:].partition("/") if is_reference(left) else (left, "", "")
    if name not in body:
        raise ConfigError(f"{where}: {left!r} is not left by the loop: name `$stage/file` of {', '.join(body)}")
    outputs = body[name].outputs
    if file.split("/")[0] not in outputs or ".." in file.split("/"):
        raise ConfigError(f"{where}: {name} leaves no {file!r}: {suggest(file, outputs)}")
    if left.endswith(ALL):
        raise ConfigError(f"{where}: {left!r} are several models, one is needed: name a step instead of *")
    if is_file(left) != read[taken]:
        what = ("a file", "a model") if read[taken] else ("a model", "a file")
        raise ConfigError(f"{where}: {taken!r} is {what[0]}, {left!r} is {what[1]}: carry like for like")


def _measured(recipe: "Recipe", until: Until, body: Mapping[str, "Stage"]) -> str:
    """The name of the model whose figure ends the loop."""
    where = recipe.document.where((*PLACE, "until", "score"))
    stage = body.get(until.score)
    if stage is None or SCORE not in stage.outputs:
        fitting = [name for name, one in body.items() if SCORE in one.outputs]
        raise ConfigError(f"{where}: {until.score!r} is no score stage of the loop: {suggest(until.score, fitting)}")
    problems: str = stage.config.problems  # type: ignore[attr-defined]
    if recipe.is_benchmark(problems):
        raise ConfigError(
            f"{where}: a loop that ends by the benchmark {problems!r} cannot be measured on it: give {until.score!r} "
            "held-out problems of its own"
        )
    models: dict[str, str] = stage.config.models  # type: ignore[attr-defined]
    if until.model is None and len(models) > 1:
        raise ConfigError(f"{where}: {until.score} scores {', '.join(models)}: say which with `model:` beside it")
    name = until.model or next(iter(models))
    if name not in models:
        told = recipe.document.where((*PLACE, "until", "model"))
        raise ConfigError(f"{told}: {until.score} scores no {name!r}: {suggest(name, models)}")
    if models[name][1:].partition("/")[0] not in body or models[name].endswith(ALL):
        raise ConfigError(
            f"{where}: {name!r} in it must be one model of the loop, `$stage/model`, not {models[name]!r}"
        )
    return name
