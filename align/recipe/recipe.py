"""Read a recipe and check everything that can be known before anything runs. Torch-free.

Does not compute keys (plan.py) and does not run (run.py).
"""

import importlib
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field, model_validator

from .. import stages
from ..config import Document, Place, Section, bad_key, expand, load, unset_variables, validate
from ..errors import BackendError, ConfigError, DataError, suggest
from ..generate import Prompts
from ..io import HUB, parse_hub, rows, scan
from ..models.chain import check_folder
from ..models.entry import KINDS, OPERATIONS, AnyEntry, Endpoint, Offline, Weights, entry_class
from ..schema import Problem, Record
from ..train.arguments import missing_trackers, moved
from .loop_check import check_body, check_loop
from .loops import Loop, Repeat
from .marked import is_file, is_reference, marked
from .stage import ALL, FILE, FOLDER, MODEL, MODELS, Marker

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
LOOKED_AT = 100
"""Rows at the beginning of a file that are looked at for columns."""
StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]{0,99}$")]
"""A stage's folder begins with it."""


class TopLevel(Section):
    """The top level of a recipe, after what it `extends:` has been put below it."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of everything random."""
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named models: weights (`model_name_or_path`), an endpoint (`base_url`) or a stand-in (`offline`)."""
    benchmarks: dict[str, str] = Field(default_factory=dict)
    """Named problem files, for scoring and decontamination."""
    stages: dict[StageName, dict[str, Any] | None] = Field(min_length=1)
    """The stages, in order."""
    repeat: Repeat | None = None
    """Stages that are gone through several times, each time from the last model."""

    @model_validator(mode="before")
    @classmethod
    def _keys_of_others(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields and (told := moved(str(key))):
                raise bad_key(str(key), told)
        return data


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe as written: `$stage/file` values are still references."""

    name: str
    kind: str
    module: ModuleType
    config: Section
    seed: int = 0
    """The recipe's, or in a loop one of its iteration."""
    iteration: int = 0
    """In a loop the iteration, from 1 on; 0 outside."""
    after_loop: bool = False
    """Whether it stands after the recipe's loop."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """What its configuration leaves."""
        told = self.module.outputs(self.config) if hasattr(self.module, "outputs") else self.module.OUTPUTS
        return tuple(told)

    @property
    def trains(self) -> bool:
        """Whether it runs on every rank of a launcher."""
        return bool(getattr(self.module, "TRAINS", False))


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read and checked."""

    document: Document
    name: str
    """Name of its run: the path below the nearest `recipes/`, without suffix."""
    folder: Path
    seed: int
    models: dict[str, AnyEntry]
    benchmarks: dict[str, str]
    stages: list[Stage]
    overrides: tuple[str, ...] = ()
    loop: Loop | None = None
    """The recipe's loop; None without one, and while its stages are still being read."""

    @staticmethod
    def load(path: str | Path, overrides: Iterable[str] = ()) -> "Recipe":
        """Read and check a recipe.

        Raises:
            ConfigError: with `file:line`, the key, what was found and what to do.
        """
        overrides = tuple(overrides)
        document = load(Path(path), overrides)
        top = validate(TopLevel, document, (), document.data)
        models = {name: _entry(document, name, section) for name, section in top.models.items()}
        folder = Path(path).resolve().parent
        recipe = Recipe(document, run_name(Path(path)), folder, top.seed, models, top.benchmarks, [], overrides)
        body = top.repeat.stages if top.repeat else []
        if top.repeat is not None:
            check_body(document, top.repeat, list(top.stages))
        for name, section in top.stages.items():
            recipe.stages.append(_stage(recipe, name, dict(section or {}), iteration=int(name in body)))
            if top.repeat is not None and name == body[-1]:
                recipe = replace(recipe, loop=check_loop(recipe, top.repeat))
                assert recipe.loop is not None
                recipe.stages.extend(recipe.loop.unrolled(recipe.stages, top.seed))
        return recipe

    def run(self, **options: Any) -> Path:
        """Run it; see `align.recipe.run.run` for the options. Returns the run's folder."""
        from .run import run

        folder: Path = run(self, **options)
        return folder

    def path(self, written: str) -> Path:
        """A path as the recipe means it: below the recipe's folder, else below its repository's root."""
        found = Path(expand(written))
        if found.is_absolute():
            return found
        for base in (self.folder, repository(self.folder)):
            if os.path.exists(base / found):  # False, not an error, for what is too long to be a path
                return base / found
        return self.folder / found

    def notes(self) -> list[str]:
        """What `align check` mentions without failing: unset variables, hub ids that only a run can verify."""
        found = [f"the environment variable {name} is not set" for name in sorted(unset_variables(self.document.data))]
        hub = {value for stage in self.stages for _, value in self._hub_values(stage)}
        for name, entry in self.models.items():
            if isinstance(entry, Weights) and not self.path_is_local(entry.model_name_or_path):
                found.append(f"models.{name}: {entry.model_name_or_path} is a hub id, verified when it is loaded")
            elif isinstance(entry, Endpoint):
                found.append(f"models.{name}: an endpoint, asked when it is needed")
        found += [
            f"stages.{stage.name}.args.report_to: {tracker} is not installed here"
            for stage in self.stages
            if stage.trains
            for tracker in missing_trackers(stage.config.args)  # type: ignore[attr-defined]
        ]
        return found + [f"{value}: a hub data set, verified when it is read" for value in sorted(hub)]

    def path_is_local(self, written: str) -> bool:
        """Whether it names something on this machine."""
        return not unset_variables(written) and os.path.exists(self.path(written))

    def is_benchmark(self, value: str) -> bool:
        """Whether a `File` value names a benchmark, or is one's file."""
        if value in self.benchmarks:
            return True
        files = {self.path(address) for address in self.benchmarks.values()}
        return not unset_variables(value) and (value in self.benchmarks.values() or self.path(value) in files)

    def _hub_values(self, stage: Stage) -> Iterator[tuple[Place, str]]:
        for marker, value, place in marked(stage.config):
            address = self.benchmarks.get(value, value)
            if marker is FILE and address.startswith(HUB):
                yield place, address


def run_name(path: Path) -> str:
    """The recipe's path below the nearest `recipes/`, without suffix."""
    parts = path.resolve().with_suffix("").parts
    if "recipes" in parts[:-1]:
        start = len(parts) - parts[::-1].index("recipes")
        return "/".join(parts[start:])
    return parts[-1]


def repository(folder: Path) -> Path:
    """The nearest repository root above; without one, what holds `recipes/`, or the folder itself."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists() or (candidate / "pyproject.toml").exists():
            return candidate
    return next((path.parent for path in (folder, *folder.parents) if path.name == "recipes"), folder)


def kinds() -> list[str]:
    """Names of the stage kinds."""
    return sorted(module.name for module in pkgutil.iter_modules(stages.__path__))


def _entry(document: Document, name: str, section: dict[str, Any]) -> AnyEntry:
    kind = entry_class(section)
    if kind is None:
        options = ", ".join(KINDS)
        raise ConfigError(f"{document.where(('models', name))}: give exactly one of {options}")
    entry = validate(kind, document, ("models", name), section)
    assert isinstance(entry, AnyEntry)
    if isinstance(entry, Weights) and re.match(r"\$\w", entry.model_name_or_path):
        where = document.where(("models", name, "model_name_or_path"))
        raise ConfigError(f"{where}: {entry.model_name_or_path!r} stands in a stage, not under models:")
    return entry


def _stage(recipe: Recipe, name: str, section: dict[str, Any], iteration: int) -> Stage:
    place = ("stages", name)
    where = recipe.document.where(place)
    kind = section.pop("use", name)
    if kind not in kinds():
        raise ConfigError(f"{where}: no stage kind {kind!r}: {suggest(str(kind), kinds())}")
    module = importlib.import_module(f"align.stages.{kind}")
    config = validate(module.Config, recipe.document, place, section, context=recipe)
    stage = Stage(name, kind, module, config, recipe.seed, iteration, after_loop=recipe.loop is not None)
    for marker, value, inner in marked(config):
        _check_value(recipe, marker, value, (*place, *inner))
    _check_columns(recipe, config, place)
    for key in ("problems", "texts", *(("data", "eval_data") if stage.trains else ())):
        _check_rows(recipe, stage, key, (*place, key))
    _check_prompts(recipe, module, config, place)
    return stage


def _check_value(recipe: Recipe, marker: Marker, value: str, place: Place) -> None:
    where = recipe.document.where(place)
    if is_reference(value):
        if value.endswith(ALL) and marker is not MODELS:
            raise ConfigError(f"{where}: {value!r} are several models, one is needed: name a step instead of *")
        if value.endswith(ALL) and value.partition("/")[2] != f"checkpoints{ALL}":
            raise ConfigError(f"{where}: {value!r}: only `$stage/checkpoints/*` are several models")
        _check_reference(recipe, value, where)
        if is_file(value) != (marker is FILE):
            what = ("a file", "a model or folder") if marker is FILE else ("a model or folder", "a file")
            raise ConfigError(f"{where}: {what[0]} is needed, {value!r} is {what[1]}: name another output")
    elif marker in (MODEL, MODELS):
        if value not in recipe.models:
            stages = [f"${stage.name}/model" for stage in recipe.stages if stage.name == value]
            cure = f"did you mean {stages[0]!r}?" if stages else suggest(value, recipe.models)
            raise ConfigError(f"{where}: no model {value!r} under models: {cure}")
        _check_entry(recipe, value, where)
    elif marker is FOLDER:
        if not unset_variables(value) and not os.path.isdir(recipe.path(value)):
            raise ConfigError(f"{where}: no folder {value!r} below {recipe.folder} or the repository's root")
    else:
        _check_file(recipe, recipe.benchmarks.get(value, value), where)


def _check_reference(recipe: Recipe, value: str, where: str) -> None:
    name, _, file = value[1:].partition("/")
    earlier = {stage.name: stage for stage in recipe.stages}
    for first in recipe.loop.body if recipe.loop else ():
        earlier[f"{first}@1"] = earlier[first]
    if name not in earlier:
        raise ConfigError(f"{where}: {value!r} names no earlier stage: {suggest(name, earlier)}")
    outputs = earlier[name].outputs
    if file.split("/")[0] not in outputs or ".." in file.split("/"):
        raise ConfigError(f"{where}: {name} leaves no {file!r}: {suggest(file, outputs)}")


def _check_file(recipe: Recipe, value: str, where: str) -> None:
    if value.startswith("hf://"):
        try:
            parse_hub(value)
        except DataError as error:
            raise ConfigError(f"{where}: {error}") from None
    elif not unset_variables(value) and not os.path.isfile(recipe.path(value)):
        known = f" and no benchmark of that name ({', '.join(recipe.benchmarks)})" if recipe.benchmarks else ""
        raise ConfigError(f"{where}: no file {value!r} below {recipe.folder} or the repository's root{known}")


def _check_rows(recipe: Recipe, stage: Stage, key: str, place: Place) -> None:
    """Refuse a file that stands already and holds no row, or whose first rows are none, or none of the right kind."""
    path = _standing(recipe, getattr(stage.config, key, None))
    if path is None:
        return
    try:
        kind: type[Record] | None = Problem if key == "problems" else None
        if stage.trains:
            kind = stage.module.record_kind(stage.config, str(path))
        read = scan(path, kind, getattr(stage.config, "columns", None)) if kind else rows(path)
        if not list(islice(read, LOOKED_AT)):
            raise ConfigError(f"{recipe.document.where(place)}: {path} holds no row: name another file")
    except DataError as error:
        raise ConfigError(f"{recipe.document.where(place)}: {error}") from None


def _standing(recipe: Recipe, value: Any) -> Path | None:
    """The file that a `File` value names, where it is there before anything runs; None for other values, too."""
    if not isinstance(value, str) or unset_variables(value):
        return None
    path = recipe.path(recipe.benchmarks.get(value, value))
    return path if os.path.isfile(path) else None


def _check_columns(recipe: Recipe, config: Section, place: Place) -> None:
    """Refuse mapped columns that no row at the beginning of the file has, where the file stands already."""
    columns = getattr(config, "columns", None) or {}
    mapped = next((getattr(config, name) for name in ("problems", "data", "texts") if hasattr(config, name)), None)
    path = _standing(recipe, mapped)
    if not columns or path is None:
        return
    seen = {name for _, row in islice(rows(path), LOOKED_AT) for name in row}
    for ours, theirs in columns.items():
        if seen and theirs not in seen:
            where = recipe.document.where((*place, "columns", ours))
            raise ConfigError(f"{where}: {path.name} has no column {theirs!r}: {suggest(theirs, seen)}")


def _check_prompts(recipe: Recipe, module: ModuleType, config: Section, place: Place) -> None:
    """Refuse prompts that the stage does not ask by, and templates that cannot be filled."""
    for purpose, value in getattr(config, "prompts", {}).items():
        where = recipe.document.where((*place, "prompts", purpose))
        if purpose not in module.PROMPTS:
            raise ConfigError(f"{where}: no prompt {purpose!r}: {suggest(purpose, module.PROMPTS)}")
        if not value.startswith("$") and os.path.isfile(recipe.path(value)):
            try:
                Prompts({purpose: recipe.path(value)})
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None


def _check_entry(recipe: Recipe, name: str, where: str) -> None:
    entry = recipe.models[name]
    if isinstance(entry, Offline) and not os.path.isfile(recipe.path(entry.offline) / OPERATIONS):
        raise ConfigError(f"{where}: model {name!r}: no {OPERATIONS} in a folder {entry.offline!r}")
    if isinstance(entry, Weights) and not unset_variables(name_or_path := entry.model_name_or_path):
        try:
            if recipe.path_is_local(name_or_path):
                check_folder(recipe.path(name_or_path))
            elif not HUB_ID.fullmatch(expand(name_or_path)):
                raise DataError(f"no folder {name_or_path!r} below {recipe.folder} or the repository's root")
        except (BackendError, DataError) as error:
            raise ConfigError(f"{where}: model {name!r}: {error}") from None
