"""Rows of an evaluation task: raw data and templates in, rows with options or with references out. Asks no model.

An example has the same id under all prompts and in all languages: the row's number in its file, or a column of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ConfigError, DataError
from ..mix.language import language
from ..mix.rows import HASH
from ..mix.sandbox import TemplateLimit, size
from ..mix.sources import Source
from ..mix.template import Rendered, RowError, Template
from .classify import Choice
from .example import Question

PromptLanguage = Literal["both", "english", "own", "any"]
"""Which prompts a language's data get: English ones and those in the language itself, one of the two, or all."""


@dataclass(frozen=True)
class Task:
    """One task: its data and prompts."""

    name: str
    sources: Sequence[Source]
    templates: Sequence[Template]
    text: bool = False
    """Whether the model writes, in the place of choosing an option."""
    prompts: PromptLanguage = "both"
    named: bool = False
    """Whether the templates were asked for by name: then each must fit every example."""
    limit: int | None = None
    """Examples a language."""
    id: str | None = None
    """Column of the example's id; by default its number in the file."""

    def check(self) -> None:
        """Refuse data that lack a column of the templates, from their first rows.

        Raises:
            ConfigError: a column is missing, or templates have no options.
            DataError: a file is empty or cannot be read, a column that `columns` or `id` names is not there, or no
                prompt is for a language.
        """
        for template in self.templates:
            if not self.text and template.choices is None:
                raise ConfigError(
                    f"{template.where}: template {template.name!r} has no options to choose from: "
                    "give `metrics:` to compare what the model writes, or name other templates"
                )
        for source in self.sources:
            source.check(self.templates)
            if source.language:
                _fitting(self, source.language)
            if self.id is not None and self.id not in (names := source.names()):
                raise DataError(f"{source.path}: no column {self.id!r} (columns: {', '.join(names)}): mend `id:`")


@dataclass(frozen=True)
class Rows:
    """What a task's data came to."""

    choices: list[Choice] = field(default_factory=list)
    """Of a task with options: by language, prompt and example."""
    questions: list[Question] = field(default_factory=list)
    """Of one without."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason → examples that no prompt makes a row of."""
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    """Language → prompt that fits a part of the examples only → why."""


def task_rows(task: Task, seed: int = 0, *, whole: bool = True) -> Rows:
    """The rows of a task under all its prompts.

    Args:
        task: what is wanted.
        seed: of the templates' `choice` filter; an example draws the same in every language.
        whole: whether prompts are left out that do not fit every example: the best of several prompts means something
            only if all were asked the same.

    Raises:
        ConfigError: a template's column is missing, or a template works without end.
        DataError: a file cannot be read, a language without rows or without a prompt, an example twice.
    """
    task.check()
    found = Rows()
    languages: dict[str, _Language] = {}
    for source in task.sources:
        for code, id, where, row, draw in _examples(task, source, seed):
            if code not in languages:
                languages[code] = _Language(task, code, _fitting(task, code))
            languages[code].add(source, id, where, row, draw)
    for of in languages.values():
        rows = of.rows(found, whole)
        (found.questions if task.text else found.choices).extend(rows)  # type: ignore[arg-type]
    return found


def _examples(task: Task, source: Source, seed: int) -> Iterator[tuple[str, str, str, dict[str, Any], int]]:
    """Language, id, place, row and seed of each example."""
    labels = {name for template in task.templates for name in template.labels}
    if withheld := source.constant_labels(labels):
        raise DataError(f"{source.path}: {withheld[0]} has one value in every row: its answers are withheld")
    counts: Counter[str] = Counter()
    for number, (where, row) in enumerate(source.rows()):
        code = source.language or language(str(row.get("lang", "")), where)
        if task.limit is not None and counts[code] >= task.limit:
            if source.language:
                return
            continue
        counts[code] += 1
        if task.id is not None and row.get(task.id) is None:
            raise DataError(f"{where}: {task.id}: missing: each example needs an id")
        yield code, str(number if task.id is None else row[task.id]), where, row, seed + HASH * (number + 1)


def _fitting(task: Task, code: str) -> list[Template]:
    """The prompts that a language's data get."""
    wanted = {"both": ("", "en", code), "english": ("", "en"), "own": (code,)}
    if task.prompts == "any":
        return list(task.templates)
    found = [template for template in task.templates if template.language in wanted[task.prompts]]
    if not found:
        told = ", ".join(sorted({template.language or "no language" for template in task.templates}))
        raise DataError(
            f"no prompt for data in {code!r} (prompts are in: {told}; prompts: {task.prompts}): mend `prompts:`"
        )
    return found


class _Language:
    """The examples of one language under its prompts."""

    def __init__(self, task: Task, code: str, templates: Sequence[Template]) -> None:
        self.task, self.code, self.templates = task, code, templates
        self.made: dict[str, dict[str, Choice | Question]] = {template.name: {} for template in templates}
        self.missed: dict[str, dict[str, RowError]] = defaultdict(dict)
        """Example → prompt → why it makes no row of it."""
        self.ids: dict[str, str] = {}
        """Example → where it was read."""

    def add(self, source: Source, id: str, where: str, row: dict[str, Any], draw: int) -> None:
        if id in self.ids:
            raise DataError(f"{where}: id {id!r} stands also in {self.ids[id]}: give ids once a language")
        self.ids[id] = where
        for template in self.templates:
            place = {
                "id": id,
                "task": self.task.name,
                "language": self.code,
                "template": template.name,
                "split": source.split,
            }
            try:
                self.made[template.name][id] = _row(template, row, draw, place, self.task.text)
            except RowError as error:
                self.missed[id][template.name] = error

    def rows(self, found: Rows, whole: bool) -> list[Choice | Question]:
        """Those of the prompts that fit every example; what is left out is noted."""
        lost = [id for id in self.ids if len(self.missed[id]) == len(self.templates)]
        found.dropped.update(next(iter(self.missed[id].values())).reason for id in lost)
        usable = len(self.ids) - len(lost)
        if not usable:
            id, why = next((id, next(iter(of.values()))) for id, of in self.missed.items() if of)
            raise DataError(
                f"{self.task.name}, {self.code}: no prompt fits any row: {self.ids[id]}: {why.reason} ({why}): "
                "mend the template, or leave the language out"
            )
        kept = [name for name, made in self.made.items() if len(made) == usable or not whole]
        partial = {name: self._why(name, usable) for name in self.made if name not in kept}
        if partial and (self.task.named or not kept):
            name, why_partial = next(iter(partial.items()))
            raise DataError(
                f"{self.task.name}, {self.code}: prompt {name!r} {why_partial}: every prompt must fit the same examples"
            )
        if partial:
            found.left_out[self.code] = partial
        return [row for name in kept for row in self.made[name].values()]

    def _why(self, name: str, usable: int) -> str:
        id, error = next((id, of[name]) for id, of in self.missed.items() if name in of)
        return f"fits {len(self.made[name])} of {usable} examples ({self.ids[id]}: {error.reason})"


def _row(template: Template, row: dict[str, Any], draw: int, place: dict[str, str], text: bool) -> Choice | Question:
    try:
        size(row)
    except TemplateLimit:
        raise RowError("too_large", "over a million characters") from None
    made = template.render(row, draw)
    try:
        f"{made.inputs}{made.targets}{made.choices}".encode()
    except UnicodeEncodeError:
        raise RowError("not_text", "half a surrogate pair in it") from None
    if text:
        return Question(**place, prompt=made.inputs, references=[made.targets])
    # as BLOOMZ was trained: one space between input and target
    options, answer = _options(made)
    return Choice(**place, prompt=made.inputs, options=[f" {option}" for option in options], answer=answer)


def _options(made: Rendered) -> tuple[list[str], int]:
    """The options of a row, and the place of the right one."""
    options = made.choices or []
    if len(options) < 2:
        raise RowError("few_options", f"{len(options)} options")
    if not all(options):
        raise RowError("empty_option", f"option {options.index('')} is blank")
    target = made.targets.strip()
    if target not in options:
        raise RowError("no_answer", f"the target {target[:60]!r} is none of the options")
    return options, options.index(target)
