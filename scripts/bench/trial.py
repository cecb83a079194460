"""When to kill a run, the kills, and what they have left. Parses no command line and prints no table."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random

from job import POLL_SECONDS, Job
from whole import differences, left_over, manifests, torn

from align.recipe.launch import ANNOUNCED
from align.recipe.peers import LOGS
from align.recipe.workspace import MARKER

PHASES = {"sample": "generation", "rank": "generation", "sft": "training", "align": "training", "score": "scoring"}
"""Stage kind → phase; every other kind is data."""
ANY = "any"
TURNS = (
    *("training", "scoring", "data", "generation", "training"),
    *("data", "generation", "scoring", "training", ANY),
)
"""The phase of each kill in turn; of ten: three in training, two in each other phase, one anywhere."""


@dataclass(frozen=True)
class Stage:
    """A stage of the undisturbed run."""

    name: str
    phase: str
    folder: str
    """Its name below the run's folder."""
    seconds: float


@dataclass(frozen=True, order=True)
class Moment:
    """When to kill."""

    stage: int
    """Position in the recipe."""
    fraction: float
    """Of the stage's undisturbed seconds."""
    phase: str
    """What it was drawn from."""


@dataclass(frozen=True)
class Kill:
    """One kill, landed or missed."""

    round: int
    stage: str
    undisturbed: float
    """Seconds of the stage."""
    seconds: float | None
    """Into the stage, since the last start; None where the stage had ended."""
    stages_done: int = 0
    """What the next start need not run."""
    bytes_left: int = 0
    """In the stage's own folder."""
    rank: int | None = None
    """Which rank was killed; None: the whole run."""


class Trial:
    """Runs of a recipe with kills in them, held against an undisturbed run of it.

    Args:
        reference: folder of the undisturbed run.
        kills: how many.
        seed: of their moments.
        sign: what is sent.
        ranks: processes of the run; with several, a kill hits one of them, or all with their launcher.
    """

    def __init__(self, reference: Path, kills: int, seed: int, sign: signal.Signals, ranks: int = 1) -> None:
        self.reference, self.sign, self.ranks = reference, sign, ranks
        self.stages = stages_of(reference)
        self.pending = turns(self.stages, kills)
        """Phases of the kills that are yet to land."""
        self.kills: list[Kill] = []
        self.faults: list[str] = []
        """What was torn after a kill, or differs in the end."""
        self.left_over: list[str] = []
        """Hidden files that finished runs hold and the reference does not: no fault, but not meant to stay."""
        self.redone: dict[tuple[int, str], float] = {}
        """Round and stage → its seconds over all starts, beyond the undisturbed ones."""
        self._random = Random(seed)

    @property
    def undisturbed(self) -> float:
        """Seconds of the undisturbed run's stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def landed(self) -> int:
        """Kills that landed."""
        return sum(kill.seconds is not None for kill in self.kills)

    def disturb(self, job: Job, number: int) -> None:
        """Run a job to its end with the pending kills in it; those that find no stage any more stay pending.

        Raises:
            StageError: the job ends with an error, or hangs.
        """
        moments = [draw(self._random, self.stages, phase) for phase in self.pending]
        self.pending = []
        queue = sorted(moment for moment in moments if moment)
        before = Moment(-1, 0.0, ANY)
        job.start()
        while queue:
            moment = queue.pop(0)
            stage = self.stages[moment.stage]
            # of two kills in one stage, the second waits for what lies between them
            fraction = moment.fraction - (before.fraction if before.stage == moment.stage else 0.0)
            seconds = job.reach(stage.folder, fraction * stage.seconds)
            if seconds is None:
                self._missed(moment, number, queue)
            else:
                rank = None if self.ranks == 1 else self._random.choice([None, *range(self.ranks)])
                job.kill(self.sign, rank)
                self._landed(job, number, stage, seconds, rank)
                before = moment
                job.start()
        job.end()

    def settle(self, job: Job, number: int) -> None:
        """Compare a finished job with the reference."""
        self.faults += [f"in the end: {fault}" for fault in (*torn(job.run), *differences(self.reference, job.run))]
        meant = left_over(self.reference)
        # what ranks say is kept
        found = [name for name in left_over(job.run) if name not in meant and not name.startswith((LOGS, ANNOUNCED))]
        self.left_over += [f"{number}: {name}" for name in found]
        last = {name: data["seconds"] for name, data in manifests(job.run).items()}
        for kill in self.kills:
            if kill.round == number and kill.seconds is not None:
                place = (number, kill.stage)
                self.redone[place] = self.redone.get(place, last[kill.stage] - kill.undisturbed) + kill.seconds

    def _missed(self, moment: Moment, number: int, queue: list[Moment]) -> None:
        """Draw another moment from the stages still to come, or leave it to the next round."""
        stage = self.stages[moment.stage]
        self.kills.append(Kill(number, stage.name, stage.seconds, None))
        say(f"missed {stage.name}: it had ended")
        again = draw(self._random, self.stages, moment.phase, after=moment.stage)
        if again:
            queue.append(again)
            queue.sort()
        else:
            self.pending.append(moment.phase)

    def _landed(self, job: Job, number: int, stage: Stage, seconds: float, rank: int | None) -> None:
        """Look at what a kill has left."""
        done = sum((job.run / other.folder / MARKER).is_file() for other in self.stages)
        left = sum(path.stat().st_size for path in (job.run / stage.folder).rglob("*") if path.is_file())
        self.kills.append(Kill(number, stage.name, stage.seconds, seconds, done, left, rank))
        whom = "" if rank is None else f" to rank {rank}"
        say(
            f"{self.sign.name}{whom} in {stage.name}, {seconds:.1f} s into it, {done} of {len(self.stages)} stages done"
        )
        self.faults += [f"after kill {len(self.kills)}, in {stage.name}: {fault}" for fault in torn(job.run)]


def stages_of(run: Path) -> list[Stage]:
    """The stages of a finished run, in order."""
    return [
        Stage(name, PHASES.get(data["kind"], "data"), f"{name}-{data['key'][:12]}", data["seconds"])
        for name, data in manifests(run).items()
    ]


def turns(stages: Sequence[Stage], kills: int) -> list[str]:
    """The phase of each kill."""
    there = {ANY, *(stage.phase for stage in stages)}
    return list(islice(cycle(phase for phase in TURNS if phase in there), kills))


def draw(random: Random, stages: Sequence[Stage], phase: str, after: int = -1) -> Moment | None:
    """A moment, uniform over the seconds of a phase's stages after one; None where there are none."""
    among = [index for index in range(after + 1, len(stages)) if phase in (ANY, stages[index].phase)]
    if not among:
        return None
    stage = random.choices(among, [stages[index].seconds + POLL_SECONDS for index in among])[0]
    return Moment(stage, random.random(), phase)


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)
