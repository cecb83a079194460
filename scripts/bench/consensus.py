"""Choosing among samples without true tests: CodeT's setting on real samples, from stored outcomes and from scratch.

    python scripts/bench/consensus.py --shared DIR [--quick] [--json FILE]

Prints top-1 accuracy by rule, the executed outcomes beside the stored ones, what an execution cost, and rules at few
samples (`few`). Exit code 1: a figure that must be exact is not; 2: a mistake.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import few
import usage
from codet import Setting, cases, load, stored

from align.errors import AlignError
from align.execute import Pool, program_for
from align.execute.isolation import LEVELS
from align.io import write_json
from align.testgen.consensus import expected
from align.testgen.matrix import OutcomeMatrix, run_matrix

BASELINE, CONSENSUS = 22.116, 37.243
"""From the stored outcomes, exactly."""
EXACT_RULES = ("random", "codet", "distinct")
CASE_SECONDS = 0.1
QUICK_STEP, DRAWS, QUICK_DRAWS, SEED = 16, 50, 5, 0
SHOWN = 12
MISTAKE = 2
Right = list[dict[str, bool]]


@dataclass(frozen=True)
class Executed:
    """Outcomes from scratch, and their cost."""

    matrices: list[OutcomeMatrix]
    seconds: float
    cpu_seconds: float

    @property
    def programs(self) -> int:
        """How many were run."""
        return sum(len(matrix.programs) for matrix in self.matrices)

    @property
    def pairs(self) -> int:
        """Of a program and a case."""
        return sum(len(matrix.programs) * len(matrix.cases) for matrix in self.matrices)

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a pair, of all processes."""
        return 1000 * self.cpu_seconds / self.pairs


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; its exit code."""
    arguments = parser().parse_args(argv)
    try:
        settings = load(arguments.shared)
        if arguments.matrices:
            execute(settings, arguments)
            return 0
        return bench(settings, arguments)
    except (AlignError, OSError) as error:
        print(f"consensus: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="consensus", description=(__doc__ or "").partition("\n")[0])
    shared = Path(os.environ.get("ALIGN_TEST_DATA", "../shared"))
    found.add_argument("--shared", type=Path, default=shared, metavar="DIR", help="the folder that holds data/")
    found.add_argument("--quick", action="store_true", help=f"every {QUICK_STEP}th problem, {QUICK_DRAWS} draws")
    found.add_argument("--workers", type=int, help="programs run at once; by default the cores")
    found.add_argument("--isolation", choices=("auto", *LEVELS), default="auto")
    found.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    found.add_argument("--matrices", type=Path, metavar="FILE", help="only execute, and write the outcomes there")
    return found


def bench(settings: list[Setting], arguments: argparse.Namespace) -> int:
    """Measure, print and write; the exit code."""
    step, draws = (QUICK_STEP, QUICK_DRAWS) if arguments.quick else (1, DRAWS)
    print(f"{date.today()}  Python {platform.python_version()}  {os.cpu_count()} cores  seed {SEED}")
    known = stored(arguments.shared, settings)
    right = truth(settings, arguments)
    figures = {name: accuracy(known, right, name) for name in EXACT_RULES}
    print("\nfrom the stored outcomes, 164 problems, top-1 %:", shown(figures), flush=True)
    done = executed(arguments)
    scratch = {name: accuracy(done.matrices, right[::step], name) for name in EXACT_RULES}
    print(f"from scratch, {len(done.matrices)} problems, {done.programs} programs, {done.pairs} pairs:", shown(scratch))
    print(f"  {done.seconds:.0f} s, {done.cpu_seconds:.0f} CPU s: {done.cpu_ms:.3f} CPU ms a pair")
    compare(known[::step], done.matrices)
    problems = [few.Problem(*triple) for triple in zip(settings[::step], done.matrices, right[::step], strict=True)]
    own = table(problems, "own", draws)
    table(problems, "all", draws)
    measured = [few.chosen_and_measured(own, half) for half in (0, 1)]
    for half, lines in zip(("even", "odd"), measured, strict=True):
        print(f"\nchosen on the problems at {half} places: {lines[0].rule!r}; on the others, with own tests:")
        for line in lines:
            gain = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*line.gain)
            print(f"  n = {line.size:2}: {line.value:.1f} %, CodeT's rule {line.base:.1f}: {gain}")
    if arguments.json:
        write_json(arguments.json, record(figures, scratch, measured, done))
    exact = (round(figures["random"], 3), round(figures["codet"], 3)) == (BASELINE, CONSENSUS)
    if not exact:
        print(f"wrong: the stored outcomes give {BASELINE} and {CONSENSUS}", file=sys.stderr)
    return 0 if exact else 1


def record(
    figures: dict[str, float], scratch: dict[str, float], measured: list[list[few.Measured]], done: Executed
) -> dict[str, Any]:
    """The figures as JSON has them; `best` is the rule chosen on even places, measured on odd ones, at n = 16."""
    by_size = {f"n{line.size}": line.value for line in measured[0]}
    return {
        "baseline": figures["random"],
        "consensus": figures["codet"],
        "distinct": figures["distinct"],
        "from_scratch": scratch["codet"],
        "best": measured[0][-1].value,
        "rule": measured[0][0].rule,
        **by_size,
        "halves": [[asdict(line) for line in lines] for lines in measured],
        "executions": done.programs,
        "pairs": done.pairs,
        "seconds": done.seconds,
        "cpu_ms_a_pair": done.cpu_ms,
    }


def shown(figures: dict[str, float]) -> str:
    """Figures in one line."""
    return "  ".join(f"{name} {value:.3f}" for name, value in figures.items())


def accuracy(matrices: Sequence[OutcomeMatrix], right: Right, rule: str) -> float:
    """Expected top-1 in percent."""
    values = [
        expected(matrix, few.RULES[rule](matrix), [float(known[source]) for source in matrix.programs])
        for matrix, known in zip(matrices, right, strict=True)
    ]
    return 100 * few.mean(values)


def truth(settings: list[Setting], arguments: argparse.Namespace) -> Right:
    """Whether each distinct program passes the problem's own tests."""
    since = time.monotonic()
    todo = [(place, source) for place, setting in enumerate(settings) for source in dict.fromkeys(setting.solutions)]
    found: Right = [{} for _ in settings]
    with Pool(arguments.workers, isolation=arguments.isolation) as pool:
        programs = (program_for(settings[place].problem, solution=source) for place, source in todo)
        for (place, source), execution in zip(todo, pool.run(programs), strict=True):
            found[place][source] = execution.outcome == "passed"
    print(f"truth: {len(todo)} programs on the problems' own tests, {time.monotonic() - since:.0f} s")
    return found


def executed(arguments: argparse.Namespace) -> Executed:
    """Run this script's execution in a process of its own, so that the CPU time of all its processes is known."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "matrices.jsonl")
        command = [sys.executable, __file__, "--shared", str(arguments.shared), "--matrices", str(path)]
        command += ["--quick"] * arguments.quick + ["--isolation", arguments.isolation]
        command += ["--workers", str(arguments.workers)] if arguments.workers else []
        since = time.monotonic()
        cpu = usage.cpu_seconds(command)
        lines = path.read_text(encoding="ascii").splitlines()
        fields = [{name: tuplet(value) for name, value in json.loads(line).items()} for line in lines]
        return Executed([OutcomeMatrix(**row) for row in fields], time.monotonic() - since, cpu)


def tuplet(value: Any) -> Any:
    """JSON's lists as they were."""
    return tuple(value) if isinstance(value, list) else value


def execute(settings: list[Setting], arguments: argparse.Namespace) -> None:
    """Run every program on every generated test, and write the matrices."""
    chosen = settings[:: QUICK_STEP if arguments.quick else 1]
    items = ((setting.problem, setting.solutions, list(cases(setting).elements())) for setting in chosen)
    options = {"workers": arguments.workers, "isolation": arguments.isolation, "timeout": CASE_SECONDS}
    with open(arguments.matrices, "w", encoding="ascii") as file:
        for matrix in run_matrix(items, **options):
            file.write(json.dumps(asdict(matrix)) + "\n")


def compare(known: Sequence[OutcomeMatrix], found: Sequence[OutcomeMatrix]) -> None:
    """The share of equal cells, and what the others are."""
    pairs: Counter[str] = Counter()
    for old, new in zip(known, found, strict=True):
        places = {case: place for place, case in enumerate(new.cases)}
        for row, source in enumerate(old.programs):
            outcomes = new.outcomes[new.index[source]]
            ours = (outcomes[places[case]] for case in old.cases)
            pairs.update(letter + other for letter, other in zip(old.outcomes[row], ours, strict=True))
    total = sum(pairs.values())
    same = 100 * sum(count for pair, count in pairs.items() if pair[0] == pair[1]) / total
    passes = 100 * sum(count for pair, count in pairs.items() if (pair[0] == "1") == (pair[1] == "1")) / total
    print(f"  as stored: {same:.3f} % of cells, {passes:.3f} % as to passing; the others, stored and ours:")
    others = sorted(((count, pair) for pair, count in pairs.items() if pair[0] != pair[1]), reverse=True)
    print("   ", "  ".join(f"{pair} {count}" for count, pair in others[:SHOWN]), flush=True)


def table(problems: Sequence[few.Problem], protocol: few.Protocol, draws: int) -> dict[int, dict[str, list[float]]]:
    """Every rule at every size; printed, and a value a problem."""
    rules = list(few.RULES)
    found: dict[int, dict[str, list[float]]] = {}
    for size in few.SIZES:
        rows = [few.scores(problem, size, protocol, rules, draws, SEED) for problem in problems]
        found[size] = {name: [row[place] for row in rows] for place, name in enumerate(rules)}
    whose = "the same n generations" if protocol == "own" else "all 100 generations"
    print(f"\nn samples, tests of {whose}, {draws} draws, top-1 %")
    print(f"{'rule':16}" + "".join(f"{f'n = {size}':>9}" for size in few.SIZES))
    for name in rules:
        print(f"{name:16}" + "".join(f"{100 * few.mean(found[size][name]):9.2f}" for size in few.SIZES), flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
