"""Make a mixture of many tasks and languages: rows in the order of training, rows held out, and what it is made of."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..config import Place, Section, bad_key, unset_variables
from ..errors import AlignError, ConfigError, suggest
from ..io import HUB, write_json
from ..mix.figures import by_set, by_task, show, total_dropped
from ..mix.mixture import By, Lengths, Mixture, Settings, Unit, check_weights, mix
from ..mix.part import Part, parts
from ..mix.pool import CAP, Pool, build, check
from ..mix.sources import Source, benchmarks, raw, training, variant, xp3
from ..mix.template import Template
from ..mix.template_file import read_templates
from ..mix.weights import read_weights
from ..models.entry import Weights
from ..recipe.marked import is_reference, replace
from ..recipe.stage import FILE, FOLDER, UNKEYED, Context, Counts, File, Folder, Marker, Model

if TYPE_CHECKING:
    from ..text.token_store import TokenStore

S = TypeVar("S", bound=Section)

VERSION = 2
OUTPUTS = ("rows.jsonl", "validation.jsonl", "mixture.json")
POOL = ".pool"
"""Folder of what all rows are rendered to; it goes when the stage is done."""
HELD_OUT = 0.05
"""Share of each set that is held out where nothing says otherwise (xP3's)."""
TRIED = 100
"""Files of one section that `align check` looks into; the stage tries all before it renders any."""
OF_XP3, OF_DATA = ("languages", "merged"), ("templates", "names", "language", "task", "split", "subset", "columns")


class From(Section):
    """Where rows come from: a folder in xP3's form, or data with templates."""

    xp3: Folder | None = None
    """A folder in xP3's form: one folder a language, files of `inputs` and `targets`."""
    languages: list[str] | None = Field(default=None, min_length=1)
    """Of xP3's folders, those wanted; by default all."""
    merged: bool = False
    """Read xP3's `merged_*` files, which repeat the others of their folder, in their place."""
    data: File | list[File] | None = None
    """Raw data: JSON, JSON Lines, CSV, TSV or parquet files, or data sets of the hub."""
    templates: File | None = None
    """Templates that make rows of `data`; without them it has `inputs` and `targets`."""
    names: list[str] | None = Field(default=None, min_length=1)
    """Of the templates, those wanted; by default all."""
    language: str | None = None
    """Of the data; by default what the file's name tells."""
    task: str | None = None
    """Name of the data set; by default what the file's name tells."""
    split: str | None = None
    """Which split the data are; by default what the name tells."""
    subset: str | None = None
    """Configuration of a data set of the hub."""
    columns: dict[str, str] | None = None
    """The templates' name → the data's column."""
    splits: list[str] = Field(default=["train"], min_length=1)
    """Splits that train; the others are left out."""

    @model_validator(mode="after")
    def _one_kind(self) -> "From":
        if (self.xp3 is None) == (self.data is None):
            raise ValueError("give either xp3 or data")
        kind, others = ("xp3", OF_DATA) if self.data is None else ("data", OF_XP3)
        for key in others:
            if key in self.model_fields_set:
                raise bad_key(key, f"is not for {kind}: remove it")
        if self.names is not None and self.templates is None:
            raise bad_key("names", "names templates, and none are given: add templates")
        return self

    @model_validator(mode="after")
    def _can_serve(self, info: ValidationInfo) -> "From":
        """Of a recipe: what stands on this machine is tried before the stages ahead of this one have run."""
        if info.context is None:
            return self
        templates: list[Template | None] = []
        if alone := _here(self.model_copy(update={"xp3": None, "data": None}), info.context):
            with _refusing("templates"):
                templates = alone.chosen()
        if here := _here(self, info.context):
            with _refusing("xp3" if self.data is None else "data"):
                sources, _ = here.sources()
                for source in sources[:TRIED]:
                    if not source.path.startswith(HUB):
                        source.check([template for template in templates if template])
        return self

    def sources(self) -> tuple[list[Source], list[Source]]:
        """(those that train, those left out).

        Raises:
            DataError: a file or a language is wrong, or nothing trains.
        """
        if self.xp3 is not None:
            return xp3(self.xp3, languages=self.languages, merged=self.merged, splits=self.splits)
        paths = self.data if isinstance(self.data, list) else [self.data or ""]
        options: dict[str, Any] = {"split": self.split, "task": self.task or "", "subset": self.subset}
        found = [raw(path, language_code=self.language, columns=self.columns, **options) for path in paths]
        return training(found, self.splits)

    def chosen(self) -> list[Template | None]:
        """The templates wanted; [None] where the data need none.

        Raises:
            ConfigError: a template cannot be used, or is not in the file.
        """
        if self.templates is None:
            return [None]
        found = read_templates(self.templates)
        known = [template.name for template in found]
        for name in self.names or ():
            if name not in known:
                raise ConfigError(f"{self.templates}: no template {name!r}: {suggest(name, known)}")
        return [template for template in found if self.names is None or template.name in self.names]


class Config(Section):
    """Draw a mixture; see `align.mix`."""

    sources: list[From] = Field(min_length=1)
    """Where rows come from."""
    by: By = "language"
    """What a set is, and a weight is of: a language, a task (data set), or a source (`task.language`)."""
    weights: dict[str, float] | File | None = None
    """Set → weight, of every set, or a file of weights in xP3's form; by default proportional to size."""
    max_size: int | None = Field(default=None, gt=0)
    """A set counts as at most so many units (examples-proportional mixing, T5)."""
    temperature: float = Field(default=1.0, gt=0)
    """Weights are sizes ** (1 / temperature): 1 is proportional, large ones are even."""
    unit: Unit = "example"
    """What is counted and blended: examples, or packed rows, each of one set."""
    size: int | None = Field(default=None, gt=0)
    """Units of the mixture; by default as many as there are, each set counted as `max_size` says."""
    max_repeats: int = Field(default=4, gt=0)
    """Passes over a set at most; more is an error."""
    cap: int = Field(default=CAP, gt=0)
    """Rows for each data set, language, split and template; which ones is drawn."""
    validation: float | None = Field(default=None, ge=0, lt=1)
    """Share of each set that is held out; by default what the file of weights leaves, or 0.05."""
    model: Model | None = None
    """Whose tokenizer packs, and counts tokens."""
    max_length: int = Field(default=2048, gt=1)
    """Tokens of a packed row; with a model, longer rows are dropped and counted."""
    min_target_characters: int = Field(default=0, ge=0)
    """Shorter targets are dropped and counted."""
    workers: Annotated[int | None, UNKEYED] = Field(default=None, gt=0)
    """Processes; by default as many as cores, or one for small files."""

    @field_validator("weights")
    @classmethod
    def _can_weigh(cls, weights: dict[str, float] | str | None) -> dict[str, float] | str | None:
        for name, value in weights.items() if isinstance(weights, dict) else ():
            if not 0 <= value < float("inf"):
                raise bad_key(name, f"must be a number from 0 on, found {value}")
        return weights

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        if self.unit == "packed_row" and self.model is None:
            raise bad_key("model", "missing: packed rows need a tokenizer: add it")
        if self.model is None and "max_length" in self.model_fields_set:
            raise bad_key("max_length", "is in tokens, which need a tokenizer: add model")
        for key in ("max_size", "temperature"):
            if self.weights is not None and key in self.model_fields_set:
                raise bad_key(key, "is for weights by size, and weights are given: remove one of them")
        return self

    @model_validator(mode="after")
    def _has_tokenizer(self, info: ValidationInfo) -> "Config":
        entry = None if info.context is None or self.model is None else info.context.models.get(self.model)
        if entry is not None and not isinstance(entry, Weights):
            raise bad_key("model", f"{self.model!r} has no weights here: name an entry with model_name_or_path")
        return self

    @model_validator(mode="after")
    def _weights_fit(self, info: ValidationInfo) -> "Config":
        """Of a recipe: the file of weights can be read, and weights are of the sets that the sources make."""
        if info.context is None or self.weights is None:
            return self
        with _refusing("weights"):
            if alone := _here(self.model_copy(update={"sources": []}), info.context):
                _settings(alone)
            if here := _here(self, info.context):
                check_weights(_parts(here)[0], _settings(here))
        return self


def _here(section: S, recipe: Any) -> S | None:
    """The section with the paths of this machine; None where one is not told yet, or nothing stands there."""
    there = True

    def visit(marker: Marker, value: str, place: Place) -> str:
        nonlocal there
        address = recipe.benchmarks.get(value, value)
        if marker not in (FILE, FOLDER) or address.startswith(HUB):
            return str(address)
        told = not is_reference(address) and not unset_variables(address)
        there = there and told and recipe.path(address).exists()
        return str(recipe.path(address)) if told else value

    found = replace(section, visit)
    return found if there else None  # type: ignore[return-value]


@contextmanager
def _refusing(key: str) -> Iterator[None]:
    """What the library says of the files is said of this key."""
    try:
        yield
    except AlignError as error:
        raise bad_key(key, str(error).removeprefix(f"{key}: ")) from None


def run(config: Config, context: Context) -> Counts:
    """Render, draw, write."""
    found, left = _parts(config)
    settings = _settings(config, f"stages.{context.name}.weights", context.seed)
    check_weights(found, settings)
    check(found, context.seed, config.workers)
    pool = build(
        found,
        context.out / POOL,
        seed=context.seed,
        cap=config.cap,
        min_target_characters=config.min_target_characters,
        workers=config.workers,
        label=context.name,
    )
    store = _store(config, context, pool)
    lengths = None if store is None else Lengths(store.prompts, store.targets, config.max_length)
    mixture = mix(pool, settings, lengths)
    _write(mixture, store, context)
    return _tell(config, context, mixture, left)


def _parts(config: Config) -> tuple[list[Part], list[Source]]:
    """(parts that train, sources left out)."""
    pairs: list[tuple[Source, Template | None]] = []
    left: list[Source] = []
    for section in config.sources:
        templates = section.chosen()
        train, others = section.sources()
        pairs += [(source, template) for source in train for template in templates]
        left += others
    return parts(pairs), left


def _settings(config: Config, where: str = "weights", seed: int = 0) -> Settings:
    weights, held_out = config.weights, HELD_OUT
    if isinstance(weights, str):
        read = read_weights(weights)
        where, weights, held_out = f"{where}: {Path(weights).name}", read.of, round(1 - read.trains, 6)
    validation = held_out if config.validation is None else config.validation
    names = ("by", "max_size", "temperature", "unit", "size", "max_repeats")
    given = {name: getattr(config, name) for name in names}
    return Settings(**given, weights=weights, validation=validation, seed=seed, where=where)


def _store(config: Config, context: Context, pool: Pool) -> "TokenStore | None":
    """The ids of the pool's rows, where a model gives a tokenizer."""
    if config.model is None:
        return None
    from ..models.load import load_tokenizer
    from ..text.encode import Encoder
    from ..text.token_store import TokenStore

    encoder = Encoder(load_tokenizer(context.weights(config.model)))
    return TokenStore.of(pool.path, encoder, context.out / POOL / "tokens", workers=config.workers)


def _write(mixture: Mixture, store: "TokenStore | None", context: Context) -> None:
    """The rows, and their ids beside the run's stages, where training looks for them."""
    pool, rows, held = mixture.pool, context.out / "rows.jsonl", context.out / "validation.jsonl"
    pool.write(rows, mixture.order, mixture.packs, label=f"{context.name}: writing")
    pool.write(held, mixture.held_rows, label=f"{context.name}: validation")
    if store is not None:
        from ..text.token_store import store_folder

        store.take(mixture.order, rows, store_folder(rows), packs=mixture.packs)
        if len(mixture.held_rows):
            store.take(mixture.held_rows, held, store_folder(held), packs=None)


def _tell(config: Config, context: Context, mixture: Mixture, left: list[Source]) -> Counts:
    """Print the tables, leave them in `mixture.json`, warn of benchmarks; the counts."""
    sets, tasks = by_set(mixture), by_task(mixture)
    show(mixture, sets, tasks)
    trained = mixture.sources
    named = benchmarks({name for source in trained for name in (source.task, Path(source.path).stem)})
    of_xp3 = any(section.xp3 is not None for section in config.sources)
    counts: Counts = {"rows": len(mixture.order), "validation": len(mixture.held_rows), "sets": len(sets)}
    packing: dict[str, Any] = {}
    if mixture.fill is not None:
        packing = {"packed_rows": mixture.units, "fill": round(mixture.fill, 6)}
    tokens = None if mixture.lengths is None else int(mixture.lengths.whole[mixture.order].sum())
    facts = {
        "by": config.by,
        "unit": config.unit,
        "units": mixture.units,
        "rows": len(mixture.order),
        "validation": len(mixture.held_rows),
        "tokens": tokens,
        "max_length": None if tokens is None else config.max_length,
        **packing,
        "benchmarks": named,
        "variant": variant(trained) if of_xp3 else None,
        "left_out": sorted({f"{source.task} {source.split}".strip() for source in left}),
        "sets": sets,
        "tasks": tasks,
        "dropped": total_dropped(tasks),
        "examples": mixture.pool.examples,
    }
    write_json(context.out / "mixture.json", facts)
    if named:
        message = f"it trains on {', '.join(named)}: do not evaluate on them what is trained on it"
        print(f"align: warning: {context.name}: {message}", file=sys.stderr)
    return {**counts, **packing, "dropped": facts["dropped"]}
