"""Run hostile programs through the pool, an honest one between every two, and compare with what each must come to.

    python scripts/bench/hostile.py HOSTILE.jsonl --isolation A

Looks at verdicts only. It may take the machine down: run it inside a bounded box that looks for damage (README.md).
"""

import argparse
import json
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from align.errors import AlignError, BackendError, DataError
from align.execute import Execution, Pool, program_for
from align.execute.isolation import LEVELS
from align.execute.program import Program
from align.io import rows
from align.schema import NO_VERDICT, Problem

Form = Literal["check", "calls"]
FORMS: tuple[Form, ...] = ("check", "calls")
MISTAKE = 2
REASONS = ("memory", "output_limit")
OUTCOMES = ("compile_error", "runtime_error", "timeout", "wrong_answer", "pass", *REASONS)
HONEST = {
    "add": "def add(a, b):\n    return a + b\n",
    "sort_list": "def sort_list(xs):\n    return sorted(xs)\n",
    "mean": "def mean(xs):\n    return sum(xs) / len(xs)\n",
    "colmean": "def colmean(m):\n    return [sum(column) / len(column) for column in zip(*m)]\n",
    "greet": 'def greet(name):\n    return f"Hello, {name}!"\n',
    "is_prime": "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, n))\n",
}
"""Right programs, by entry point."""
TABLE = """import json
INPUTS, EXPECTED = json.loads({inputs!r}), json.loads({expected!r})
def {entry_point}(*args):
    return EXPECTED[INPUTS.index(list(args))]
"""
"""A right program for any other problem: it looks the answers up."""


@dataclass(frozen=True)
class Case:
    """One hostile program in one form, and the honest one that runs after it."""

    row: dict[str, Any]
    form: Form
    problem: Problem
    neighbour: Program


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    id: str
    kind: str
    form: Form
    must: str
    outcome: str
    reason: str | None
    right: bool
    forged: bool
    """It passed, and must not."""
    neighbour: str
    """The honest program's outcome."""
    stderr_tail: str | None

    @property
    def missed(self) -> bool:
        """Whether something is wrong."""
        return not self.right or self.neighbour != "passed"


def main(argv: Sequence[str] | None = None) -> int:
    """The whole check; returns the exit code: 0 if nothing was missed, else 1; 2 for a mistake."""
    arguments = parser().parse_args(argv)
    try:
        found = [(where, row) for where, row in rows(arguments.file)]
        for where, row in found:
            refuse_odd(where, row)
        return check([row for _, row in found], arguments)
    except AlignError as error:
        print(f"hostile: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="hostile", description="Run hostile programs and compare their verdicts.")
    found.add_argument("file", type=Path, metavar="HOSTILE.jsonl")
    found.add_argument("--isolation", choices=LEVELS, default="auto")
    found.add_argument("--workers", type=int, metavar="N", help="programs at once; by default the cores")
    found.add_argument(
        "--form", choices=FORMS, action="append", help="only this form; may be repeated; both by default"
    )
    found.add_argument(
        "--only", action="append", metavar="ID", help="only programs whose id begins so; may be repeated"
    )
    found.add_argument("--out", type=Path, metavar="FILE", help="one line a program, written while they run")
    return found


def refuse_odd(where: str, row: dict[str, Any]) -> None:
    """Raise DataError where a row is not of the known form."""
    lacking = [name for name in ("id", "kind", "prompt", "entry_point", "code", "test", "must") if name not in row]
    if lacking:
        raise DataError(f"{where}: {lacking[0]}: missing: a hostile program has it")
    try:
        accepted(row["must"]["verdict"])
    except (DataError, KeyError, TypeError) as error:
        raise DataError(f"{where}: must: {error}") from None


def check(hostile: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    """Run them all, print what was missed and the table."""
    wanted = [row for row in hostile if not arguments.only or row["id"].startswith(tuple(arguments.only))]
    with Pool(arguments.workers, isolation=arguments.isolation) as pool:
        cases = list(paired(wanted, arguments.form or FORMS, pool))
        print(f"level {pool.level}, {len(wanted)} programs, {len(cases)} runs", flush=True)
    found = list(kept(results(cases, arguments), arguments.out))
    print("\n".join([*misses(found), *table(found)]))
    return 1 if any(result.missed for result in found) else 0


def paired(hostile: list[dict[str, Any]], forms: Sequence[Form], pool: Pool) -> Iterator[Case]:
    """A case a program and form, each with an honest program that passes while nothing hostile runs."""
    plain = [(row, form, problem_of(row, form)) for row in hostile for form in forms if form == "check" or calls(row)]
    programs = [honest(row, problem, f"{form} {number}") for number, (row, form, problem) in enumerate(plain)]
    for (row, form, problem), program, alone in zip(plain, programs, pool.run(programs), strict=True):
        if alone.outcome != "passed":
            raise DataError(
                f"{row['id']} as {form}: a right program of its problem does not pass even before the hostile ones "
                f"({alone.outcome} {alone.reason or ''}, {alone.stderr_tail or ''}): nothing could be concluded"
            )
        yield Case(row, form, problem, honest(row, problem, f"{program.key} again"))


def problem_of(row: dict[str, Any], form: Form) -> Problem:
    """The row as a problem."""
    tests = [row["test"]] if form == "check" else [json.dumps(pair) for pair in calls(row)]
    return Problem(prompt=row["prompt"], entry_point=row["entry_point"], tests=tests, test_kind=form)


def calls(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The row's inputs and expected values; empty where it has none."""
    pairs = zip(row.get("inputs") or [], row.get("expected") or [], strict=True)
    return [{"input": inputs, "output": expected} for inputs, expected in pairs]


def honest(row: dict[str, Any], problem: Problem, mark: str) -> Program:
    """A right program for the row's problem; the mark makes it differ from the others."""
    name = row["entry_point"]
    known = {"inputs": json.dumps(row.get("inputs") or []), "expected": json.dumps(row.get("expected") or [])}
    source = HONEST.get(name) or TABLE.format(entry_point=name, **known)
    return program_for(problem, solution=f"# {mark}\n{source}")


def results(cases: list[Case], arguments: argparse.Namespace) -> Iterator[Result]:
    """Run the cases in order; a pool that gives up on one is a miss, and the next case gets a new pool."""
    waiting = deque(cases)
    while waiting:
        with Pool(arguments.workers, isolation=arguments.isolation) as pool:
            executions = pool.run(in_turn(list(waiting)))
            try:
                while waiting:
                    attack, neighbour = next(executions), next(executions)
                    yield judged(waiting.popleft(), attack, neighbour)
            except BackendError as error:
                yield given_up(waiting.popleft(), error)


def in_turn(cases: list[Case]) -> Iterator[Program]:
    """A hostile program, an honest one, and so on."""
    for case in cases:
        yield program_for(case.problem, solution=case.row["code"])
        yield case.neighbour


def kept(found: Iterator[Result], path: Path | None) -> Iterator[Result]:
    """The same results, each written as soon as it is there: a check that hangs shows where."""
    if path is None:
        yield from found
        return
    with open(path, "w", encoding="utf-8") as out:
        for result in found:
            out.write(json.dumps(asdict(result)) + "\n")
            out.flush()
            yield result


def judged(case: Case, attack: Execution, neighbour: Execution) -> Result:
    """Compare a case's executions with what they must be."""
    must = case.row["must"]["verdict"]
    right = fits(must, attack.outcome, attack.reason)
    forged = attack.outcome == "passed" and not right
    facts = (case.row["id"], case.row["kind"], case.form, must, attack.outcome, attack.reason)
    return Result(*facts, right, forged, neighbour.outcome, attack.stderr_tail)


def given_up(case: Case, error: BackendError) -> Result:
    """What is said where there is no execution."""
    facts = (case.row["id"], case.row["kind"], case.form, case.row["must"]["verdict"], "infra_error", None)
    return Result(*facts, right=False, forged=False, neighbour="not run", stderr_tail=str(error))


def fits(must: str, outcome: str, reason: str | None) -> bool:
    """Whether an outcome is what `must` asks for. None of the outcomes that are no verdict ever is: a program must not
    take itself out of the count."""
    if outcome in NO_VERDICT:
        return False
    names = accepted(must)
    if names is None:
        return outcome != "passed"
    told = "pass" if outcome == "passed" else outcome
    return told in names or (outcome == "runtime_error" and reason in REASONS and reason in names)


def accepted(must: str) -> list[str] | None:
    """The names that a `must.verdict` lists; None for anything but a pass. Notes in brackets say nothing.

    Raises:
        DataError: a name is not known.
    """
    text = re.sub(r"\(.*?\)", "", must).strip()
    if text.startswith("anything but pass"):
        return None
    names = [name.strip() for name in text.split(" or ")]
    for name in names:
        if name not in OUTCOMES:
            raise DataError(f"verdict {name!r} is none of {', '.join(OUTCOMES)}")
    return names


def misses(found: list[Result]) -> Iterator[str]:
    """A line for everything that is not as it must be."""
    for result in found:
        if not result.right:
            got = f"{result.outcome} {result.reason or ''}".strip()
            last = (result.stderr_tail or "").strip().rpartition("\n")[2]
            yield f"{result.id} as {result.form}: {got}, must be {result.must}" + (f" — {last}" if last else "")
        if result.neighbour != "passed":
            yield f"{result.id} as {result.form}: the honest program after it: {result.neighbour}"


def table(found: list[Result]) -> Iterator[str]:
    """One line a kind, in columns."""
    yield f"{'kind':<10}{'runs':>6}{'forged':>8}{'right':>7}{'no verdict':>12}{'honest failed':>15}"
    kinds = sorted({result.kind for result in found})
    for kind in [*kinds, "all"]:
        some = [result for result in found if kind in (result.kind, "all")]
        forged, right = sum(result.forged for result in some), sum(result.right for result in some)
        none = sum(result.outcome in NO_VERDICT for result in some)
        failed = sum(result.neighbour != "passed" for result in some)
        yield f"{kind:<10}{len(some):>6}{forged:>8}{right:>7}{none:>12}{failed:>15}"


if __name__ == "__main__":
    sys.exit(main())
