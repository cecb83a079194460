"""Quality of one problem: bounds on its prompt, and of its reference what can be told without running it.

The bounds on lines, letters and comments are StarCoder's (arXiv 2305.06161); every one is off by default. Parsing,
functions and placeholders are told of Python only, and a problem without a reference passes all rules about it but
`has_reference`. Natural language is told by datatrove's filters: `align.clean.corpus`.
"""

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field

from ..config import Section
from ..schema import Problem
from ..text.similarity import words
from ..text.template import prompt_text

LONGEST = 1_000_000
"""Characters of the longest program that is parsed: the parser takes a hundred times its memory."""

PLACEHOLDER = re.compile(
    r"\b(TODO|FIXME|XXX)\b|\b(your|rest of( the| your)?|remaining|add|insert|implement) (own )?(code|logic|"
    r"implementation)( goes)?( here)?\b|\bimplement (me|this|here)\b|\bcode goes here\b|"
    r"\.\.\. ?(existing|previous|same)",
    re.IGNORECASE,
)
COMMENT = re.compile(r"(?:#|//|--|;).*|/\*[\s\S]*?\*/")
"""Comments of other languages, roughly."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Fault(NamedTuple):
    """Why a problem goes."""

    reason: str
    detail: str


class Quality(Section):
    """Rules for prompts and for the programs in `reference`; off unless named."""

    min_words: int | None = Field(default=None, ge=0)
    """Words a prompt must have."""
    max_words: int | None = Field(default=None, gt=0)
    """Words a prompt may have."""
    has_reference: bool = False
    """A problem without a reference goes."""
    parses: bool = False
    """A reference that is no Python goes."""
    has_function: bool = False
    """A reference that defines no function goes; with `entry_point`, one that does not define it."""
    no_placeholder: bool = False
    """A reference with a body of only `pass`, `...` or `raise NotImplementedError`, or with `TODO` or `your code here`
    in a comment, goes."""
    min_lines: int | None = Field(default=None, gt=0)
    """Lines with text that a reference must have."""
    max_lines: int | None = Field(default=None, gt=0)
    """Lines with text that a reference may have."""
    max_line_length: int | None = Field(default=None, gt=0)
    """Characters of a reference's longest line; StarCoder: 1000."""
    max_mean_line_length: float | None = Field(default=None, gt=0)
    """Characters of its lines on average; StarCoder: 100."""
    min_alphanumeric: float | None = Field(default=None, ge=0, le=1)
    """Share of letters and digits among a reference's characters; StarCoder: 0.25."""
    min_comments: float | None = Field(default=None, ge=0, le=1)
    """Share of comments and docstrings among a reference's characters; StarCoder: 0.01."""
    max_comments: float | None = Field(default=None, ge=0, le=1)
    """The most of that share; StarCoder: 0.8."""

    def fault(self, problem: Problem) -> Fault | None:
        """The first rule that the problem breaks.

        Raises:
            DataError: a prompt is a chat of several turns.
        """
        return next(self._faults(problem), None)

    def _faults(self, problem: Problem) -> Iterator[Fault]:
        if self.min_words is not None or self.max_words is not None:
            yield from self._bounds("words", len(words(prompt_text(problem))), self.min_words, self.max_words)
        if problem.reference is None or not problem.reference.strip():
            if self.has_reference:
                yield Fault("no_reference", "there is no reference")
            return
        code = problem.reference
        yield from self._of_layout(code)
        python = problem.language == "python"
        if python and (self.parses or self.has_function):
            yield from self._of_syntax(code, problem.entry_point)
        if self.no_placeholder:
            yield from _placeholders(code, python)
        if self.min_comments is not None or self.max_comments is not None:
            texts = _comments(code, python) + (_docstrings(code) if python else [])
            share = sum(map(len, texts)) / len(code)
            yield from self._bounds("comments", round(share, 3), self.min_comments, self.max_comments)

    def _of_layout(self, code: str) -> Iterator[Fault]:
        lengths = [len(line) for line in code.splitlines() if line.strip()]
        yield from self._bounds("lines", len(lengths), self.min_lines, self.max_lines)
        yield from self._bounds("line_length", max(lengths), None, self.max_line_length)
        mean = round(sum(lengths) / len(lengths), 1)
        yield from self._bounds("mean_line_length", mean, None, self.max_mean_line_length)
        if self.min_alphanumeric is not None:
            share = round(sum(map(str.isalnum, code)) / len(code), 3)
            yield from self._bounds("alphanumeric", share, self.min_alphanumeric, None)

    def _of_syntax(self, code: str, entry_point: str | None) -> Iterator[Fault]:
        tree = parsed(code)
        if isinstance(tree, str):
            yield Fault("does_not_parse", tree)
        elif self.has_function:
            names = {node.name for node in _definitions(code) if isinstance(node, Function)}
            if not names or (entry_point is not None and entry_point not in names):
                wanted = "function" if entry_point is None else f"function {entry_point!r}"
                yield Fault("no_function", f"the reference defines no {wanted}")

    @staticmethod
    def _bounds(what: str, found: float, least: float | None, most: float | None) -> Iterator[Fault]:
        if least is not None and found < least:
            yield Fault(f"few_{what}" if isinstance(found, int) else f"low_{what}", f"{found}, at least {least}")
        if most is not None and found > most:
            yield Fault(f"many_{what}" if isinstance(found, int) else f"high_{what}", f"{found}, at most {most}")


@lru_cache(maxsize=2)
def parsed(code: str) -> ast.Module | str:
    """The syntax tree of a program, or why there is none."""
    if len(code) > LONGEST:
        return f"{len(code)} characters"
    try:
        with warnings.catch_warnings():
            # an escape such as "\d" is no fault of the program's form
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        # a NUL, half a surrogate pair, thousands of brackets
        return f"{type(error).__name__}: {error}"


def _placeholders(code: str, python: bool) -> Iterator[Fault]:
    for comment in _comments(code, python):
        if match := PLACEHOLDER.search(comment):
            yield Fault("placeholder", f"a comment says {match[0]!r}")
    for node in _definitions(code) if python else ():
        if isinstance(node, Function) and not _abstract(node) and _is_empty(node.body):
            yield Fault("placeholder", f"{node.name}: the body is only {_source(node.body[-1])}")


def _abstract(node: Function) -> bool:
    """Whether the function is meant to have no body."""
    return any(_source(one).rpartition(".")[2] in ("abstractmethod", "overload") for one in node.decorator_list)


def _is_empty(body: list[ast.stmt]) -> bool:
    """Whether nothing but a docstring, `pass`, `...` or a `NotImplementedError` stands there."""
    for statement in body:
        if isinstance(statement, ast.Pass):
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.Raise) and "NotImplemented" in _source(statement):
            continue
        return False
    return True


def _source(node: ast.AST) -> str:
    """The first 40 characters of a node's source; nothing where it is nested too deep to be written."""
    try:
        return ast.unparse(node)[:40]
    except RecursionError:
        return ""


def _comments(code: str, python: bool) -> list[str]:
    """The comments of a program; of one that ends too early, or is not Python, those up to there."""
    if not python:
        return [match[0] for match in COMMENT.finditer(code)]
    found: list[str] = []
    if "#" not in code:
        return found
    # whether it parses is another rule's affair
    with suppress(tokenize.TokenError, SyntaxError, ValueError, RecursionError):
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                found.append(token.string)
    return found


def _docstrings(code: str) -> list[str]:
    """The docstrings of a Python program."""
    tree = parsed(code)
    holders = [] if isinstance(tree, str) else [tree, *_definitions(code)]
    return [ast.get_docstring(node, clean=False) or "" for node in holders]


@lru_cache(maxsize=2)
def _definitions(code: str) -> list[Definition]:
    """All functions and classes of a Python program; none where it does not parse."""
    tree = parsed(code)
    found: list[Definition] = []
    waiting = [] if isinstance(tree, str) else list[ast.AST](tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Definition):
            found.append(node)
        # only statements hold definitions: expressions, most of the tree, are left out
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, field, ())
            waiting += inner if isinstance(inner, list) else ()
    return found
