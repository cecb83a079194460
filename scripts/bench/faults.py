"""Kill a run at random moments, start it again after each, and compare it with an undisturbed run.

    python scripts/bench/faults.py RECIPE [key=value …] --kills 10

Covers the sudden end of a run's processes, and Ctrl-C. Does not cover faults of disks, of endpoints or of power.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from job import Job
from mishaps import Mishap, mishaps, training_stage
from mishaps import table as others_table
from trial import Trial, say, stages_of

from align.cli import INTERRUPTED, MISTAKE
from align.errors import AlignError, ConfigError, DataError, StageError
from align.io import write_json

SIGNALS = {"KILL": signal.SIGKILL, "INT": signal.SIGINT}
ROUNDS = 3
"""Runs that the kills may take."""
PATIENCE_SECONDS, TIMES_UNDISTURBED = 600.0, 10.0
"""A start hangs after so many times the undisturbed seconds and ten minutes."""
MOMENTS = """
The moments are random seconds of the undisturbed run. Of ten kills three fall into training (sft, align), two into data
(evolve, clean, tests, init), two into generation and ranking (sample, rank), two into scoring and one anywhere; phases
that the recipe lacks are left out. A moment is a fraction of a stage's undisturbed seconds, counted from when the
stage's folder is there: a slower machine only shifts it. A kill is missed where its stage ends first; it is drawn again
from the stages still to come, and where there are none, the recipe is run once more from its start. Exit code: 0 if all
kills landed, nothing was torn after any of them and the finished runs are equal; else 1; 2 for a mistake.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code."""
    # a background shell ignores Ctrl-C, and runs would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return bench(parser().parse_intermixed_args(argv))
    except AlignError as error:
        print(f"faults: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("faults: stopped", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="faults",
        description="Kill a run at random moments, start it again, and compare it with an undisturbed run.",
        epilog=MOMENTS,
    )
    found.add_argument("recipe", type=Path)
    found.add_argument("overrides", nargs="*", metavar="key=value", help="as for align run")
    found.add_argument("--kills", type=int, default=10, metavar="N", help="10 by default")
    found.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments; 0 by default")
    found.add_argument("--signal", choices=SIGNALS, default="KILL", help="INT is Ctrl-C; KILL by default")
    found.add_argument(
        "--ranks", type=int, default=1, metavar="N", help="processes under accelerate launch; a kill hits one, or all"
    )
    found.add_argument("--others", action="store_true", help="then SIGTERM, a full disk, a damaged state, another key")
    found.add_argument("--runs", type=Path, metavar="DIR", help="folder for the runs; by default a new temporary one")
    found.add_argument("--reference", type=Path, metavar="RUN", help="a finished run of the same recipe and overrides")
    found.add_argument("--json", type=Path, metavar="OUT", help="write the results there, too")
    return found


def bench(arguments: argparse.Namespace) -> int:
    """Run undisturbed, run with kills, report."""
    recipe = arguments.recipe.resolve()
    if not recipe.is_file():
        raise DataError(f"{arguments.recipe}: no such file: give a recipe")
    least = 0 if arguments.others else 1
    if arguments.kills < least:
        raise ConfigError(f"--kills: expected {least} or more, found {arguments.kills}")
    if arguments.ranks < 1:
        raise ConfigError(f"--ranks: expected 1 or more, found {arguments.ranks}")
    folder = (arguments.runs or Path(tempfile.mkdtemp(prefix="align-faults-"))).resolve()
    say(f"runs are in {folder}")
    reference = (
        arguments.reference.resolve()
        if arguments.reference
        else undisturbed(folder, recipe, arguments, arguments.ranks)
    )
    trial = Trial(reference, arguments.kills, arguments.seed, SIGNALS[arguments.signal], arguments.ranks)
    say(f"undisturbed: {len(trial.stages)} stages, {trial.undisturbed:.1f} s")
    extra = 0.0
    for number in range(1, (ROUNDS if arguments.kills else 0) + 1):
        patience = PATIENCE_SECONDS + TIMES_UNDISTURBED * trial.undisturbed
        with Job(folder / f"killed-{number}", recipe, arguments.overrides, patience, arguments.ranks) as job:
            try:
                trial.disturb(job, number)
                trial.settle(job, number)
            except StageError as error:
                trial.faults.append(str(error))
        extra += job.seconds - trial.undisturbed
        if trial.faults or not trial.pending:
            break
    if arguments.kills:
        print("\n".join([*table(trial), *verdict(trial, arguments.kills, extra)]))
    others = list(further(folder, recipe, arguments, trial)) if arguments.others else []
    fine = trial.landed == arguments.kills and not trial.faults and not any(mishap.lost for mishap in others)
    if arguments.json:
        write_json(
            arguments.json,
            {"fine": fine, **results(trial, arguments, extra), "others": [asdict(other) for other in others]},
        )
    return 0 if fine else 1


def undisturbed(folder: Path, recipe: Path, arguments: argparse.Namespace, ranks: int) -> Path:
    """Run the recipe without kills; returns the run's folder."""
    with Job(folder / "undisturbed", recipe, arguments.overrides, ranks=ranks) as job:
        job.start()
        job.end()
    return job.run


def further(folder: Path, recipe: Path, arguments: argparse.Namespace, trial: Trial) -> list[Mishap]:
    """What is no kill, on one process; prints its table."""
    patience = PATIENCE_SECONDS + TIMES_UNDISTURBED * trial.undisturbed
    reference = trial.reference if arguments.ranks == 1 else undisturbed(folder / "alone", recipe, arguments, ranks=1)
    stage = training_stage(stages_of(reference))
    found = list(mishaps(reference, lambda name: Job(folder / name, recipe, arguments.overrides, patience), stage))
    print("\n".join(others_table(found)))
    return found


def results(trial: Trial, arguments: argparse.Namespace, extra: float) -> dict[str, Any]:
    """Everything as plain data."""
    return {
        "recipe": str(arguments.recipe),
        "overrides": arguments.overrides,
        "seed": arguments.seed,
        "signal": arguments.signal,
        "ranks": arguments.ranks,
        "undisturbed_seconds": round(trial.undisturbed, 3),
        "extra_seconds": round(extra, 3),
        "kills": [asdict(kill) for kill in trial.kills],
        "faults": trial.faults,
        "left_over": trial.left_over,
    }


def verdict(trial: Trial, kills: int, extra: float) -> Iterator[str]:
    """What it all comes to."""
    yield f"{trial.landed} of {kills} kills landed, {extra:.1f} s beyond the undisturbed {trial.undisturbed:.1f} s"
    yield from (f"left over in round {name}" for name in trial.left_over)
    yield from trial.faults
    yield f"{len(trial.faults)} faults" if trial.faults else "no faults: the same bytes in every file"


def table(trial: Trial) -> Iterator[str]:
    """One line a kill, in columns."""
    rows = [("kill", "stage", "whom", "seconds", "of", "redone", "the next start goes on with")]
    last = {(kill.round, kill.stage): kill for kill in trial.kills if kill.seconds is not None}
    for number, kill in enumerate(trial.kills, start=1):
        place = (kill.round, kill.stage)
        into, cost, kept = "missed", "", ""
        if kill.seconds is not None:
            into = f"{kill.seconds:.1f}"
            kept = f"{kill.stages_done} stages, {kill.bytes_left / 1e6:.1f} MB of {kill.stage}"
            # what several kills of one stage cost together stands beside the last of them
            cost = f"{trial.redone[place]:.1f}" if place in trial.redone and last[place] is kill else ""
        whom = "run" if kill.rank is None else f"rank {kill.rank}"
        rows.append((str(number), kill.stage, whom, into, f"{kill.undisturbed:.1f}", cost, kept))
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width[index]) for index, cell in enumerate(row)]
        cells[1], cells[6] = row[1].ljust(width[1]), row[6]
        yield "  ".join(cells).rstrip()


if __name__ == "__main__":
    sys.exit(main())
