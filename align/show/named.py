"""What `align show NAME` knows by name: stage kinds, records, and the parts of a recipe; and the list of it all."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel

from ..errors import DataError, suggest
from ..models.entry import KINDS
from ..recipe.recipe import TopLevel, kinds
from ..recipe.schema import recipe_schema
from ..terminal import Table
from ..text.template import TEMPLATES
from ..train.arguments import training_arguments
from .keys import Row, first_words, section_rows, show_keys
from .kind import config_of, show_kind
from .record import RECORDS, show_record
from .records import print_fields
from .value import print_json

STAGES, RECORD, RECIPE = "stage kinds", "records", "recipes"
PLACES = {
    "a run": "its folder, such as runs/quickstart",
    "a stage": "its folder, such as runs/quickstart/rank",
    "a file": "records (.jsonl, .jsonl.gz, .json), or one JSON value",
}
"""What is shown by its path."""


@dataclass(frozen=True)
class Named:
    """One thing that has a name."""

    name: str
    group: str
    show: Callable[[], None]
    json: Callable[[], Any]
    """What `--json` prints."""
    other: str = ""
    """A second name for it."""

    @property
    def words(self) -> set[str]:
        """All spellings that mean it, as `_bare` has them."""
        singular = {_bare(word).removesuffix("s") for word in (self.name, self.other) if word}
        return singular | {f"{word}s" for word in singular}


def catalogue() -> list[Named]:
    """All that has a name, group by group."""
    return [
        *(Named(kind, STAGES, partial(show_kind, kind), config_of(kind).model_json_schema) for kind in kinds()),
        *(
            Named(name, RECORD, partial(show_record, name), record.model_json_schema, record.__name__)
            for name, record in RECORDS.items()
        ),
        Named("recipe", RECIPE, show_recipe, recipe_schema),
        Named("models", RECIPE, show_models, lambda: {key: kind.model_json_schema() for key, kind in KINDS.items()}),
        Named("templates", RECIPE, show_templates, lambda: list(templates())),
        Named("schema", RECIPE, lambda: print_json(recipe_schema()), recipe_schema),
    ]


def find(word: str) -> Named | None:
    """What a word names: exactly, or in any case, with hyphens, underscores or neither, one or many."""
    known = catalogue()
    exact = (one for one in known if one.name == word)
    return next(exact, None) or next((one for one in known if _bare(word) in one.words), None)


def unknown(word: str) -> DataError:
    """The error about a word that names nothing: it says what has such a key, what is near it, or all names."""
    known = catalogue()
    if word in TEMPLATES:
        return DataError(f"{word}: a template: align show templates explains it")
    if owners := [one.name for one in known if word in _keys(one)]:
        return DataError(f"{word}: a key of {', '.join(owners)}: align show {owners[0]} explains it")
    if word in training_arguments():
        return DataError(f"{word}: an argument of transformers.TrainingArguments: write it under args: of sft or align")
    hint = suggest(word, [one.name for one in known])
    if not hint.startswith("did you"):
        hint = "; ".join(["give a path", *(f"{group}: {names}" for group, names in grouped(known).items())])
    return DataError(f"{word}: nothing of that name: {hint}")


def grouped(known: Iterable[Named]) -> dict[str, str]:
    """Group → its names."""
    found: dict[str, list[str]] = {}
    for one in known:
        found.setdefault(one.group, []).append(one.name)
    return {group: ", ".join(names) for group, names in found.items()}


def show_all() -> None:
    """Everything that `align show` shows."""
    table = Table(("what", "align show …"))
    for group, names in overview().items():
        table.add(group, names)
    table.show()


def overview() -> dict[str, str]:
    """What is shown → by which path or names."""
    return PLACES | grouped(catalogue())


def show_recipe() -> None:
    """The keys at the top of a recipe."""
    described = recipe_schema()["properties"]["extends"]["description"]
    print(f"recipe: {first_words(TopLevel)}")
    print("a stage's keys: align show KIND; a model's: align show models\n")
    extends: Row = ("extends", "file", "none", described)
    show_keys([extends, *section_rows(TopLevel)])


def show_models() -> None:
    """The three kinds of entry below `models:`, and the key that tells each."""
    print("models: what stands under a name below `models:` is of the kind whose first key it has")
    for kind in KINDS.values():
        print(f"\n{kind.__name__.lower()}: {first_words(kind)}")
        show_keys(section_rows(kind))


def templates() -> Iterator[dict[str, str | None]]:
    """The templates as plain data."""
    for one in TEMPLATES.values():
        yield {"name": one.name, "about": one.about, "prompt": one.prompt, "completion": one.completion, "id": one.id}


def show_templates() -> None:
    """Each template's formats, in quotes since spaces and line ends count."""
    for one in templates():
        quoted = {key: repr(one[key]) for key in ("prompt", "completion") if one[key] is not None}
        print_fields({str(one["name"]): {"about": one["about"], **quoted, "id": one["id"]}})


def _bare(word: str) -> str:
    return re.sub("[-_ ]", "", word).lower()


def _keys(one: Named) -> set[str]:
    """The keys that a stage kind, a record or a part of a recipe has."""
    classes: dict[str, list[type[BaseModel]]] = {"recipe": [TopLevel], "models": [*KINDS.values()]}
    if one.group == STAGES:
        classes[one.name] = [config_of(one.name)]
    elif one.group == RECORD:
        classes[one.name] = [RECORDS[one.name]]
    return {row[0].strip() for kind in classes.get(one.name, ()) for row in section_rows(kind)}
