"""Rows for `decontamination.py`: clean ones, and benchmarks' problems in disguises. Looks for nothing.

Clean are the offline family's problems with their programs, instructions, exercises and tasks of other kinds. The
benchmarks are read where they lie, and never written.
"""

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random

from align.execute.definitions import parsed
from align.generate.family import MAX_OPERATIONS, VARIABLE, Family, Task
from align.io import read, rows
from align.schema import Problem

OFFLINE = Path(__file__).parents[2] / "data" / "offline"
PARAPHRASES = Path(__file__).parent / "data" / "paraphrases.jsonl"
BENCHMARKS = {"humaneval": "HumanEval.jsonl.gz", "mbpp": "mbpp.jsonl"}
LANGUAGES = ("cpp", "go", "java", "js", "rust")
CLEAN = "clean"


@dataclass(frozen=True)
class Hidden:
    """One row of training data."""

    kind: str
    """The disguise, or `CLEAN`."""
    task_id: str
    """What it hides; of a clean row, where it comes from."""
    text: str
    code: str | None


def benchmarks(shared: Path) -> list[tuple[str, list[Problem]]]:
    """HumanEval and MBPP."""
    return [(name, read(shared / "data" / "eval" / file, Problem)) for name, file in BENCHMARKS.items()]


def hidden(found: Sequence[tuple[str, Sequence[Problem]]], shared: Path) -> list[Hidden]:
    """Every problem in every disguise that there is of it."""
    problems = [problem for _, held in found for problem in held]
    return [
        *(Hidden("verbatim", name_of(one), str(one.prompt), one.reference) for one in problems),
        *(made for one in problems for made in _renamed(one)),
        *_paraphrases(),
        *_translated(shared),
    ]


def name_of(problem: Problem) -> str:
    """The benchmark's own id."""
    return str(problem.meta["task_id"])


def _renamed(problem: Problem) -> Iterator[Hidden]:
    """With other names in the program: once beside its statement, once alone."""
    tree = parsed(problem.reference or "")
    if tree is None:
        return
    names = _Names(tree)
    code = ast.unparse(names.visit(tree))
    name = problem.entry_point
    text = str(problem.prompt).replace(name, names.names.get(name, name)) if name else str(problem.prompt)
    yield Hidden("renamed", name_of(problem), text, code)
    yield Hidden("renamed, code alone", name_of(problem), "Write a program.", _without_docstrings(code))


class _Names(ast.NodeTransformer):
    """Gives what a program names itself other names."""

    def __init__(self, tree: ast.AST) -> None:
        own: dict[str, None] = {}
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                    own[name] = None
                case ast.Name(id=name, ctx=ast.Store()):
                    own[name] = None
        kept = (name for name in own if not hasattr(builtins, name))
        self.names = {name: f"quantity_{number}" for number, name in enumerate(kept)}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self.names.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return node


def _without_docstrings(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _paraphrases() -> Iterator[Hidden]:
    for _, row in rows(PARAPHRASES):
        kind = "reworded" if row["kind"] == "reworded" else "another natural language"
        yield Hidden(kind if row.get("code") else f"{kind}, no code", row["task_id"], row["text"], row.get("code"))


def _translated(shared: Path) -> Iterator[Hidden]:
    for language in LANGUAGES:
        for _, row in rows(shared / "data" / "eval" / "humaneval-x" / f"humaneval_{language}.jsonl.gz"):
            number = row["task_id"].partition("/")[2]
            text = f"{row['prompt']}{row['canonical_solution']}"
            yield Hidden("another programming language", f"HumanEval/{number}", text, None)


def clean(shared: Path, count: int) -> list[Hidden]:
    """So many distinct rows, the rarer kinds first."""
    found: dict[tuple[str, str | None], Hidden] = {}
    for row in chain(_instructions(shared), _exercises(shared), _offline()):
        found.setdefault((row.text, row.code), row)
        if len(found) == count:
            break
    return list(found.values())


def _instructions(shared: Path) -> Iterator[Hidden]:
    folder = shared / "data"
    for file in ("oasstcommitpackft.jsonl", "oasstcommitpackftmanual.jsonl"):
        for _, row in rows(folder / "instruct" / file):
            yield Hidden(CLEAN, file, f"{row['prompt']}\n{row['completion']}", None)
    for _, row in rows(folder / "instruct" / "self-instruct_seed_tasks.jsonl"):
        answer = "\n".join(f"{one['input']}\n{one['output']}" for one in row["instances"])
        yield Hidden(CLEAN, "self-instruct", f"{row['instruction']}\n{answer}", None)
    for path in sorted((folder / "multitask" / "t0_samples").glob("*.jsonl")):
        for _, row in rows(path):
            yield Hidden(CLEAN, path.stem, f"{row['prompt']}\n{row['completion']}", None)


def _exercises(shared: Path) -> Iterator[Hidden]:
    for name in ("exercism_python_practice", "quixbugs_python"):
        for problem in read(shared / "data" / "tasks" / f"{name}.jsonl", Problem):
            yield Hidden(CLEAN, name, str(problem.prompt), problem.reference)


def _offline() -> Iterator[Hidden]:
    """Endless: problems of the offline family, drawn anew."""
    family, random = Family(OFFLINE), Random(0)
    while True:
        domain = random.choice(sorted(VARIABLE))
        steps = [family.draw(domain, "step", random) for _ in range(random.randrange(MAX_OPERATIONS))]
        task = Task(domain, (*steps, family.draw(domain, "end", random)))  # type: ignore[arg-type]
        if not task.is_vacuous():
            yield Hidden(CLEAN, "offline family", task.text, task.program())
