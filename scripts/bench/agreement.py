"""Judge real samples by `align score` and by `evalplus.evaluate`, and compare verdict by verdict.

    python scripts/bench/agreement.py --shared DIR

Both read one problem file of EvalPlus's form, made from HumanEval: the inputs that `check` calls the canonical solution
with, as JSON has them. Base tests only. evalplus runs in a process of its own, with its cache in a new folder; it is no
sandbox, and the samples are benign.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from checkset import PROBLEMS, SAMPLES, recorded

from align import cli
from align.errors import AlignError, BackendError
from align.execute import Pool, program_for
from align.execute.isolation import LEVELS, Requested
from align.io import read, rows, write_json
from align.schema import Problem

BROKEN = ("HumanEval/32",)
"""evalplus 0.3.1 fails every solution of it: where it compares roots of a polynomial, it counts no test as passed."""
ATOL = {"HumanEval/32": 1e-4}
EVERY, SAMPLES_EACH = 8, 5
MISTAKE = 2
Verdicts = dict[tuple[str, int], str]


def main(argv: Sequence[str] | None = None) -> int:
    """The whole comparison; returns the exit code: 0 where all verdicts agree, else 1; 2 for a mistake."""
    arguments = parser().parse_args(argv)
    try:
        if importlib.util.find_spec("evalplus") is None:
            raise BackendError("evalplus is missing: pip install -c scripts/constraints.txt '.[bench]'")
        with tempfile.TemporaryDirectory(prefix="align-agreement-") as folder:
            return compare(arguments, Path(folder))
    except AlignError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="agreement", description="Our verdicts beside evalplus's, on one file.")
    found.add_argument("--shared", type=Path, default=Path("../shared"), metavar="DIR", help="the folder of data/")
    found.add_argument("--quick", action="store_true", help=f"every {EVERY}th problem")
    found.add_argument("--samples-per-problem", type=int, default=SAMPLES_EACH, metavar="N", help="distinct ones; 5")
    found.add_argument("--isolation", choices=LEVELS, default="auto", help="our level")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def compare(arguments: argparse.Namespace, folder: Path) -> int:
    """Judge by both in a folder, and print how the verdicts compare."""
    problems, samples = folder / "problems.jsonl", folder / "samples.jsonl"
    names = write_problems(problems, arguments.shared, EVERY if arguments.quick else 1)
    write_lines(samples, chosen(arguments.shared, names, arguments.samples_per_problem))
    started = time.monotonic()
    ours = judged_by_us(problems, samples, folder / "ours.json", arguments.isolation)
    between = time.monotonic()
    theirs = judged_by_evalplus(problems, samples, folder)
    seconds = {"align": round(between - started, 1), "evalplus": round(time.monotonic() - between, 1)}
    wrong = list(disagreements(ours, theirs))
    found = {
        "verdicts": len(ours),
        "compared": sum(task not in BROKEN for task, _ in ours),
        "same": Counter(status for place, status in theirs.items() if place[0] not in BROKEN and ours[place] == status),
        "left_out": [task for task in BROKEN if task in names],
        "disagreements": wrong,
        "references_failing_with_us": failing_references(problems, arguments.isolation),
        "seconds": seconds,
    }
    print("\n".join(table(found)))
    if arguments.json:
        write_json(arguments.json, found)
    return 1 if wrong or found["references_failing_with_us"] else 0


def write_problems(path: Path, shared: Path, every: int) -> list[str]:
    """Write every n-th problem of HumanEval in EvalPlus's form; returns their names."""
    made = [evalplus_row(row) for _, row in islice(rows(shared / PROBLEMS), 0, None, every)]
    write_lines(path, made)
    return [row["task_id"] for row in made]


def evalplus_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of HumanEval in EvalPlus's form, without plus inputs."""
    inputs, _ = recorded(row)
    kept = {name: row[name] for name in ("task_id", "prompt", "entry_point", "canonical_solution")}
    atol = ATOL.get(row["task_id"], 0)
    return {**kept, "contract": "", "base_input": inputs, "plus_input": [], "atol": atol}


def chosen(shared: Path, names: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    """The first distinct samples of each problem, then a right one: evalplus is to pass something of every problem."""
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    for _, sample in rows(shared / SAMPLES):
        texts[sample["task_id"]].setdefault(sample["completion"])
    right = {row["task_id"]: row["canonical_solution"] for _, row in rows(shared / PROBLEMS)}
    for name in names:
        for text in [*islice(texts[name], count), right[name]]:
            yield {"task_id": name, "completion": text}


def write_lines(path: Path, made: Any) -> None:
    """JSON Lines; a value that JSON does not have is refused, since the two readers may differ on it."""
    path.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in made), encoding="utf-8")


def judged_by_us(problems: Path, samples: Path, results: Path, isolation: str) -> Verdicts:
    """What the command `align score` makes of the files."""
    words = ["score", "--problems", problems, "--samples", samples, "--evalplus-results", results]
    if code := cli.main([*map(str, words), "--isolation", isolation]):
        raise BackendError(f"align score ended with {code}")
    return statuses(results)


def judged_by_evalplus(problems: Path, samples: Path, folder: Path) -> Verdicts:
    """What `evalplus.evaluate` makes of them."""
    places = {"HUMANEVAL_OVERRIDE_PATH": str(problems), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "evalplus.evaluate", "--dataset", "humaneval", "--samples", str(samples)]
    workers = len(os.sched_getaffinity(0))
    ran = subprocess.run(
        [*command, "--base_only", "--parallel", str(workers)],
        env=os.environ | places,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if ran.returncode:
        raise BackendError(f"evalplus.evaluate ended with {ran.returncode}: {ran.stderr.strip()[-500:]}")
    return statuses(samples.with_name(samples.name.replace(".jsonl", "_eval_results.json")))


def statuses(results: Path) -> Verdicts:
    """(problem, ordinal of the sample) → status of the base tests."""
    found = json.loads(results.read_text("utf-8"))["eval"]
    return {(task, index): row["base_status"] for task, some in found.items() for index, row in enumerate(some)}


def disagreements(ours: Verdicts, theirs: Verdicts) -> Iterator[str]:
    """One line for each pass that the other does not give, or verdict that the other does not have."""
    for place in sorted(ours.keys() | theirs.keys(), key=lambda place: (number(place[0]), place[1])):
        pair = ours.get(place, "no verdict"), theirs.get(place, "no verdict")
        if place[0] not in BROKEN and pair[0] != pair[1] and ("pass" in pair or "no verdict" in pair):
            yield f"{place[0]} sample {place[1]}: align {pair[0]}, evalplus {pair[1]}"


def number(task: str) -> int:
    """`HumanEval/12` → 12."""
    return int(re.sub(r"\D", "", task) or 0)


def failing_references(problems: Path, isolation: Requested) -> list[str]:
    """Problems whose own solution does not pass with us."""
    asked = read(problems, Problem)
    with Pool(isolation=isolation) as pool:
        found = list(pool.run(program_for(problem, solution=problem.reference) for problem in asked))
    return [str(one.meta["task_id"]) for one, ran in zip(asked, found, strict=True) if ran.outcome != "passed"]


def table(found: dict[str, Any]) -> Iterator[str]:
    """What is printed."""
    agreed = ", ".join(f"{count} {status}" for status, count in sorted(found["same"].items()))
    yield f"{found['compared']} verdicts compared; the same: {agreed}"
    yield from found["disagreements"]
    other = found["compared"] - sum(found["same"].values()) - len(found["disagreements"])
    yield f"{len(found['disagreements'])} disagreements on passing; {other} are a fail to one, a timeout to the other"
    if found["references_failing_with_us"]:
        yield f"references that do not pass with us: {', '.join(found['references_failing_with_us'])}"
    if found["left_out"]:
        yield f"left out, evalplus 0.3.1 fails every solution: {', '.join(found['left_out'])}"
    yield f"seconds: align {found['seconds']['align']}, evalplus {found['seconds']['evalplus']}"


if __name__ == "__main__":
    sys.exit(main())
