"""What else can happen to a run, one after another: SIGTERM, a full disk, a damaged state, other settings, Ctrl-C.

Each on a run of its own, in a stage that trains, held against an undisturbed run in the end. Started by `faults.py
--others`. Does not cover endpoints, nor power.
"""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from job import Job
from trial import Stage, say
from whole import differences, manifests, torn

from align.errors import DataError, StageError
from align.train.checkpoints import MARKER, PREFIX, STATES, step_of

STATES_BEFORE = 2
"""Whole states that there have to be before anything happens: one is damaged, and one is gone on from."""


@dataclass(frozen=True)
class Mishap:
    """What happened, what the run said of it, and what it cost."""

    name: str
    code: int
    """Exit code of the start that it happened to."""
    said: str
    """Its last line of ours, and that of the next start, if any."""
    goes_on: str
    """What the next start had."""
    lost: list[str]
    """How the finished run differs from an undisturbed one."""


def mishaps(reference: Path, make: Callable[[str], Job], stage: Stage) -> Iterator[Mishap]:
    """Let each happen to a run.

    Args:
        reference: an undisturbed run.
        make: a new job of the same recipe and overrides, by the name of its folder.
        stage: one that trains and saves more than once.

    Raises:
        StageError: a run hangs, or ends before anything could happen to it.
    """
    largest = max((entry["bytes"] for entry in manifests(reference)[stage.name]["files"].values()), default=0)
    for name, happen in (
        ("SIGTERM", lambda job: _signalled(job, stage, signal.SIGTERM)),
        ("Ctrl-C", lambda job: _signalled(job, stage, signal.SIGINT)),
        ("full disk", lambda job: _full(job, stage, largest)),
        ("damaged state", lambda job: _damaged(job, stage)),
        ("other settings", lambda job: _other(job, stage)),
    ):
        say(f"{name} in {stage.name}")
        with make(name.replace(" ", "-").lower()) as job:
            code, said, *spoilt = happen(job)
            states = [step_of(path) for path in _states(job, stage) if path not in spoilt]
            job.start()
            ended = job.ended()
            said += job.said()
            lost = [*torn(job.run), *differences(reference, job.run)] if ended == 0 else [f"the next start: {ended}"]
            goes_on = f"step {max(states)}" if states else "the stage's start"
            yield Mishap(name, code, " / ".join(dict.fromkeys(_short(line, job) for line in said)), goes_on, lost)


def table(found: list[Mishap]) -> Iterator[str]:
    """One line each, then what it said."""
    yield f"{'what':16}  {'exit code':>9}  {'goes on from':18}  lost"
    for mishap in found:
        lost = f"{len(mishap.lost)}: {mishap.lost[0]}" if mishap.lost else "nothing"
        yield f"{mishap.name:16}  {mishap.code:>9}  {mishap.goes_on:18}  {lost}"
        yield f"    {mishap.said}"


def _signalled(job: Job, stage: Stage, sign: signal.Signals) -> tuple[int, list[str]]:
    _reach(job, stage)
    job.send(sign)
    return job.ended(), job.said()


def _full(job: Job, stage: Stage, largest: int) -> tuple[int, list[str]]:
    _reach(job, stage)
    job.send(signal.SIGKILL)
    job.ended()
    # optimizer states take twice what is trained: no further state can be written
    job.start(largest_file=int(1.5 * largest))
    return job.ended(), job.said()


def _damaged(job: Job, stage: Stage) -> tuple[int, list[str], Path]:
    _reach(job, stage)
    job.send(signal.SIGKILL)
    code, said = job.ended(), job.said()
    newest = max(_states(job, stage), key=step_of)
    path = max((path for path in newest.iterdir() if path.is_file()), key=lambda path: path.stat().st_size)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    return code, said, newest


def _other(job: Job, stage: Stage) -> tuple[int, list[str]]:
    _reach(job, stage)
    job.send(signal.SIGKILL)
    job.ended()
    job.start(f"stages.{stage.name}.args.learning_rate=0.000123", "--only", stage.name)
    return job.ended(), job.said()


def _reach(job: Job, stage: Stage) -> None:
    """Start, and wait until a stage has saved often enough."""
    job.start()
    if job.reach(stage.folder, 0.0, until=lambda: len(_states(job, stage)) >= STATES_BEFORE) is None:
        raise StageError(f"{stage.name}: ended before anything could happen to it: give it more steps")


def _states(job: Job, stage: Stage) -> list[Path]:
    """The whole states that a stage can go on from."""
    return [path.parent for path in (job.run / stage.folder / STATES).glob(f"{PREFIX}*/{MARKER}")]


def _short(line: str, job: Job) -> str:
    return line.removeprefix("align: ").replace(f"{job.run}/", "")


def training_stage(stages: list[Stage]) -> Stage:
    """The longest stage that trains.

    Raises:
        DataError: there is none.
    """
    among = [stage for stage in stages if stage.phase == "training"]
    if not among:
        raise DataError("no stage of the recipe trains")
    return max(among, key=lambda stage: stage.seconds)
