"""CodeT's setting: 100 real samples a HumanEval problem, and the tests that the same model wrote. Reads; runs nothing.

The truth comes from the problems' own tests, and is only compared with.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.schema import Problem
from align.testgen.matrix import OutcomeMatrix

STOP = re.compile(r"\n(?:class|def|#|if|print)")
"""Where a generated test ends, in CodeT's code."""
PER_GENERATION = 5
"""Asserts taken from one generation, the first."""


@dataclass(frozen=True)
class Setting:
    """One problem with its samples and the tests of each generation."""

    problem: Problem
    solutions: tuple[str, ...]
    """A whole program a sample, in order."""
    tests: tuple[tuple[str, ...], ...]
    """Asserts of each generation."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """A file's rows."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def load(shared: Path) -> list[Setting]:
    """All problems, in HumanEval's order."""
    problems = {row["task_id"]: row for row in rows(shared / "data/eval/HumanEval.jsonl.gz")}
    completions: dict[str, list[str]] = {name: [] for name in problems}
    for row in rows(shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz"):
        completions[row["task_id"]].append(row["completion"])
    tests = {row["task_id"]: row["samples"] for row in rows(shared / "data/ranked/codegen16b_humaneval_tests.jsonl.gz")}
    found = []
    for name, row in problems.items():
        problem = Problem(
            prompt=row["prompt"],
            entry_point=row["entry_point"],
            tests=[row["test"]],
            test_kind="check",
            source="humaneval",
            meta={"task_id": name},
        )
        solutions = tuple(row["prompt"] + completion for completion in completions[name])
        generations = tuple(tuple(asserts(text, row["entry_point"])[:PER_GENERATION]) for text in tests[name])
        found.append(Setting(problem, solutions, generations))
    return found


def asserts(text: str, entry_point: str) -> list[str]:
    """The asserts of a generation that continues `assert `, as CodeT's code cuts them out."""
    parts = [f"assert {part}".strip() for part in f"assert {text}".split("assert ") if entry_point in part]
    cut = [STOP.split(part)[0].strip() for part in parts]
    return [part for part in cut if _compiles(part)]


def _compiles(text: str) -> bool:
    block = text.replace("\n", "\n    ")
    try:
        compile(f"try:\n    {block}\nexcept:\n    pass\n", "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
    return True


def cases(setting: Setting) -> Counter[str]:
    """Distinct asserts, and how many generations' asserts they are."""
    return Counter(test for generation in setting.tests for test in generation)


def stored(shared: Path, settings: list[Setting]) -> list[OutcomeMatrix]:
    """The outcomes that were computed once by another executor."""
    path = shared / "data/ranked/codegen16b_humaneval_dual_matrix.jsonl.gz"
    return [_stored(row, setting) for row, setting in zip(rows(path), settings, strict=True)]


def _stored(row: dict[str, Any], setting: Setting) -> OutcomeMatrix:
    counts = Counter(row["sample_to_solution"])
    first = [row["sample_to_solution"].index(number) for number in range(len(row["bits"]))]
    return OutcomeMatrix(
        problem_id=setting.problem.id,
        cases=tuple(row["tests"]),
        case_counts=tuple(row["test_freq"]),
        programs=tuple(setting.solutions[place] for place in first),
        program_counts=tuple(counts[number] for number in range(len(row["bits"]))),
        outcomes=tuple(row["bits"]),
    )
