"""The `repeat:` section of a recipe: stages that are gone through several times, each time from the last model.

The loop is unrolled before anything runs: `sample` becomes `sample`, `sample@2`, `sample@3`, … , ordinary stages with
keys of their own. What may end it early, the figures of a score in it, is read from what these stages left: nothing
else is remembered. Does not run, and does not compute keys.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ..config import Place, Section
from ..errors import StageError
from ..generate.ask import derive_seed
from .marked import is_reference, references, replace
from .serving import Server
from .stage import Marker
from .workspace import Manifest

if TYPE_CHECKING:
    from .recipe import Stage

AT = "@"
"""Between a stage's name and its iteration, from the second one on."""
SCORE = "score.json"
"""What a stage leaves that measures models."""


class Until(Section):
    """When a loop ends before its time: when a held-out score no longer rises."""

    score: str
    """A score stage of the loop, on problems of its own: no benchmark, which is then measured on what chose."""
    model: str | None = None
    """The name in its `models:` that is looked at, where there are several."""
    patience: int = Field(default=1, gt=0)
    """So many iterations without a gain end the loop."""
    min_gain: float = Field(default=0.0, ge=0)
    """What pass@1 must rise by, in points of a percent, to be a gain."""
    keep: Literal["best", "last"] = "best"
    """The iteration that `$stage/…` means after the loop: of equals the first is the best."""


class Repeat(Section):
    """Stages gone through several times: the first time under their names, then as `sample@2`, `rank@2`, …"""

    times: int = Field(gt=0, le=100)
    """Iterations, at most."""
    stages: list[str] = Field(min_length=1)
    """The stages of the loop: those that stand together, in their order."""
    carry: Annotated[dict[str, str], Field(min_length=1)]
    """What the loop's stages read → what the iteration before left and they read in its place from the second
    iteration on: `{student: $align/model}`."""
    until: Until | None = None
    """When it ends earlier."""
    server: Server | None = None
    """A server of the current weights, which the loop's stages ask in the place of generating by themselves."""


@dataclass(frozen=True)
class Course:
    """How a loop has gone so far."""

    figures: tuple[float, ...] = ()
    """pass@1 of the iterations that are measured, in percent; none without `until`."""
    ended: int | None = None
    """The last iteration, once that is known."""
    kept: int | None = None
    """The iteration that stages after the loop read, once that is known."""


@dataclass(frozen=True)
class Loop:
    """A loop that was found right."""

    repeat: Repeat
    model: str = ""
    """The name in the score's `models:` that is looked at."""

    @property
    def body(self) -> Sequence[str]:
        """The stages' names as written."""
        return self.repeat.stages

    def course(self, done: Mapping[str, Manifest | None]) -> Course:
        """How it has gone, by the manifests of its score stages: a function of what they left.

        Raises:
            StageError: a score stage left no figure for the model.
        """
        until = self.repeat.until
        if until is None:
            return Course(ended=self.repeat.times, kept=self.repeat.times)
        figures: list[float] = []
        best = ended = 0
        for number in range(1, self.repeat.times + 1):
            manifest = done.get(named(until.score, number))
            if manifest is None:
                return Course(tuple(figures))
            figures.append(self._figure(manifest))
            if number == 1 or figures[-1] > figures[best - 1] + until.min_gain:
                best = number
            ended = number
            if number - best >= until.patience:
                break
        return Course(tuple(figures), ended, best if until.keep == "best" else ended)

    def waits(self, stage: "Stage", done: Mapping[str, Manifest | None]) -> str | None:
        """What must run before it is known whether and on what the stage runs; None where nothing must."""
        course, until = self.course(done), self.repeat.until
        if course.ended is not None or until is None:
            return None
        measured = len(course.figures)
        reads_the_loop = stage.after_loop and any(name in self.body for name in references(stage.config))
        return named(until.score, measured + 1) if reads_the_loop or stage.iteration > measured + 1 else None

    def ended_before(self, stage: "Stage", done: Mapping[str, Manifest | None]) -> str | None:
        """Why the stage is not needed: the loop has ended; None where it is."""
        course = self.course(done)
        if course.ended is None or stage.iteration <= course.ended:
            return None
        return f"not needed: {self.told(course)}"

    def told(self, course: Course) -> str:
        """The course in words."""
        if course.ended is None:
            return f"the loop goes on ({_figures(course)})" if course.figures else "the loop has not begun"
        if not course.figures:
            return f"the loop has {course.ended} iterations"
        return (
            f"the loop ended after {course.ended} of {self.repeat.times}, and keeps {course.kept} ({_figures(course)})"
        )

    def settled(self, stage: "Stage", done: Mapping[str, Manifest | None]) -> "Stage":
        """The stage with `$align/…` as that of the iteration which is kept, and `$align@1/…` as that of the first.

        Only stages after the loop change, and only once it is known which iteration that is.
        """
        course = self.course(done)
        if not stage.after_loop or course.kept is None:
            return stage
        kept = course.kept

        def visit(marker: Marker, value: str, place: Place) -> str:
            if not is_reference(value):
                return value
            name, _, file = value[1:].partition("/")
            if name in self.body:
                return f"${named(name, kept)}/{file}"
            first = name.removesuffix(f"{AT}1")
            return f"${first if first in self.body else name}/{file}"

        # done once: what was written as the first iteration's is not to be taken for the kept one's
        return dataclasses.replace(stage, config=replace(stage.config, visit), after_loop=False)

    def unrolled(self, stages: Sequence["Stage"], seed: int) -> list["Stage"]:
        """The stages of the second and later iterations, of those of the first."""
        return [
            self._again(stage, number, seed)
            for number in range(2, self.repeat.times + 1)
            for stage in stages
            if stage.name in self.body
        ]

    def facts(self, done: Mapping[str, Manifest | None]) -> dict[str, object]:
        """What `run.json` tells of it."""
        course = self.course(done)
        return {
            "stages": list(self.body),
            "times": self.repeat.times,
            "pass@1": list(course.figures),
            "ended": course.ended,
            "kept": course.kept,
            "told": self.told(course),
        }

    def _again(self, stage: "Stage", number: int, seed: int) -> "Stage":
        """A stage of the loop in a later iteration.

        Its seed is another one: with the same, what differs between two iterations' samples would be the model alone,
        and the noise of the first be learned again. A score keeps its own, so that there only the model differs.
        """

        def visit(marker: Marker, value: str, place: Place) -> str:
            carried = self.repeat.carry.get(value)
            if carried is not None:
                return _at(carried, number - 1)
            name = value[1:].partition("/")[0] if is_reference(value) else None
            return _at(value, number) if name in self.body else value

        return dataclasses.replace(
            stage,
            name=named(stage.name, number),
            config=replace(stage.config, visit),
            iteration=number,
            seed=seed if SCORE in stage.outputs else derive_seed("repeat", seed, number) % 2**32,
        )

    def _figure(self, manifest: Manifest) -> float:
        try:
            measured = json.loads((manifest.folder / SCORE).read_text(encoding="utf-8"))
            return float(measured["models"][self.model]["pass@1"])
        except (OSError, ValueError, KeyError, TypeError):
            told = f"{manifest.folder / SCORE}: no pass@1 of {self.model!r}, by which the loop goes on or ends"
            raise StageError(f"{told}: run that stage again with --force") from None


def named(stage: str, number: int) -> str:
    """A stage's name in an iteration, from 1 on."""
    return stage if number == 1 else f"{stage}{AT}{number}"


def _at(reference: str, number: int) -> str:
    name, _, file = reference[1:].partition("/")
    return f"${named(name, number)}/{file}"


def _figures(course: Course) -> str:
    return "pass@1 " + ", ".join(f"{figure:.1f}" for figure in course.figures)
