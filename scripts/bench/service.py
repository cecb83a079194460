"""Many calling processes on one node's service: latency, throughput, and whether everyone's results are in order.

    python scripts/bench/service.py --programs 4096 --callers 8

Every program's asserts fail in a pattern that tells its number: a result in a wrong place cannot go unseen. Does not
measure what a worker costs: `executor.py` does.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.cli import MISTAKE
from align.errors import AlignError, ConfigError
from align.execute import Execution, Program, program_for
from align.execute.isolation import LEVELS, Requested
from align.execute.service import Client, ajudge, judge
from align.io import write_json
from align.schema import Problem

SAMPLES = 8
"""Programs a problem."""
BITS = 16
MODES = ("run", "ajudge")
QUICK = (256, 2)
"""Programs and callers of `--quick`."""

_begin: Any = None


@dataclass(frozen=True)
class Figures:
    """What one caller saw."""

    begun: float
    ended: float
    latencies: list[float]
    """Seconds from a program's submission to its result."""
    wrong: int
    """Results that are not their program's."""


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code."""
    arguments = parser().parse_args(argv)
    programs, callers = QUICK if arguments.quick else (arguments.programs, arguments.callers)
    try:
        if not 1 <= callers <= programs < 1 << BITS:
            raise ConfigError(f"expected 1 caller or more, and as many programs at least, below {1 << BITS}")
        judge(numbered(0, 1), isolation=arguments.isolation)  # starts the service
        found = {mode: measured(mode, programs // callers, callers, arguments.isolation) for mode in MODES}
    except AlignError as error:
        print(f"service: {error}", file=sys.stderr)
        return MISTAKE
    print("\n".join(table(found)))
    fine = all(row["wrong"] == 0 for row in found.values())
    print("every result was its program's" if fine else "results of other programs, or in a wrong order")
    if arguments.json:
        write_json(arguments.json, {"fine": fine, "callers": callers, "modes": found})
    return 0 if fine else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="service",
        description="Many calling processes on one node's service: latency, throughput, order.",
        epilog="run: each caller has all its programs run at once; ajudge: in calls of 8 programs, all at once. A "
        "program is submitted when the client takes it, so its latency is mostly the wait for programs before it.",
    )
    found.add_argument("--programs", type=int, default=4096, metavar="N", help="of all callers; 4096 by default")
    found.add_argument("--callers", type=int, default=8, metavar="N", help="processes; 8 by default")
    found.add_argument("--isolation", choices=LEVELS, default="auto", help="auto by default")
    found.add_argument("--quick", action="store_true", help=f"{QUICK[0]} programs, {QUICK[1]} callers")
    found.add_argument("--json", type=Path, metavar="OUT", help="write the results there, too")
    return found


def measured(mode: str, programs: int, callers: int, isolation: Requested) -> dict[str, float]:
    """Have the callers run their programs, all at once."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(callers)
    with context.Pool(callers, initializer=_hold, initargs=(barrier,)) as processes:
        work = [(mode, number * programs, programs, isolation) for number in range(callers)]
        found = processes.starmap(_call, work, chunksize=1)
    latencies = [latency for one in found for latency in one.latencies]
    cuts = statistics.quantiles(latencies, n=100)
    seconds = max(one.ended for one in found) - min(one.begun for one in found)
    return {
        "programs": len(latencies),
        "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "seconds": round(seconds, 2),
        "programs_per_second": round(len(latencies) / seconds, 1),
        "wrong": sum(one.wrong for one in found),
    }


def _hold(barrier: Any) -> None:
    global _begin
    _begin = barrier


def _call(mode: str, first: int, count: int, isolation: Requested) -> Figures:
    """In a calling process."""
    programs = numbered(first, count)
    _begin.wait()
    begun = time.monotonic()
    call = _run if mode == "run" else _ajudge
    latencies, found = call(programs, isolation)
    wrong = sum(failed(one) != zeros(first + index) for index, one in enumerate(found)) + abs(count - len(found))
    return Figures(begun, time.monotonic(), latencies, wrong)


def _run(programs: list[Program], isolation: Requested) -> tuple[list[float], list[Execution]]:
    submitted: list[float] = []
    latencies: dict[int, float] = {}

    def taken() -> Iterator[Program]:
        for program in programs:
            submitted.append(time.monotonic())
            yield program

    def done(index: int, _: Execution) -> None:
        latencies[index] = time.monotonic() - submitted[index]

    with Client(isolation=isolation) as client:
        found = list(client.run(taken(), done))
    return list(latencies.values()), found


def _ajudge(programs: list[Program], isolation: Requested) -> tuple[list[float], list[Execution]]:
    latencies: list[float] = []

    async def timed(asked: list[Program]) -> list[Execution]:
        submitted = time.monotonic()
        found = await ajudge(asked, isolation=isolation)
        latencies.extend([time.monotonic() - submitted] * len(asked))
        return found

    async def all_of_them() -> list[list[Execution]]:
        return await asyncio.gather(*(timed(programs[at : at + SAMPLES]) for at in range(0, len(programs), SAMPLES)))

    return latencies, [one for found in asyncio.run(all_of_them()) for one in found]


def numbered(first: int, count: int) -> list[Program]:
    """Different programs; each has its number told by the asserts that do not hold."""
    problems = {
        group: Problem(
            prompt=f"Write f{group}.",
            entry_point=f"f{group}",
            tests=[f"assert f{group}({bit}) == 1" for bit in range(BITS)],
        )
        for group in {number // SAMPLES for number in range(first, first + count)}
    }
    return [
        program_for(
            problems[number // SAMPLES],
            solution=f"def f{number // SAMPLES}(bit):\n    return {number} >> bit & 1\n",
        )
        for number in range(first, first + count)
    ]


def zeros(number: int) -> list[int]:
    """The asserts that a program fails."""
    return [bit for bit in range(BITS) if not number >> bit & 1]


def failed(found: Execution) -> list[int] | None:
    """The asserts that it did fail."""
    return list(found.failed_tests or []) if found.tests_total == BITS else None


def table(found: dict[str, dict[str, float]]) -> Iterator[str]:
    """One line a mode."""
    yield f"{'':8}{'programs':>10}{'p50 ms':>10}{'p99 ms':>10}{'seconds':>10}{'a second':>10}{'wrong':>8}"
    for mode, row in found.items():
        cells = (row["programs"], row["p50_ms"], row["p99_ms"], row["seconds"], row["programs_per_second"])
        yield f"{mode:8}" + "".join(f"{cell:>10}" for cell in cells) + f"{row['wrong']:>8}"


if __name__ == "__main__":
    sys.exit(main())
