"""`align score`: its options, its files and its table. What is computed stands in `scoring`."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..execute import Profile
from ..execute.cache import NAME
from ..execute.isolation import LEVELS
from ..io import make_way, read, write, write_json
from ..schema import Problem
from .evalplus import data_hash, evalplus_results
from .passk import Interval
from .samples import read_samples
from .scoring import Score, score_samples


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--problems", required=True, help="problems with tests, in any known form")
    parser.add_argument(
        "--samples",
        required=True,
        help="rows {task_id, completion} or {task_id, solution}, or a folder of solutions as in HumanEval_0/0.py",
    )
    parser.add_argument("--out", type=Path, metavar="V", help="write one verdict a sample here, in input order")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here")
    parser.add_argument(
        "--evalplus-results", type=Path, metavar="F", help="write the result file that evalplus.evaluate reads here"
    )
    parser.add_argument("--k", type=_ks, default=[1], metavar="1,10,100", help="the k of pass@k")
    parser.add_argument("--workers", type=_count, metavar="N", help="programs run at once; by default one a core")
    parser.add_argument("--timeout", type=_seconds, metavar="CPU_S", help="CPU seconds a program")
    parser.add_argument("--isolation", choices=LEVELS, default="auto", help="isolation level of the programs")
    parser.add_argument("--python", metavar="PATH", help="interpreter or virtual environment that runs the programs")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep results here and reuse them")
    parser.add_argument("--partial", action="store_true", help="leave out problems that have no samples")
    parser.set_defaults(command=main)


def main(args: argparse.Namespace) -> int:
    """Score, write what was asked for, print the table; 0 whatever the verdicts.

    Raises:
        DataError: the problems or the samples are wrong, with their place, or an output cannot be written.
        BackendError: programs cannot be run on this machine.
    """
    _check_outputs(args)
    problems = read(args.problems, Problem)
    if not problems:
        raise DataError(f"{args.problems}: no problems")
    samples = read_samples(args.samples, problems)
    problems_hash = data_hash(Path(args.problems)) if args.evalplus_results else ""
    score = score_samples(
        problems,
        samples,
        k=args.k,
        workers=args.workers,
        timeout=args.timeout,
        isolation=args.isolation,
        cache=args.cache / NAME if args.cache else None,
        profile=Profile(args.python) if args.python else None,
        partial=args.partial,
    )
    if args.out:
        write(args.out, score.verdicts)
    if args.json:
        write_json(args.json, figures(score))
    if args.evalplus_results:
        write_json(args.evalplus_results, evalplus_results(samples, score.executions, problems_hash))
    print("\n".join(table(score)))
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse before the programs run what could not be written after them, or would take the place of another file."""
    taken = {Path(args.problems).resolve(): "--problems", Path(args.samples).resolve(): "--samples"}
    for option, path in (("--out", args.out), ("--json", args.json), ("--evalplus-results", args.evalplus_results)):
        if path is not None:
            make_way(path)
            if (other := taken.setdefault(path.resolve(), option)) != option:
                raise DataError(f"{path}: given as {other} and as {option}: name another file")


def figures(score: Score) -> dict[str, Any]:
    """The score as plain data, in percent. `n` is the samples a problem, `samples` all of them."""
    return {
        "pass@k": {str(k): _percent(value) for k, value in score.pass_at.items()},
        "outcomes": score.outcomes,
        "problems": score.problems,
        "unscored": score.unscored,
        "n": score.samples_per_problem,
        "samples": len(score.verdicts),
        "one_distinct_sample": score.one_distinct,
        "isolation": score.isolation,
        "seconds": round(score.seconds, 3),
        "programs_run": score.executed,
        "programs_per_s": round(score.executed / score.seconds, 1),
    }


def table(score: Score) -> Iterator[str]:
    """What is printed."""
    told = figures(score)
    for k, (value, low, high) in told["pass@k"].items():
        yield f"{'pass@' + k:<14} {value:7.3f} %   95 % interval [{low:.3f}, {high:.3f}]"
    for outcome, count in sorted(score.outcomes.items(), key=lambda item: -item[1]):
        yield f"{outcome:<14} {count:7d}"
    yield f"{told['samples']} samples of {told['problems']} problems, n = {told['n']}, isolation {told['isolation']}"
    yield f"{told['seconds']:.1f} s, {told['programs_run']} programs run, {told['programs_per_s']} programs/s"
    if score.one_distinct:
        yield f"{score.one_distinct} problems have one distinct sample"
    if score.unscored:
        yield f"not scored, their tests cannot be run: {_names(score.unscored)}"
    if score.failed_references:
        yield f"reference does not pass, general limit used: {_names(score.failed_references)}"


def _names(tasks: list[str]) -> str:
    return ", ".join(tasks[:5]) + (f", … ({len(tasks)} in all)" if len(tasks) > 5 else "")


def _percent(value: Interval) -> list[float]:
    return [round(100 * part, 3) for part in value]


def _ks(text: str) -> list[int]:
    return sorted({_count(part) for part in text.split(",")})


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {json.dumps(text)}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {json.dumps(text)}")
    return seconds
