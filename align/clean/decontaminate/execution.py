"""Find paraphrases by running: a row's functions are tried on the benchmarks' tests.

Rows of a public Evol set pass the tests of 82 of 164 HumanEval problems, and share no run of words with them.

Rows times problems are too many to run. So a function is first called, in one program, with one or two inputs of every
problem that takes as many arguments; what it gets right is then run on all tests of that problem. Problems that say
too little (`probes`) or that anybody's program solves (`trivial`) are not looked for. All programs run in
`align.execute`'s sandbox. A function that a test cannot call by itself is not tried, and neither is a program that
reads and prints.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from ...execute import Execution, Pool, Program, program_for
from ...execute.service import Client
from ...schema import Limits, Problem
from .functions import Function, functions
from .hit import Hit
from .probes import CANDIDATE, SETUP, Probed, probed
from .sought import Sought
from .trivial import trivial_programs

BATCH = 2000
"""Rows taken in at a time: their programs wait for each other."""
SWEEP = Limits(cpu_seconds=2.0)
"""Of a program that makes the first calls of all problems."""

Runner = Pool | Client
Pair = tuple[int, Function, Probed]


@dataclass
class Examined:
    """What was run so far."""

    rows: int = 0
    without_function: int = 0
    """Rows with no program that parses and has a function."""
    swept: int = 0
    """Programs that made first calls."""
    unfinished: int = 0
    """Of them, those that ended before their last call: what they had not yet tried was not looked for."""
    tested: int = 0
    """Programs run on all tests of one problem."""


@dataclass(frozen=True)
class Sweep:
    """The first calls of all problems with one number of arguments."""

    arity: int
    found: tuple[Probed, ...]

    @cached_property
    def problem(self) -> Problem:
        """The calls as the asserts of one problem."""
        chosen = [probe for one in self.found for probe in one.first]
        references = "\n".join(probe.reference for probe in chosen if probe.reference)
        setup = f"{SETUP}\n{references}\n" if any("alike_" in probe.source for probe in chosen) else None
        return Problem(
            prompt="",
            entry_point=CANDIDATE,
            tests=[probe.source for probe in chosen],
            test_setup=setup,
            limits=SWEEP,
        )

    def passed(self, ran: Execution) -> Iterator[Probed]:
        """The problems all of whose calls gave what they must."""
        failed = set(ran.failed_tests or ()) if ran.outcome == "passed" or ran.failed_tests is not None else None
        place = 0
        for one in self.found:
            places = range(place, place + len(one.first))
            place += len(one.first)
            if failed is not None and failed.isdisjoint(places):
                yield one


@dataclass
class Examiner:
    """Benchmarks that rows' programs are tried on.

    Args:
        sought: the problems.
        pool: runs the programs.
    """

    sought: Sequence[Sought]
    pool: Runner
    examined: Examined = field(default_factory=Examined)

    @cached_property
    def looked_for(self) -> list[Probed]:
        """The problems that say enough and that no program of `trivial` solves."""
        telling = [one for one in probed(self.sought) if one.is_telling]
        programs = enumerate(trivial_programs())
        solved = {pair[2].sought for pairs in self._solved(programs, telling, Examined()) for pair, _ in pairs}
        return [one for one in telling if one.sought not in solved]

    def find(self, rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Hit]]:
        """The rows that solve a benchmark's problem, in order, with the first problem that they solve."""
        sought = self.looked_for
        for pairs in self._solved(rows, sought, self.examined):
            told: set[int] = set()
            for (row, function, one), ran in pairs:
                if row not in told:
                    told.add(row)
                    evidence = f"{function.called} passes {ran.tests_passed} of {ran.tests_total} tests"
                    yield row, Hit("execution", one.sought.benchmark, one.sought.name, evidence)

    def _solved(
        self, rows: Iterable[tuple[int, str]], found: Sequence[Probed], examined: Examined
    ) -> Iterator[list[tuple[Pair, Execution]]]:
        """Batch by batch, which function of which row passes all tests of which problem; in order of rows."""
        by_arity: dict[int, list[Probed]] = defaultdict(list)
        for one in found:
            by_arity[one.arity].append(one)
        sweeps = [Sweep(arity, tuple(ones)) for arity, ones in sorted(by_arity.items())]
        source = iter(rows)
        while batch := list(islice(source, BATCH)):
            pairs = self._likely(_cut(batch, examined), sweeps, examined)
            runs = self.pool.run(_on_all_tests(function, one) for _, function, one in pairs)
            passed = [(pair, ran) for pair, ran in zip(pairs, runs, strict=True) if ran.outcome == "passed"]
            examined.tested += len(pairs)
            place = {row: number for number, (row, _) in enumerate(batch)}
            order = {one: number for number, one in enumerate(found)}
            yield sorted(passed, key=lambda entry: (place[entry[0][0]], order[entry[0][2]]))

    def _likely(self, cut: Sequence[tuple[int, Function]], sweeps: Sequence[Sweep], examined: Examined) -> list[Pair]:
        """What passes the first calls of a problem, problem by problem: one tester serves all programs of one."""
        tries = [(row, function, sweep) for sweep in sweeps for row, function in cut if function.takes(sweep.arity)]
        programs = (_on_first_calls(function, sweep) for _, function, sweep in tries)
        pairs: list[Pair] = []
        for (row, function, sweep), ran in zip(tries, self.pool.run(programs), strict=True):
            examined.swept += 1
            examined.unfinished += ran.outcome == "timeout" or ran.reason in ("memory", "output_limit")
            pairs += [(row, function, one) for one in sweep.passed(ran)]
        return sorted(pairs, key=lambda pair: pair[2].sought.problem.id)


def _cut(batch: Sequence[tuple[int, str]], examined: Examined) -> list[tuple[int, Function]]:
    cut = [(row, functions(code)) for row, code in batch]
    examined.rows += len(batch)
    examined.without_function += sum(not own for _, own in cut)
    return [(row, function) for row, own in cut for function in own]


def _on_first_calls(function: Function, sweep: Sweep) -> Program:
    return program_for(sweep.problem, solution=function.limited())


def _on_all_tests(function: Function, one: Probed) -> Program:
    problem = one.sought.problem
    return program_for(problem, solution=function.named(problem.entry_point or CANDIDATE))
