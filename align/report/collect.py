"""What a run's folder tells at this moment: its state, its stages, their curves and scores. Draws and runs nothing.

A run may be going on, or have stopped in a stage: what is not there yet is left out, a line that is being written is
ignored.
"""

import contextlib
import fcntl
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AlignError
from ..io import rows
from ..recipe.marked import is_reference
from ..recipe.recipe import run_name
from ..recipe.summary import summary
from ..recipe.workspace import MARKER, STOPPED, Manifest, Workspace
from ..score.compare import Answer
from .prompts import Prompt, prompts
from .solved import Solved, solved

LOCK = ".lock"
"""The file in a run's folder that the process which runs it holds."""
ACTIVE = ("running", "stopped", "failed")
"""States of the stage that a run is at."""
SUMMARY = ("pass@1", "low", "high", "problems", "n", "k", "sampling", "outcomes")
"""What the page shows of a scored model."""
TASK = ("figure", "prompt", "shots", "examples")
"""What it shows of a task."""
Point = dict[str, float]
"""One line of `metrics.jsonl`: `step`, and what was logged at it."""


@dataclass(frozen=True)
class StageReport:
    """One stage, as far as it has come."""

    name: str
    state: str
    """`done`, `changed`, `running`, `stopped`, `failed` or `not run`.

    `changed`: done, but its files are not those it left. `stopped`: it was interrupted.
    """
    why: str | None = None
    """The error of a stage that failed."""
    kind: str | None = None
    key: str | None = None
    seconds: float | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    """Names of the stages it reads from."""
    metrics: list[Point] = field(default_factory=list)


@dataclass(frozen=True)
class Score:
    """What one score stage measured; figures are percent, intervals 95 %."""

    stage: str
    problems: str
    """The problems' file as the recipe names it."""
    models: dict[str, dict[str, Any]]
    """`score.json`'s, in the recipe's order: the first one is what the others are compared with."""
    paired: dict[str, dict[str, float]]
    """Model → difference to the first model."""
    steps: dict[str, dict[str, int]]
    """Name of a training whose checkpoints were scored → model → step."""
    best: str | None
    """The model that was kept, where one was."""
    unscored: int
    """Problems left out because they could not be judged."""
    solved: Solved
    prompts: dict[str, Prompt]
    """Prompt and own ids of each problem shown, as far as its file is still the one that was scored."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluate stage measured on tasks; figures are percent, intervals 95 %."""

    stage: str
    tasks: dict[str, dict[str, Any]]
    """Task → what its figure is of."""
    models: dict[str, dict[str, list[float]]]
    """Model → task → [value, low, high]; the first model is what the others are compared with."""
    paired: dict[str, dict[str, dict[str, float]]]
    """Model → task → difference to the first model."""
    details: dict[str, dict[str, Any]]
    """Model → task → the tables behind the figure."""
    warnings: list[str]


@dataclass(frozen=True)
class Report:
    """All that the page shows."""

    run: str
    recipe: str
    seed: int
    overrides: list[str]
    state: str
    """`finished`, `running`, `stopped`, `failed` or `unfinished`."""
    stages: list[StageReport]
    scores: list[Score]
    evaluations: list[Evaluation]
    unread: list[str]
    """Stages that measured something, in a form of another version of align."""
    versions: dict[str, list[str]]
    """Library → its versions, several where stages were run with different ones."""
    commits: list[str]

    @property
    def active(self) -> StageReport | None:
        """The stage that runs, or in which the run stopped."""
        return next((stage for stage in self.stages if stage.state in ACTIVE), None)

    @property
    def command(self) -> str:
        """What runs it, or goes on with it."""
        named = [] if self.run == run_name(Path(self.recipe)) else ["--run", self.run]
        return shlex.join(["align", "run", self.recipe, *self.overrides, *named])

    @property
    def done(self) -> int:
        """Number of stages that are done."""
        return sum(stage.state in ("done", "changed") for stage in self.stages)

    @property
    def seconds(self) -> float:
        """What the stages that are done took, cached ones as they were first run."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    @property
    def has_older_results(self) -> bool:
        """Whether stages after the active one hold results of an earlier plan."""
        after = self.stages[self.stages.index(self.active) + 1 :] if self.active else []
        return any(stage.state in ("done", "changed") for stage in after)


def collect(folder: Path) -> Report:
    """Read a run's folder.

    Raises:
        DataError: the folder is no run.
    """
    found = summary(folder)
    workspace = Workspace(folder.parent, folder.name)
    manifests = {stage["name"]: workspace.last(stage["name"]) for stage in found["stages"]}
    held = is_held(folder)
    active = _active(folder, manifests)
    stages = [_stage(folder, stage, manifests[stage["name"]], active, held) for stage in found["stages"]]
    finished = all(stage.state in ("done", "changed") for stage in stages)
    begun = next((stage.state for stage in stages if stage.state in ACTIVE), None)
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    done = [manifest for manifest in manifests.values() if manifest]
    scores, evaluations, unread = _measured(folder, facts, done)
    return Report(
        run=found["run"],
        recipe=found["recipe"],
        seed=found["seed"],
        overrides=list(facts["overrides"]),
        state="running" if held else begun or ("finished" if finished else "unfinished"),
        stages=stages,
        scores=scores,
        evaluations=evaluations,
        unread=unread,
        versions=_versions(done),
        commits=sorted({manifest.data["commit"] for manifest in done if manifest.data["commit"]}),
    )


def is_scored(manifest: Manifest, kind: str = "score") -> bool:
    """Whether the stage is a score, or of another kind that scores, with all its files."""
    return bool(manifest.data["kind"] == kind) and manifest.intact


def is_held(folder: Path) -> bool:
    """Whether a process runs this run: whether it holds the lock."""
    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _active(folder: Path, manifests: dict[str, Manifest | None]) -> Path | None:
    """The folder of the stage that the last plan began and did not finish."""
    recorded = (folder / "run.json").stat().st_mtime
    begun = []
    for name, manifest in manifests.items():
        for path in folder.glob(f"{name}-*"):
            is_own = re.fullmatch(re.escape(name) + "-[0-9a-f]{12}", path.name)
            if is_own and path.is_dir() and not (path / MARKER).exists():
                touched = _touched(path)
                # a stage that is done since then was planned anew: the old folder is a leftover
                if manifest is None or touched >= recorded:
                    begun.append((touched, path))
    return max(begun)[1] if begun else None


def _touched(folder: Path) -> float:
    """When the folder or a file in it was last written."""
    times = [folder.stat().st_mtime]
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the stage that runs replaces its files
            times.append(entry.stat().st_mtime)
    return max(times)


def _stage(
    folder: Path, facts: dict[str, Any], manifest: Manifest | None, active: Path | None, held: bool
) -> StageReport:
    name = facts["name"]
    if active is not None and active.name.rpartition("-")[0] == name:
        key = active.name.rpartition("-")[2]
        return StageReport(name, *_unfinished(active, held), key=key, metrics=_metrics(active))
    if manifest is None:
        return StageReport(name, "not run")
    return StageReport(
        name,
        "done" if facts["cached"] else "changed",
        kind=facts["kind"],
        key=facts["key"],
        seconds=facts["seconds"],
        counts=facts["counts"],
        reads=[stage for stage in dict.fromkeys(_references(manifest.data["config"])) if (folder / stage).is_symlink()],
        metrics=_metrics(folder / name),
    )


def state_of(folder: Path) -> tuple[str, str | None]:
    """State of a stage's folder that is not done, and the error of one that failed."""
    begun = [path for path in folder.parent.iterdir() if is_begun(path)]
    return _unfinished(folder, is_held(folder.parent) and max(begun, key=_touched) == folder)


def is_begun(folder: Path) -> bool:
    """Whether it is the folder of a stage that is not done."""
    is_own = re.fullmatch(r".+-[0-9a-f]{12}", folder.name) and folder.is_dir() and not folder.is_symlink()
    return bool(is_own) and (folder.parent / LOCK).exists() and not (folder / MARKER).exists()


def _unfinished(folder: Path, held: bool) -> tuple[str, str | None]:
    why = None if held else _why(folder)
    return "running" if held else "failed" if why else "stopped", why


def _why(folder: Path) -> str | None:
    try:
        return (folder / STOPPED).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _references(value: Any) -> Iterator[str]:
    """Names of the stages that a config refers to."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, str) and is_reference(value):
        yield value[1:].partition("/")[0]


def _metrics(folder: Path) -> list[Point]:
    """The curves of a training stage, without a last line that is being written."""
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _measured(
    folder: Path, facts: dict[str, Any], done: list[Manifest]
) -> tuple[list[Score], list[Evaluation], list[str]]:
    """What stages measured, and the names of those that say it in other fields than today's."""
    scores, evaluations, unread = [], [], []
    for manifest in done:
        try:
            if is_scored(manifest):
                scores.append(_score(folder, facts, manifest))
            elif is_scored(manifest, "evaluate"):
                evaluations.append(_evaluation(manifest))
        except (AlignError, LookupError, OSError, TypeError, ValueError):
            # cached stages stay for years: a page without one of them is better than none
            unread.append(manifest.data["name"])
    return scores, evaluations, unread


def _score(folder: Path, facts: dict[str, Any], manifest: Manifest) -> Score:
    measured = json.loads((manifest.folder / "score.json").read_text(encoding="utf-8"))
    answers = [Answer.model_validate(row) for _, row in rows(manifest.folder / "results.jsonl")]
    first, *others = measured["models"]
    for model in measured["models"].values():
        _require(model, SUMMARY)
    unscored, compared = set(measured["unscored"]), _compared(measured)
    found = solved(compared, [row for row in answers if row.problem_id not in unscored and row.model in compared])
    return Score(
        stage=manifest.data["name"],
        problems=manifest.data["config"]["problems"],
        models=measured["models"],
        paired={name: measured["paired"][f"{name}-{first}"] for name in others},
        steps=measured.get("steps", {}),
        best=measured.get("best"),
        unscored=len(unscored),
        solved=found,
        prompts=prompts(folder, facts, manifest, found.shown),
    )


def _evaluation(manifest: Manifest) -> Evaluation:
    measured = json.loads((manifest.folder / "score.json").read_text(encoding="utf-8"))
    first, *others = measured["models"]
    for about in measured["tasks"].values():
        _require(about, TASK)
    return Evaluation(
        stage=manifest.data["name"],
        tasks=measured["tasks"],
        models={name: model["tasks"] for name, model in measured["models"].items()},
        paired={name: measured["paired"][f"{name}-{first}"]["tasks"] for name in others},
        details=measured["details"],
        warnings=measured.get("warnings", []),
    )


def _require(found: dict[str, Any], names: Collection[str]) -> None:
    for name in names:
        if name not in found:
            raise KeyError(name)


def _compared(measured: dict[str, Any]) -> list[str]:
    """The models whose solved problems are compared: of the checkpoints of a training the best one only."""
    models = list(measured["models"])
    for steps in measured.get("steps", {}).values():
        best = max(steps, key=lambda name: measured["models"][name]["pass@1"])
        models = [name for name in models if name not in steps or name == best]
    return models


def _versions(manifests: list[Manifest]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for manifest in manifests:
        for library, version in manifest.data["versions"].items():
            found[library].add(version)
    return {library: sorted(versions) for library, versions in found.items()}
