"""What is looked for of a benchmark's problem: the prose of its statement, and the body of its reference.

Trivial parts are left out, by size: anybody writes `return x + y`, or says "add two numbers". Compares nothing.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...execute.definitions import parsed
from ...schema import Problem
from ...text.similarity import words
from ...text.template import prompt_text
from .hit import label
from .tokens import code_tokens

MIN_WORDS = 8
"""A statement with fewer words is nobody's own."""
MIN_TOKENS = 16
"""A solution's body with fewer tokens is anybody's: it is not looked for. `return x + y` has four."""

_EXAMPLES = re.compile(
    r"^[ \t]*>>>|^[ \t]*(?:for )?examples?\b|^[ \t]*e\.g\.|^[ \t]*\w+\([^\n)]*\)[ \t]*(?:=|-|\u279e|\u2192)"
    r"|\bfor example\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Where a statement's examples begin."""


@dataclass(frozen=True, eq=False)
class Sought:
    """One problem of a benchmark; equal to itself only."""

    benchmark: str
    name: str
    problem: Problem

    @cached_property
    def prompt(self) -> str:
        """The whole prompt."""
        return prompt_text(self.problem)

    @cached_property
    def statement(self) -> list[str]:
        """Words of the prompt's prose up to its examples; empty where they are too few to be its own."""
        found = words(prose(self.prompt))
        return found if len(found) >= MIN_WORDS else []

    @cached_property
    def solution(self) -> str:
        """Source of the reference's entry point without its head and docstring, or of all that has no such function."""
        return body(self.problem.reference or "", self.problem.entry_point)

    @cached_property
    def is_trivial(self) -> bool:
        """Whether there is no reference, or one that is too short to be looked for."""
        return len(code_tokens(self.solution)) < MIN_TOKENS


def sought(benchmarks: Sequence[tuple[str, Sequence[Problem]]]) -> list[Sought]:
    """All problems of all benchmarks, each content once a benchmark."""
    return [
        Sought(name, label(problem), problem)
        for name, problems in benchmarks
        for problem in {problem.id: problem for problem in problems}.values()
    ]


def prose(prompt: str) -> str:
    """What a prompt says in words, up to its examples: of a function to be completed, its docstring."""
    text = _docstring(prompt) or prompt
    first = _EXAMPLES.search(text)
    return text[: first.start()] if first and words(text[: first.start()]) else text


def body(reference: str, entry_point: str | None) -> str:
    """The statements of one function of a program, without its docstring; the whole where it has no such function."""
    return next((own for name, own in bodies(reference) if name == entry_point), reference)


def bodies(source: str) -> list[tuple[str, str]]:
    """Name and statements of each function at a program's top level, or in a class there; none where it is no program.

    Docstrings and heads are left out: a copy has others.
    """
    tree = parsed(source)
    if tree is None:
        return []
    lines = source.encode("utf-8", "surrogatepass").split(b"\n")
    inner = [part for node in tree.body if isinstance(node, ast.ClassDef) for part in node.body]
    nodes = [node for node in (*tree.body, *inner) if isinstance(node, ast.FunctionDef)]
    return [(node.name, _statements(node, lines)) for node in nodes]


def _statements(node: ast.FunctionDef, lines: Sequence[bytes]) -> str:
    own = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not own or node.end_lineno is None:
        return ""
    first = own[0].lineno - 1
    text = b"\n".join([lines[first][own[0].col_offset :], *lines[first + 1 : node.end_lineno]])
    return text.decode("utf-8", "replace")


def _docstring(prompt: str) -> str | None:
    """The last docstring of a prompt that is a program to be completed."""
    tree = parsed(prompt) or parsed(f"{prompt}\n    pass\n")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    return ast.get_docstring(functions[-1]) if functions else None
