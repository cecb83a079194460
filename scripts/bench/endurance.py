"""Run very many programs through one pool and see whether anything grows; or canonical ones with far too many workers.

    python scripts/bench/endurance.py --programs 100000
    python scripts/bench/endurance.py --oversubscribe 8 --runs 10 --shared DIR

Counts file descriptors, zombies, memory and temporary files of the supervisor and all processes below it. Programs are
harmless; hostile ones are for `hostile.py`.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from align.errors import AlignError
from align.execute import Pool, program_for
from align.execute.isolation import LEVELS
from align.execute.program import Program
from align.io import read, write_json
from align.schema import Limits, Problem

PROBLEMS = "data/eval/HumanEval.jsonl.gz"
TEMPORARY, LEFT = ("/tmp", "/var/tmp", "/dev/shm"), "bench-left"
"""Where programs may leave files, and how these are named."""
SETTLE_SECONDS = 1.0
"""Processes that are just ending are no growth."""
WARM_PROGRAMS = 400
"""Run before the first look: zygotes start, caches fill."""
MISTAKE = 2
KINDS: dict[str, tuple[int, str, str]] = {
    "passing": (40, "def f(x):\n    return x + {n}\n", "passed"),
    "failing": (20, "def f(x):\n    return x - {n}\n", "wrong_answer"),
    "raising": (15, "def f(x):\n    raise ValueError({n})\n", "runtime_error"),
    "printing": (10, "def f(x):\n    print('{n} ' * 2000)\n    return x + {n}\n", "passed"),
    "leaving files": (
        8,
        "import os, tempfile\ndef f(x):\n    open('bench-left{n}', 'w').write('x' * 1000)\n"
        "    tempfile.mkdtemp(prefix='bench-left{n}')\n    return x + {n}\n",
        "passed",
    ),
    "with a mistake": (5, "def f(x)\n    return {n}\n", "compile_error"),
    "with numpy": (2, "import numpy\ndef f(x):\n    return int(numpy.add(x, {n}))\n", "passed"),
}
"""What a program does → its share in percent, its source, what it must come to."""
ENDLESS = "def f(x):\n    while True:\n        x += {n}\n"
ENDLESS_EVERY, ENDLESS_SECONDS = 2000, 0.2
SIBLINGS = 8
"""Programs of one problem."""


@dataclass(frozen=True)
class Look:
    """What there is at one moment."""

    programs: int
    processes: int
    zombies: int
    fds: int
    """Of the supervisor and everything below it, as far as they may be read."""
    supervisor_mb: float
    others_mb: float
    """Of all processes below: memory that they share counts once for each."""
    temporary_files: int


ALLOWED = {"processes": 2, "zombies": 0, "fds": 8, "supervisor_mb": 24.0, "others_mb": 24.0, "temporary_files": 0}
"""Growth from the second look to the last that is no leak; memory allocators settle late. A pool of many workers may
recycle zygotes, which moves others_mb."""


def main(argv: Sequence[str] | None = None) -> int:
    """The whole check; returns the exit code: 0 if nothing grew and all verdicts are right, else 1; 2 for a mistake."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.oversubscribe:
            return oversubscribed(arguments)
        with tempfile.TemporaryDirectory(prefix="align-endurance-") as own:
            # so that other users of the machine do not count
            tempfile.tempdir = os.environ["TMPDIR"] = own
            return endured(arguments, Path(own))
    except AlignError as error:
        print(f"endurance: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="endurance", description="Does the pool leak, or fail when crowded?")
    found.add_argument("--programs", type=int, default=100_000, metavar="N")
    found.add_argument("--workers", type=int, metavar="N", help="programs at once; by default the cores")
    found.add_argument("--isolation", choices=LEVELS, default="auto")
    found.add_argument("--oversubscribe", type=int, metavar="N", help="instead: so many workers a core, on HumanEval")
    found.add_argument("--runs", type=int, default=10, metavar="N", help="with --oversubscribe: how often; 10")
    found.add_argument("--shared", type=Path, default=Path("../shared"), metavar="DIR", help="the folder of data/")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def endured(arguments: argparse.Namespace, own: Path) -> int:
    """Run the mix; look four times."""
    count = arguments.programs
    moments = sorted({min(WARM_PROGRAMS, count // 20), count // 10, count // 2, count})
    looks: list[Look] = []
    wrong: Counter[str] = Counter()
    before, started = temporary_files(own), time.monotonic()
    with Pool(arguments.workers, isolation=arguments.isolation) as pool:
        first = 0
        for last in moments:
            wrong.update(batch(pool, first, last))
            looks.append(look(last, before, own))
            first = last
            print(f"{last} programs in {time.monotonic() - started:.0f} s", file=sys.stderr)
        level = pool.level
    after = closed(before, own)
    grown = [*growth(looks), *after]
    print(f"level {level}, {count} programs, {time.monotonic() - started:.0f} s")
    print("\n".join([*table(looks), *(f"{times} x {what}" for what, times in wrong.items()), *grown]))
    print("FAILED" if grown or wrong else "nothing grew; every verdict right")
    if arguments.json:
        looked = [asdict(one) for one in looks]
        write_json(arguments.json, {"level": level, "looks": looked, "grown": grown, "wrong": dict(wrong)})
    return 1 if grown or wrong else 0


def batch(pool: Pool, first: int, last: int) -> Iterator[str]:
    """Run programs by number; what came out wrong."""
    numbers = range(first, last)
    # made twice: to keep them would be the growth that is looked for
    for number, execution in zip(numbers, pool.run(made(number)[1] for number in numbers), strict=True):
        kind, _, must = made(number)
        if execution.outcome != must:
            yield f"a program {kind}: {execution.outcome} {execution.reason or ''}, must be {must}"


def made(number: int) -> tuple[str, Program, str]:
    """The program of that number: what it does, itself, what it must come to. No two are alike."""
    draw = random.Random(number)
    if number % ENDLESS_EVERY == ENDLESS_EVERY - 1:
        return "without an end", program(number, ENDLESS, Limits(cpu_seconds=ENDLESS_SECONDS)), "timeout"
    (kind,) = draw.choices(list(KINDS), [share for share, _, _ in KINDS.values()])
    _, source, must = KINDS[kind]
    return kind, program(number, source, None), must


def program(number: int, source: str, limits: Limits | None) -> Program:
    """A source with its tests; some in a row share a problem."""
    start = number // SIBLINGS * SIBLINGS + 1
    test = f"def check(candidate):\n    assert candidate(0) in range({start}, {start + SIBLINGS})\n"
    test += "    assert candidate(1) > 1\n"
    problem = Problem(prompt="# add\n", entry_point="f", tests=[test], test_kind="check", limits=limits)
    return program_for(problem, solution=source.replace("{n}", str(number + 1)))


def look(programs: int, before: set[str], own: Path) -> Look:
    """Count what there is now."""
    time.sleep(SETTLE_SECONDS)
    tree = [os.getpid(), *below(os.getpid())]
    zombies = sum(state(pid) == "Z" for pid in tree)
    return Look(
        programs,
        len(tree),
        zombies,
        sum(map(descriptors, tree)),
        memory_mb(tree[0]),
        sum(map(memory_mb, tree[1:])),
        len(temporary_files(own) - before),
    )


def below(pid: int) -> Iterator[int]:
    """All processes under one, zombies too."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield int(child)
                yield from below(int(child))
    except OSError:
        return


def state(pid: int) -> str:
    """The letter of /proc/PID/stat; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def descriptors(pid: int) -> int:
    """How many are open; 0 where they may not be read."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def memory_mb(pid: int) -> float:
    """Resident memory."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def temporary_files(own: Path) -> set[str]:
    """All that is in the supervisor's own folder for temporary files, and what programs left in the machine's."""
    left = {str(path) for top in TEMPORARY for depth in ("", "*/") for path in Path(top).glob(f"{depth}{LEFT}*")}
    return left | {str(path) for path in own.rglob("*")}


def closed(before: set[str], own: Path) -> list[str]:
    """What a closed pool has left."""
    time.sleep(SETTLE_SECONDS)
    left, alive = temporary_files(own) - before, list(below(os.getpid()))
    found = [f"left after the end: {len(left)} temporary files, such as {min(left)}"] if left else []
    return [*found, *([f"left after the end: {len(alive)} processes"] if alive else [])]


def growth(looks: list[Look]) -> Iterator[str]:
    """What grew by more than it may, from the second look to the last."""
    second, last = asdict(looks[min(1, len(looks) - 1)]), asdict(looks[-1])
    for name, allowed in ALLOWED.items():
        if last[name] - second[name] > allowed:
            yield f"{name} grew from {second[name]:.0f} to {last[name]:.0f}"
    if last["zombies"]:
        yield f"{last['zombies']} zombies"


def table(looks: list[Look]) -> Iterator[str]:
    """One line a look."""
    names = [field.name for field in fields(Look)]
    yield "  ".join(names)
    for one in looks:
        values: dict[str, Any] = asdict(one)
        yield "  ".join(f"{values[name]:>{len(name)}.0f}" for name in names)


def oversubscribed(arguments: argparse.Namespace) -> int:
    """HumanEval's canonical solutions with many workers a core, several times; all must pass."""
    workers = arguments.oversubscribe * len(os.sched_getaffinity(0))
    problems = read(arguments.shared / PROBLEMS, Problem)
    failed: list[str] = []
    for run in range(1, arguments.runs + 1):
        programs = [program_for(problem, solution=f"# run {run}\n{problem.reference}") for problem in problems]
        started = time.monotonic()
        with Pool(workers, isolation=arguments.isolation) as pool:
            found = list(pool.run(programs))
        bad = [
            f"run {run}: {problem.meta['task_id']}: {execution.outcome} {execution.reason or ''}"
            for problem, execution in zip(problems, found, strict=True)
            if execution.outcome != "passed"
        ]
        failed += bad
        passed, seconds = len(found) - len(bad), time.monotonic() - started
        print(f"run {run}: {passed} of {len(found)} pass, {workers} workers, {seconds:.1f} s", flush=True)
    print("\n".join([*failed, "FAILED" if failed else "all pass in every run"]))
    if arguments.json:
        write_json(arguments.json, {"workers": workers, "runs": arguments.runs, "failed": failed})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
