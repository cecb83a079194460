"""Read a file or a folder of samples, match them to problems, and refuse what gives wrong numbers. Runs nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..execute import Program, program_for
from ..io import rows
from ..rank.unit_tests import index_problems
from ..schema import Problem


@dataclass(frozen=True)
class Sample:
    """One row of a sample file, matched to its problem."""

    task_id: str | int
    """As the row has it."""
    index: int
    problem: Problem
    form: str
    """`completion` or `solution`."""
    text: str

    def program(self) -> Program:
        """What is run."""
        return program_for(self.problem, **{self.form: self.text})


def read_samples(path: str | Path, problems: Sequence[Problem]) -> list[Sample]:
    """Samples `{task_id, completion}` or `{task_id, solution}`, with or without `sample_index`, matched to problems.

    `task_id` is the problem's own (`meta["task_id"]`) or our `id`. Of a folder, see `folder_rows`.

    Raises:
        DataError: with `file:line`: an unknown task, a row without a text, an index given twice; or an empty file.
    """
    index = index_problems(problems)
    ordinals: Counter[str] = Counter()
    taken: set[tuple[str, int]] = set()
    samples = []
    for where, row in folder_rows(Path(path)) if Path(path).is_dir() else rows(path):
        problem = _problem(row, index, where)
        form = _form(row, where)
        position = _position(row, ordinals[problem.id], where)
        if (problem.id, position) in taken:
            raise DataError(f"{where}: task {row['task_id']!r} has a sample {position} already: mend sample_index")
        taken.add((problem.id, position))
        ordinals[problem.id] += 1
        samples.append(Sample(row["task_id"], position, problem, form, row[form]))
    if not samples:
        raise DataError(f"{path}: no samples")
    return samples


def folder_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Samples that stand as `HumanEval_0/0.py`, whole solutions, as rows with their place.

    Raises:
        DataError: a file cannot be read.
    """
    for path in sorted(folder.glob("*/*.py"), key=lambda path: (_natural(path.parent.name), _natural(path.stem))):
        try:
            solution = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from None
        yield str(path), {"task_id": path.parent.name.replace("_", "/"), "solution": solution}


def check_samples(
    problems: Sequence[Problem], by_problem: Mapping[str, Sequence[Sample]], k: Sequence[int], *, partial: bool
) -> int:
    """Refuse what would give a wrong number; returns how many problems have one distinct sample.

    Raises:
        DataError: a problem without tests, or without samples (unless `partial`), k > n, or k > 1 on greedy samples.
    """
    for problem in problems:
        if problem.id in by_problem and not problem.tests:
            raise DataError(
                f"problem {own_id(problem)!r} has no tests: add them (a tests stage does), or leave its samples out"
            )
    lacking = [own_id(problem) for problem in problems if problem.id not in by_problem]
    if lacking and not partial:
        named = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
        raise DataError(f"{len(lacking)} of {len(problems)} problems have no samples ({named}): add them, or --partial")
    fewest = min(by_problem.values(), key=len)
    if max(k) > len(fewest):
        task = fewest[0].task_id
        raise DataError(f"k = {max(k)} needs {max(k)} samples a problem, task {task!r} has {len(fewest)}: lower --k")
    one_distinct = sum(len({sample.text for sample in found}) == 1 for found in by_problem.values())
    if max(k) > 1 and one_distinct == len(by_problem):
        raise DataError(
            f"k = {max(k)}, but every problem's samples are identical, as greedy decoding makes them:"
            " sample at a temperature, or --k 1"
        )
    return one_distinct


def own_id(problem: Problem) -> str:
    """The user's own id of a problem, where it has one."""
    return str(problem.meta.get("task_id", problem.meta.get("id", problem.id)))


def _problem(row: Mapping[str, Any], index: Mapping[str, Problem], where: str) -> Problem:
    if "task_id" not in row:
        raise DataError(f"{where}: task_id: missing (columns: {', '.join(row)})")
    problem = index.get(str(row["task_id"]))
    if problem is None:
        raise DataError(f"{where}: task_id {row['task_id']!r} is none of the problems: mend it, or add its problem")
    return problem


def _form(row: Mapping[str, Any], where: str) -> str:
    given = [name for name in ("completion", "solution") if row.get(name) is not None]
    if len(given) != 1:
        raise DataError(f"{where}: expected one of completion and solution, found {' and '.join(given) or 'neither'}")
    if not isinstance(row[given[0]], str):
        raise DataError(f"{where}: {given[0]}: expected text, found {type(row[given[0]]).__name__}")
    return given[0]


def _position(row: Mapping[str, Any], ordinal: int, where: str) -> int:
    given = row.get("sample_index", ordinal)
    if type(given) is not int or given < 0:
        raise DataError(f"{where}: sample_index: expected a whole number from 0, found {given!r}")
    return given


def grouped(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Samples by their problem's id."""
    groups: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.problem.id].append(sample)
    return dict(groups)


def _natural(name: str) -> tuple[str, int]:
    """`HumanEval_10` comes after `HumanEval_9`."""
    digits = name[len(name.rstrip("0123456789")) :]
    return name.removesuffix(digits), int(digits or 0)
