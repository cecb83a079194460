"""One template: a row of a data set in, one input and its target out, as promptsource does it.

Checks a template before any row is rendered. Does not read template files (`template_file`) nor data (`sources`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jinja2
from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError

from ..errors import ConfigError, suggest
from .sandbox import SEPARATOR, WORKING, Sandbox, TemplateLimit

RESERVED = "answer_choices"
READS_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class RowError(Exception):
    """A row that a template makes nothing of: `reason` is a word for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Rendered:
    """What a template makes of one row."""

    inputs: str
    targets: str
    choices: list[str] | None
    """The options of the row, where the template has some."""


@dataclass(frozen=True)
class Template:
    """A template, checked when it is made.

    Raises:
        ConfigError: it is not Jinja, reads files, has no `|||` or more than one, or takes a field that it may not.
    """

    name: str
    source: str
    """Jinja: the input, `|||`, the target."""
    where: str
    """`file:line`, for messages."""
    task: str = ""
    """Data set and subset, such as `xcopa/zh`."""
    language: str = ""
    """Code of the language that the prompt is written in; the data's may be another (cross-lingual)."""
    choices: str | None = None
    """Jinja: the options, divided by `|||`."""
    metrics: tuple[str, ...] = ()
    original_task: bool = True
    """Whether it asks what the data set was made for."""
    choices_in_prompt: bool = False
    strip: bool = True
    """Whether blanks around input and target go, as in promptsource. False keeps the indent of a program."""

    def __post_init__(self) -> None:
        trees = [self._tree(text) for text in (self.source, self.choices) if text is not None]
        for tree in trees:
            self._check_names(tree)
        low, high = _separators(trees[0].body)
        if high == 0:
            raise ConfigError(f"{self._place}: no `|||` between input and target: add it")
        if low > 1:
            raise ConfigError(f"{self._place}: {low} `|||`, and a row has one target: keep one")

    @property
    def _place(self) -> str:
        return f"{self.where}: template {self.name!r}"

    @property
    def id(self) -> str:
        """`name@hash`: changes with the text of the template."""
        text = f"{self.source}\x00{self.choices}\x00{self.strip}"
        return f"{self.name}@{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    @cached_property
    def fields(self) -> frozenset[str]:
        """Columns that a row must have."""
        found: set[str] = set()
        for text in (self.source, self.choices or ""):
            tree = self._tree(text)
            tests = tree.find_all(nodes.Test)
            asked = {node.node.name for node in tests if isinstance(node.node, nodes.Name) and node.name == "defined"}
            found |= meta.find_undeclared_variables(tree) - asked
        return frozenset(found - {RESERVED} - _environment().globals.keys())

    @cached_property
    def labels(self) -> frozenset[str]:
        """Columns that number the right option: `answer_choices[label]`."""
        items = self._tree(self.source).find_all(nodes.Getitem)
        taken = [node.arg for node in items if isinstance(node.node, nodes.Name) and node.node.name == RESERVED]
        names = [[arg] if isinstance(arg, nodes.Name) else list(arg.find_all(nodes.Name)) for arg in taken]
        return frozenset(name.name for some in names for name in some) & self.fields

    def crosses(self, code: str) -> bool:
        """Whether the prompt is written in another language than the data's; False where the prompt's is not told."""
        return bool(self.language) and self.language != code

    def check(self, columns: Iterable[str], where: str) -> None:
        """Refuse a source without the template's columns.

        Raises:
            ConfigError: a column is missing.
        """
        have = set(columns)
        if RESERVED in have:
            raise ConfigError(
                f"{where}: a column is named {RESERVED!r}, which templates keep for themselves: rename it"
            )
        for name in sorted(self.fields - have):
            raise ConfigError(f"{self._place}: no column {name!r} in {where}: {suggest(name, have)}")

    def render(self, row: Mapping[str, Any], seed: int = 0) -> Rendered:
        """Input, target and options of one row.

        Args:
            row: column → value.
            seed: of the `choice` filter; the same seed draws the same.

        Raises:
            RowError: the row gives no input, no target or several, or its label is hidden.
            ConfigError: the template works without end, or reaches for what it may not.
        """
        self._check_row(row)
        WORKING.start(seed)
        choices = self._rendered(self.choices, row) if self.choices is not None else None
        options = None if choices is None else [option.strip() for option in choices.split(SEPARATOR)]
        text = self._rendered(self.source, {**row, RESERVED: options})
        parts = text.split(SEPARATOR)
        if len(parts) > 2:
            raise RowError("several_targets", f"{len(parts) - 1} targets")
        inputs, targets = (*parts, "")[:2]
        for reason, part in (("empty_input", inputs), ("empty_target", targets)):
            if not part.strip():
                raise RowError(reason, "the template makes nothing of it")
        if self.strip:
            inputs, targets = inputs.strip(), targets.strip()
        return Rendered(inputs, targets, options)

    def _check_row(self, row: Mapping[str, Any]) -> None:
        for name in self.fields:
            if name not in row:
                raise RowError("missing_field", f"no {name!r} (columns: {', '.join(row)})")
        for name in self.labels:
            if hidden(row[name]):
                raise RowError("hidden_label", f"{name} is {row[name]!r}")

    def _rendered(self, source: str, row: Mapping[str, Any]) -> str:
        try:
            return _compiled(source).render(row)
        except (TemplateLimit, SecurityError) as error:
            raise ConfigError(f"{self._place}: {error}: mend the template") from None
        except RecursionError:
            raise ConfigError(f"{self._place}: it calls itself without end: mend the template") from None
        except Exception as error:  # whatever a template's expressions raise on this row's values
            raise RowError("failed", f"{type(error).__name__}: {str(error)[:200]}") from None

    def _tree(self, source: str) -> nodes.Template:
        try:
            _compiled(source)
            return _environment().parse(source.replace("|||", SEPARATOR))
        except TemplateSyntaxError as error:
            line = f" line {error.lineno}:" if "\n" in source else ""
            message = str(error.message)
            if r"\x00" in message:
                message = "`|||` inside of {{ }} or {% %}"
            raise ConfigError(f"{self._place}:{line} not a Jinja template: {message}: mend it") from None
        except (TemplateLimit, SecurityError, RecursionError, ArithmeticError, MemoryError) as error:
            raise ConfigError(f"{self._place}: cannot be compiled ({error}): mend it") from None

    def _check_names(self, tree: nodes.Template) -> None:
        for _ in tree.find_all(READS_FILES):
            raise ConfigError(f"{self._place}: it reads another file: templates have no file system: write it out")
        for node in tree.find_all(nodes.Getattr):
            if node.attr.startswith("_"):
                raise ConfigError(f"{self._place}: it reaches for {node.attr!r}, which templates may not: remove it")
        known = meta.find_undeclared_variables(tree)
        for call in tree.find_all(nodes.Call):
            name = call.node.name if isinstance(call.node, nodes.Name) else ""
            if name in known and name not in _environment().globals:
                has = suggest(name, _environment().globals)
                raise ConfigError(f"{self._place}: it calls {name}(), which templates do not have: {has}")


def hidden(label: Any) -> bool:
    """Whether a label says that the answer is withheld, as test splits do: none, blank or below 0."""
    return label is None or label == "" or (isinstance(label, int | float) and label < 0)


@cache
def _environment() -> Sandbox:
    return Sandbox()


@cache
def _compiled(source: str) -> jinja2.Template:
    WORKING.start(0)
    return _environment().from_string(source.replace("|||", SEPARATOR))


def _separators(body: Iterable[nodes.Node]) -> tuple[int, int]:
    """(fewest, most) separators that a run through the nodes can write."""
    low = high = 0
    for node in body:
        least, most = _of(node)
        low, high = low + least, high + most
    return low, high


def _of(node: nodes.Node) -> tuple[int, int]:
    if isinstance(node, nodes.TemplateData):
        found = node.data.count(SEPARATOR)
        return found, found
    if isinstance(node, nodes.If):
        ways = [_separators(node.body), _separators(node.else_), *(_separators(other.body) for other in node.elif_)]
        return min(low for low, _ in ways), max(high for _, high in ways)
    if isinstance(node, nodes.Output | nodes.With | nodes.Scope):
        return _separators(node.iter_child_nodes())
    # a loop may run no times or often; an expression may choose not to print its text
    texts = [item.value for item in node.find_all(nodes.Const) if isinstance(item.value, str)]
    data = [item.data for item in node.find_all(nodes.TemplateData)]
    return 0, sum(text.count(SEPARATOR) for text in (*texts, *data))
