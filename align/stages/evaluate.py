"""Measure models on tasks of many languages: choose an option, or write an answer; figures with intervals."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from ..config import Section, bad_key, unset_variables
from ..errors import AlignError, DataError
from ..generate.answer import answer
from ..generate.ask import derive_seed
from ..generate.request import Request, Sampling
from ..io import HUB, sha256_file, write, write_json
from ..mix.sources import Source
from ..mix.template import Template
from ..models.entry import Weights
from ..recipe.stage import Context, Counts, File, Models
from ..score.choosing import Batches, chosen
from ..score.classify import Choice, Normalisation
from ..score.example import Question
from ..score.generation_metrics import Metric
from ..score.grid import Measure
from ..score.languages import language_code
from ..score.multitask import ROW_METRICS, ChoiceResult, Figures, TextResult, compare, text_result
from ..score.shots import with_shots
from ..score.task_files import data_files, shipped, task_sources, task_templates
from ..score.tasks import PromptLanguage, Rows, Task, task_rows
from .score import refuse_least, spelt_out, warn_of

VERSION = 1
OUTPUTS = ("results.jsonl", "score.json")
WRITTEN: list[Metric] = ["exact_match", "length"]
"""Metrics of a task without options where none are named."""
Files = File | list[File] | dict[str, File]


class TaskSection(Section):
    """One task: data and prompts."""

    data: Files
    """Files, folders or patterns such as `xcopa/test.*.jsonl`; a file's name tells its language and split."""
    templates: File | None = None
    """A file of templates, or the name of a benchmark that has templates of ours: xcopa, xwinograd, xstorycloze, xnli,
    mgsm."""
    shipped: str | None = None
    """Filled in where `templates` is such a name: with the hash of the file, since other templates give other rows."""
    names: list[str] | None = Field(default=None, min_length=1)
    """Templates wanted; by default all that ask for what the data set was made for and fit every example."""
    prompts: PromptLanguage = "both"
    """Prompts by their own language: `english`, as the published tables have them; `own`, the data's; `both`; `any`."""
    language: str | None = None
    """Of all files, where their names do not tell it."""
    split: str | None = None
    """Only the files of this split; where no name tells one it is that of all files."""
    subset: str | None = None
    """Configuration of a data set of the hub."""
    columns: dict[str, str] | None = None
    """Name that the templates use → the data's column."""
    id: str | None = None
    """Column of an example's id, the same in all languages; by default its number in the file."""
    limit: int | None = Field(default=None, gt=0)
    """Examples a language."""
    shots: int = Field(default=0, ge=0)
    """Solved examples before a prompt."""
    examples: Files | None = None
    """Where they are drawn from: files of another split, in the same languages."""
    metrics: list[Metric] | None = Field(default=None, min_length=1)
    """The model writes, and this is measured; the first one is the task's figure. By default it chooses an option, or
    writes where templates have none: exact_match (of the last number, where answers are numbers) and length."""
    max_new_tokens: int = Field(default=256, gt=0)
    """Longest answer, where the model writes."""
    min_new_tokens: int = Field(default=0, ge=0)
    """Before so many tokens nothing ends an answer."""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    """Strings that end an answer."""

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any, info: ValidationInfo) -> Any:
        """Every file by itself, under the name it was written by: the name tells its language, so the key holds it."""
        if not isinstance(data, dict):
            return data
        found = dict(data)
        for key in ("data", "examples"):
            if isinstance(found.get(key), str | list):
                found[key] = _files(key, found[key], info)
        name = found.get("templates")
        if isinstance(name, str) and name in shipped() and not _resolver(info)(name).is_file():
            del found["templates"]
            found["shipped"] = f"{name}@{sha256_file(shipped()[name])[:8]}"
        return found

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> "TaskSection":
        if self.templates is None and _shipped_name(self) not in shipped():
            raise bad_key("templates", f"give a file, or one of: {', '.join(shipped())}")
        if self.shots and self.examples is None:
            raise bad_key("shots", "needs `examples:`, files of another split to draw from")
        if self.examples is not None and not self.shots:
            raise bad_key("examples", "is of no use with 0 shots: set `shots:`, or remove it")
        if self.metrics and self.metrics[0] not in ROW_METRICS:
            first = ", ".join(ROW_METRICS)
            raise bad_key("metrics", f"{self.metrics[0]} is of a whole set: put one of a row first ({first})")
        if self.min_new_tokens > self.max_new_tokens:
            raise bad_key("min_new_tokens", f"is over max_new_tokens {self.max_new_tokens}: no answer could end")
        resolve = _resolver(info)
        if all(_is_here(path, resolve) for path in self.paths):
            for key in ("data", "examples") if self.shots else ("data",):
                try:
                    (self.pool("", resolve) if key == "examples" else self.task("", resolve)).check()
                except AlignError as error:
                    raise bad_key(key, str(error)) from None
        return self

    @property
    def paths(self) -> list[str]:
        """All files that it names."""
        return [*_paths(self.data), *_paths(self.examples), *([self.templates] if self.templates else [])]

    def task(self, name: str, resolve: Callable[[str], Path] = Path) -> Task:
        """What the library takes.

        Raises:
            ConfigError, DataError: a template, a language or a split is wrong.
        """
        templates, sources = self.asked_by(resolve), self._sources(self.data, self.split, resolve)
        for source in sources if "script" in (self.metrics or ()) else ():
            if source.language:
                language_code(source.language)
        text = not self.chooses(templates)
        return Task(name, sources, templates, text, self.prompts, self.names is not None, self.limit, self.id)

    def asked_by(self, resolve: Callable[[str], Path] = Path) -> list[Template]:
        """The templates.

        Raises:
            ConfigError: their file cannot be used, or has none of a name.
        """
        written = self.templates or str(shipped()[_shipped_name(self)])
        return task_templates(resolve(written), self.names, text=bool(self.metrics))

    def chooses(self, templates: Sequence[Template]) -> bool:
        """Whether the model chooses among options, and does not write."""
        return not self.metrics and any(template.choices is not None for template in templates)

    def pool(self, name: str, resolve: Callable[[str], Path] = Path) -> Task:
        """The same with the data that examples are drawn from.

        Raises:
            ConfigError, DataError: as `task`, or they are of the split that is evaluated.
        """
        task, sources = self.task(name, resolve), self._sources(self.examples, None, resolve)
        evaluated = {source.split for source in task.sources} | {source.path for source in task.sources}
        for source in sources:
            if source.split in evaluated or source.path in evaluated:
                told = f"{Path(source.path).name} ({source.split}) is of the split that is evaluated"
                raise DataError(f"{told}: draw examples from another one")
        return dataclasses.replace(task, sources=sources, limit=None)

    def _sources(self, files: Files | None, split: str | None, resolve: Callable[[str], Path]) -> list[Source]:
        return task_sources(
            [path if path.startswith(HUB) else str(resolve(path)) for path in _paths(files)],
            language=self.language,
            split=split,
            subset=self.subset,
            columns=self.columns,
        )


class Config(Section):
    """Measure models on tasks."""

    models: dict[Annotated[str, Field(pattern=r"^[\w.+-]+$")], Models] = Field(min_length=1)
    """Name in the results → model. `$stage/checkpoints/*` is every step that a training kept, as `name@step`."""
    tasks: dict[Annotated[str, Field(pattern=r"^[\w.+-]+$")], TaskSection] = Field(min_length=1)
    """Name in the results → task."""
    normalisation: Normalisation = "sum"
    """What an option is chosen by: its log-probability, or that for each token or character."""
    measure: Measure = "best"
    """A task's figure is the mean over languages of the `best` prompt, as BLOOMZ's tables have it, or of the `median`
    one. The best prompt is found on the same rows, so it flatters; both are in `details`."""
    max_tokens_per_batch: int = Field(default=4096, gt=0)
    """Tokens of a batch where options are chosen; it changes the last digits."""
    batch_size: int = Field(default=256, gt=0)
    """Answers generated at once."""

    @model_validator(mode="after")
    def _models_can_answer(self, info: ValidationInfo) -> "Config":
        """Options are chosen by log-probabilities, which only weights here give."""
        entries, resolve = getattr(info.context, "models", {}), _resolver(info)
        without = [name for name, model in self.models.items() if not isinstance(entries.get(model), Weights | None)]
        for task, section in self.tasks.items() if without else ():
            if section.templates is not None and not _is_here(section.templates, resolve):
                continue
            if section.chooses(section.asked_by(resolve)):
                raise bad_key(
                    f"models.{without[0]}",
                    f"{task} needs log-probabilities, and only weights give them: give model_name_or_path, or the task "
                    "`metrics:` to compare what is written",
                )
            refuse_least(self.models, section.min_new_tokens, info, f"tasks.{task}.min_new_tokens")
        return self


def run(config: Config, context: Context) -> Counts:
    """Read the tasks; ask every model; write one result a row, and the summary."""
    models, steps = spelt_out(config.models, context)
    made = {name: rows_of(name, section, context) for name, section in config.tasks.items()}
    figures = {name: figures_of(config, name, made[name]) for name in made}
    warnings = warn_of_contamination(config, context, models)
    asked = {name: ask(config, context, name, model, made, figures) for name, model in models.items()}
    write(context.out / "results.jsonl", (row for tasks in asked.values() for rows in tasks.values() for row in rows))
    results: Any = {task: {name: asked[name][task] for name in models} for task in made}
    score = compare(list(models), {task: (results[task], figures[task]) for task in made}, seed=context.seed)
    score |= {"tasks": {task: facts(config, task, made[task], figures[task]) for task in made}, "steps": steps}
    found: Counts = {"rows": sum(len(rows.choices) + len(rows.questions) for rows in made.values())}
    if dropped := sum((rows.dropped for rows in made.values()), Counter[str]()):
        found["dropped"] = dict(sorted(dropped.items()))
    if unscored := sum(map(len, score["unscored"].values())):
        found["unscored"] = unscored
    if warnings:
        found["warnings"] = len(warnings)
    write_json(context.out / "score.json", score | ({"warnings": warnings} if warnings else {}))
    told = {name: score["models"][name]["tasks"] for name in models}
    return found | {f"{name} {task}": value[0] for name, tasks in told.items() for task, value in tasks.items()}


def rows_of(name: str, section: TaskSection, context: Context) -> Rows:
    """The rows of a task, with examples before their prompts where these are wanted.

    Raises:
        ConfigError, DataError: the data or a template cannot be used; with the task's name.
    """
    try:
        found = task_rows(section.task(name), context.seed)
        if section.shots:
            pool = task_rows(section.pool(name), context.seed, whole=False)
            found.choices[:] = with_shots(found.choices, pool.choices, section.shots, context.seed)
            found.questions[:] = with_shots(found.questions, pool.questions, section.shots, context.seed)
    except AlignError as error:
        raise type(error)(f"stages.{context.name}.tasks.{name}: {error}") from None
    return found


def figures_of(config: Config, name: str, rows: Rows) -> Figures:
    """How a task's figure is made.

    Raises:
        ConfigError: a language's script is asked for, and not known.
    """
    metrics = [] if rows.choices else config.tasks[name].metrics or WRITTEN
    # languages that only the rows tell
    for code in sorted({row.language for row in rows.questions}) if "script" in metrics else ():
        language_code(code)
    return Figures(config.measure, config.normalisation, metrics)


def warn_of_contamination(config: Config, context: Context, models: dict[str, str]) -> list[str]:
    """A line, also on stderr, for each model that was trained on a benchmark which is among the tasks."""
    names = {name for section in config.tasks.values() for path in _paths(section.data) for name in _names(path)}
    return warn_of(names | config.tasks.keys(), context, models)


def ask(
    config: Config, context: Context, name: str, model: str, made: dict[str, Rows], figures: dict[str, Figures]
) -> dict[str, list[ChoiceResult] | list[TextResult]]:
    """What a model says in every task: first it chooses in all, then it writes in all."""
    choices = [row for rows in made.values() for row in rows.choices]
    questions = [row for rows in made.values() for row in rows.questions]
    found: dict[str, list[Any]] = defaultdict(list)
    if choices:
        journal, label = context.out / f".choices-{name}.jsonl", f"{context.name}: {name}"
        for one in chosen(lambda: chooser(config, context, model), choices, journal, label):
            found[one.task].append(ChoiceResult(**one.model_dump(), model=name))
    if questions:
        asked = [request(config, context, question) for question in questions]
        generator = context.generator(model, config.batch_size)
        replies = answer(generator, asked, context.out / f".replies-{name}.jsonl", f"{context.name}: {name}")
        for question, reply in zip(questions, replies, strict=True):
            found[question.task].append(text_result(name, question, reply, figures[question.task].metrics))
    return {task: found[task] for task in made}


def chooser(config: Config, context: Context, model: str) -> Batches:
    """The model, ready to choose among options."""
    from ..models.load import load_model
    from ..score.choice import Chooser
    from ..text.encode import Encoder

    weights, tokenizer = load_model(context.weights(model))
    return Chooser(weights, Encoder(tokenizer), max_tokens=config.max_tokens_per_batch)


def request(config: Config, context: Context, question: Question) -> Request:
    """What a model is asked to write, greedily."""
    section = config.tasks[question.task]
    sampling = Sampling(
        temperature=0.0,
        max_new_tokens=section.max_new_tokens,
        min_new_tokens=section.min_new_tokens,
        stop=section.stop,
    )
    seed = derive_seed("evaluate", context.seed, 0, f"{question.task}/{question.id}")
    return Request(prompt=question.prompt, sampling=sampling, seed=seed, purpose="solve")


def facts(config: Config, name: str, rows: Rows, figures: Figures) -> dict[str, Any]:
    """What a task's figure is of."""
    all_rows: list[Choice] | list[Question] = rows.choices or rows.questions
    languages: dict[str, set[str]] = defaultdict(set)
    prompts: dict[str, set[str]] = defaultdict(set)
    for row in all_rows:
        languages[row.language].add(row.id)
        prompts[row.language].add(row.template)
    return {
        "figure": f"accuracy ({figures.normalisation})" if rows.choices else figures.metrics[0],
        "prompt": figures.measure,
        "shots": config.tasks[name].shots,
        "examples": {code: len(ids) for code, ids in sorted(languages.items())},
        "prompts": {code: sorted(names) for code, names in sorted(prompts.items())},
        "dropped": dict(sorted(rows.dropped.items())),
        "left_out": rows.left_out,
    }


def _paths(files: str | list[str] | dict[str, str] | None) -> list[str]:
    if isinstance(files, dict):
        return list(files.values())
    return [files] if isinstance(files, str) else list(files or ())


def _shipped_name(section: TaskSection) -> str:
    return (section.shipped or "").partition("@")[0]


def _names(path: str) -> tuple[str, ...]:
    """What may name a benchmark in the path of a file."""
    found = Path(path)
    return found.name, found.parent.name


def _files(key: str, written: str | list[Any], info: ValidationInfo) -> Any:
    """Each file that is meant, under the name it was written by; as it is what pydantic will refuse."""
    given = written if isinstance(written, list) else [written]
    if not all(isinstance(one, str) for one in given):
        return written
    known = getattr(info.context, "benchmarks", {})
    found: dict[str, str] = {}
    for one in given:
        try:
            keep = one in known or bool(unset_variables(one))
            found |= {path: path for path in ([one] if keep else data_files(one, _resolver(info)))}
        except AlignError as error:
            raise bad_key(key, str(error)) from None
    return found


def _resolver(info: ValidationInfo) -> Callable[[str], Path]:
    resolve: Callable[[str], Path] = getattr(info.context, "path", Path)
    return resolve


def _is_here(path: str, resolve: Callable[[str], Path]) -> bool:
    return not path.startswith(("$", HUB)) and not unset_variables(path) and resolve(path).is_file()
