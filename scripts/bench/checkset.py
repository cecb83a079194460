"""The checks that every tool is measured on: canonical solutions and real samples of HumanEval. Judges nothing."""

import ast
import copy
import importlib.util
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from align.errors import DataError
from align.io import rows

Row = dict[str, Any]
Check = dict[str, Any]

PROBLEMS = Path("data/eval/HumanEval.jsonl.gz")
SAMPLES = Path("data/ranked/codegen16b_humaneval_samples.jsonl.gz")
WARM = ("    pass\n# warm\n", "    import numpy\n# warm\n")
"""Completions that run before anything is measured, one a profile."""


def problems(shared: Path, every: int) -> dict[str, Row]:
    """HumanEval's rows by name, every n-th, with the inputs of their tests and what these must give."""
    found = {}
    for _, row in islice(rows(shared / PROBLEMS), 0, None, every):
        inputs, expected = recorded(row)
        found[row["task_id"]] = {**row, "inputs": literal(inputs, row), "expected": literal(expected, row)}
    return found


def recorded(row: Row) -> tuple[list[Any], list[Any]]:
    """What the canonical solution is called with by its tests, and what it returns: evalplus judges by these."""
    space: dict[str, Any] = {}
    name = row["entry_point"]
    exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], space)
    solution = space[name]
    inputs: list[Any] = []
    expected: list[Any] = []

    def recorder(*arguments: Any) -> Any:
        inputs.append(copy.deepcopy(list(arguments)))
        value = solution(*arguments)
        expected.append(copy.deepcopy(value))
        return value

    # 33's tests call the solution by its name; solutions that call themselves keep their own
    tests = {**space, name: recorder}
    exec(row["test"], tests)
    tests["check"](recorder)
    return inputs, expected


def literal(value: Any, row: Row) -> str:
    """The value as a Python literal: JSON would turn tuples into lists."""
    text = repr(value)
    if ast.literal_eval(text) != value:
        raise DataError(f"{row['task_id']}: its inputs are no literals: measure without it")
    return text


def canonical(found: dict[str, Row], count: int) -> list[Check]:
    """So many spellings of each canonical solution: distinct texts that do the same."""
    return [
        made(row, f"{row['canonical_solution']}\n# spelling {number}\n")
        for row in found.values()
        for number in range(count)
    ]


def real(found: dict[str, Row], shared: Path, count: int) -> list[Check]:
    """The first distinct samples of each problem."""
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    for _, sample in rows(shared / SAMPLES):
        texts[sample["task_id"]].setdefault(sample["completion"])
    return [made(row, text) for name, row in found.items() for text in islice(texts[name], count)]


def with_numpy(checks: Iterable[Check], found: dict[str, Row]) -> list[Check]:
    """The same programs, each importing numpy."""
    return [made(found[check["problem"]], f"{check['completion']}\nimport numpy\n") for check in checks]


def made(row: Row, completion: str) -> Check:
    """One completion of a problem; `source` is all of it in one program."""
    source = f"{row['prompt']}{completion}\n{row['test']}\ncheck({row['entry_point']})\n"
    return {"problem": row["task_id"], "completion": completion, "source": source, "numpy": "numpy" in source}


def work(checks: list[Check], found: dict[str, Row]) -> dict[str, Any]:
    """All that a tool needs, as plain data."""
    first = next(iter(found.values()))
    spec = importlib.util.find_spec("numpy")
    return {
        "problems": found,
        "checks": checks,
        "warm": [made(first, completion) for completion in WARM],
        "path": [str(Path(spec.origin).parents[1])] if spec and spec.origin else [],
    }
