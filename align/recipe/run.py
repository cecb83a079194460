"""Run a recipe: each stage once, cached by key, resumed where it stopped.

Two entrances over one function: a plain process, which spawns training stages that have a `launch:` section, and
`accelerate launch … -m align run`, where every rank comes here and the others follow rank 0.
"""

import contextlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ..errors import AlignError, BackendError, ConfigError, StageError, suggest
from ..generate.ranks import Follower, Ranks
from ..models.entry import AnyEntry, Offline, Weights
from ..schema import SCHEMA_VERSION
from . import launch
from .begun import begin
from .card import write_card
from .closing import WIDTH, say_done, say_not_run
from .marked import is_reference, marked, references
from .peers import Log, kept, together
from .plan import Step, plan_step, prompts, resolve, revisions, server_of
from .recipe import Recipe, Stage
from .serving import Serving
from .stage import Context, Counts
from .workspace import MARKER, STOPPED, Manifest, Workspace

SHARES = ".shares"
"""Folder of a stage through which the ranks of a launcher share out what weights generate."""
REPLIES = ".replies"
"""Folder of a run that holds what endpoints answered; all its stages and restarts share it."""
VERSIONED = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "ctranslate2",
    "gptqmodel",
    "numpy",
    "pydantic",
    "openai",
)


def run(
    recipe: Recipe,
    *,
    only: Collection[str] = (),
    start: str | None = None,
    force: Collection[str] = (),
    name: str | None = None,
    runs: Path = Path("runs"),
    on_stage: Callable[[Path], None] | None = None,
) -> Path:
    """Run a recipe's stages in order; returns the run's folder.

    Args:
        only: run these stages alone; the others must be done where they are needed.
        start: begin at this stage; those before it must be done where they are needed.
        force: run these again though they are done.
        name: name of the run, instead of the recipe's.
        runs: the folder of all runs.
        on_stage: called with the run's folder whenever a stage begins or ends.

    Raises:
        ConfigError: a stage named here is not in the recipe.
        StageError: an input is missing, or another process runs the same run.
    """
    names = [stage.name for stage in recipe.stages]
    for given in (*only, *force, *([start] if start else [])):
        if given not in names:
            raise ConfigError(f"no stage {given!r} in {recipe.document.path}: {suggest(given, names)}")
    wanted = set(only) or set(names[names.index(start) :] if start else names)
    workspace = Workspace(runs.resolve(), name or recipe.name)
    if launch.is_launched():
        launch.end_with_parent()
    if launch.rank() > 0:
        _follow(recipe, workspace)
        return workspace.folder
    with contextlib.nullcontext() if launch.is_spawned() else workspace.locked():
        if not launch.is_spawned():
            launch.forget(workspace)
        leader = launch.Leader(workspace)
        running = _Run(recipe, workspace, leader, wanted, frozenset(only), set(force), on_stage)
        for stage in recipe.stages:
            running.done[stage.name] = running.bring(stage)
        leader.close()
    return workspace.folder


@dataclass(frozen=True)
class _Run:
    """Rank 0's way through the stages."""

    recipe: Recipe
    workspace: Workspace
    leader: launch.Leader
    wanted: set[str]
    only: frozenset[str]
    force: set[str]
    on_stage: Callable[[Path], None] | None
    done: dict[str, Manifest | None] = field(default_factory=dict)
    """The manifests of the stages before the one at hand; None for those that are not done."""

    def bring(self, stage: Stage) -> Manifest | None:
        """Bring one stage up to date, if it is wanted."""
        wanted = stage.name in self.wanted
        if (loop := self.recipe.loop) is not None:
            if ended := loop.ended_before(stage, self.done):
                self._leave_out(stage, ended)
                return None
            stage = loop.settled(stage, self.done)
        if missing := self._missing(stage):
            if wanted:
                raise StageError(f"{stage.name} needs {missing}")
            return None
        step = plan_step(self.recipe, self.workspace, stage, self.done)
        if step.manifest and not (wanted and stage.name in self.force):
            if wanted and not launch.is_spawned():
                say_not_run(stage.name, "cached", self._width)
            self._record(stage, step.manifest)
            return step.manifest
        if not wanted:
            return None
        manifest = self._execute(step)
        self._record(stage, manifest)
        self._tell()
        if not launch.is_spawned():
            say_done(stage.name, manifest.data["counts"], manifest.data["seconds"], self._width)
        return manifest

    @property
    def _width(self) -> int:
        """Columns of the longest name of a stage."""
        return max(WIDTH, *(len(stage.name) for stage in self.recipe.stages))

    def _missing(self, stage: Stage) -> str | None:
        """The first of the stages before it that must be done and is not; None where all are."""
        loop = self.recipe.loop
        awaited = loop.waits(stage, self.done) if loop else None
        for name in (awaited, *references(stage.config)):
            if name is not None and self.done[name] is None:
                other = next(other for other in self.recipe.stages if other.name == name)
                ended = loop.ended_before(other, self.done) if loop else None
                return f"{name}, which is {ended or 'not done: run it first'}"
        return None

    def _leave_out(self, stage: Stage, why: str) -> None:
        """A stage of an iteration that the loop has ended before: what an earlier plan left is no longer named."""
        if stage.name in self.only:
            raise StageError(f"{stage.name} is {why}")
        link = self.workspace.folder / stage.name
        if link.is_symlink():
            link.unlink()
        if stage.name in self.wanted and not launch.is_spawned() and stage.name == self._first_left_out():
            say_not_run(stage.name, why, self._width)

    def _first_left_out(self) -> str:
        loop = self.recipe.loop
        assert loop is not None
        return next(stage.name for stage in self.recipe.stages if loop.ended_before(stage, self.done))

    def _execute(self, step: Step) -> Manifest:
        stage, key = step.stage, step.key
        assert key is not None
        folder = self.workspace.folder / f"{stage.name}-{key[:12]}"
        _set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOPPED).unlink(missing_ok=True)
        if not launch.is_spawned() and (left := begin(folder, step)):
            print(f"align: {left}", file=sys.stderr, flush=True)
        self.leader.announce(stage.name, "run", folder)
        self._tell()
        try:
            return self._work(step, key, folder)
        except AlignError as error:
            named = re.match(rf"(stages\.)?{re.escape(stage.name)}\b", str(error))
            said = str(error) if named else f"{stage.name}: {error}"
            # a full disk must not hide the error; a launched process has said it better
            with contextlib.suppress(OSError), open(folder / STOPPED, "x", encoding="utf-8") as file:
                file.write(said)
            raise type(error)(said) from None

    def _work(self, step: Step, key: str, folder: Path) -> Manifest:
        stage = step.stage
        started = time.monotonic()
        # of one process accelerate tells no rank, so that being launched does not show
        here = launch.is_launched() or launch.is_spawned()
        if stage.trains and stage.config.launch is not None and not here:  # type: ignore[attr-defined]
            return self._spawn(stage, folder, key)
        counts = call(self.recipe, stage, folder, self.done, self.leader)
        data = {
            "schema_version": SCHEMA_VERSION,
            "name": stage.name,
            "kind": stage.kind,
            "version": stage.module.VERSION,
            "key": key,
            "config": step.written,
            "prompts": prompts(stage, step.inputs),
            "inputs": step.inputs,
            "seed": stage.seed,
            "counts": counts,
            "seconds": round(time.monotonic() - started, 3),
            "processes": launch.world_size() if stage.trains else 1,
            "versions": versions(),
            "commit": commit(),
        }
        if getattr(stage.module, "DATASET", False):
            self._describe(stage, folder, data)
        manifest = self.workspace.finish(folder, data)
        self.leader.announce(stage.name, "done", folder)
        return manifest

    def _describe(self, stage: Stage, folder: Path, data: dict[str, Any]) -> None:
        """Write the card of the records that a stage made."""
        before = [self.done[other.name] for other in _below(self.recipe, stage, self.done) if other != stage]
        made = [*(manifest.data for manifest in before if manifest), data]
        own = folder / "problems.jsonl"
        problems = own if own.is_file() else Path(resolve(self.recipe, stage.config, self.done).problems)  # type: ignore[attr-defined]
        write_card(folder, f"{self.workspace.name}: {stage.name}", made, self.recipe.models, [problems])

    def _spawn(self, stage: Stage, folder: Path, key: str) -> Manifest:
        """Train in processes of `accelerate launch`, which write the stage's marker themselves."""
        recipe = self.recipe
        options = stage.config.launch.model_dump(exclude_none=True)  # type: ignore[attr-defined]
        if "config_file" in options:
            options["config_file"] = str(recipe.path(options["config_file"]))
        launch.spawn(recipe.document.path, recipe.overrides, stage.name, self.workspace.name, options, folder)
        launch.forget(self.workspace)
        manifest = self.workspace.done(folder, key)
        if manifest is None:
            raise StageError(f"{stage.name}: the launched process ended without finishing the stage")
        return manifest

    def _record(self, stage: Stage, manifest: Manifest) -> None:
        # not the manifest's name: it may be that of another run's stage with the same key
        done = {**self.done, stage.name: manifest}
        self.workspace.record(stage.name, manifest.folder, _facts(self.recipe, self.workspace, done))
        self.workspace.tidy(manifest.folder)

    def _tell(self) -> None:
        if self.on_stage is not None:
            self.on_stage(self.workspace.folder)


def call(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    done: Mapping[str, Manifest | None],
    leader: launch.Leader | None = None,
) -> Counts:
    """Call the stage's `run` with every reference resolved; `leader` has other ranks that may help."""
    if stage.trains:
        launch.refuse_many_gpus(stage.name)
        launch.check_size(stage.name, stage.config.launch and stage.config.launch.num_processes)  # type: ignore[attr-defined]
        with together(folder, quiet=launch.is_spawned()):
            return _call(recipe, stage, folder, done, leader)
    return _call(recipe, stage, folder, done, leader)


def _call(
    recipe: Recipe, stage: Stage, folder: Path, done: Mapping[str, Manifest | None], leader: launch.Leader | None
) -> Counts:
    config = resolve(recipe, stage.config, done)
    labels = {
        resolved: written[1:].partition("/")[0]
        for (_, written, _), (_, resolved, _) in zip(marked(stage.config), marked(config), strict=True)
        if is_reference(written)
    }
    below = [other for other in _below(recipe, stage, done) if other != stage]
    trained_on = {other.name: resolve(recipe, other.config, done) for other in below if other.trains}
    templates = sorted({name for other in below if (name := getattr(other.config, "template", None))})
    server = server_of(recipe, stage)
    serving = None if server is None else Serving(server, stage.name, folder)
    context = Context(
        stage.name,
        folder,
        stage.seed,
        local_models(recipe),
        labels,
        trained_on,
        templates,
        replies=folder.parent / REPLIES,
        ranks=None if leader is None or stage.trains else _ranks(leader, stage, folder),
        serving=serving,
    )
    try:
        counts: Counts = stage.module.run(config, context)
    except ModuleNotFoundError as error:
        if error.name not in VERSIONED:
            raise
        raise BackendError(f"{stage.name} needs {error.name}: pip install 'align-rrtf[train]'") from None
    finally:
        if serving is not None:
            serving.stop()
    return counts


def _ranks(leader: launch.Leader, stage: Stage, folder: Path) -> Ranks:
    """The ranks as a stage sees them in which rank 0 alone runs."""
    return Ranks(launch.world_size(), folder / SHARES, lambda job: leader.announce(stage.name, "generate", job))


def _below(recipe: Recipe, stage: Stage, done: Mapping[str, Manifest | None]) -> list[Stage]:
    """The stage and all that it builds on, in the recipe's order."""
    stages = [recipe.loop.settled(other, done) for other in recipe.stages] if recipe.loop else recipe.stages
    wanted = {stage.name}
    for other in reversed(stages):
        if other.name in wanted:
            wanted |= set(references(other.config))
    return [other for other in stages if other.name in wanted]


def local_models(recipe: Recipe) -> dict[str, AnyEntry]:
    """The `models:` with paths that this process can open; an unset variable is left as written."""
    found: dict[str, AnyEntry] = {}
    for name, entry in recipe.models.items():
        if isinstance(entry, Offline):
            entry = entry.model_copy(update={"offline": str(recipe.path(entry.offline))})
        elif isinstance(entry, Weights) and recipe.path_is_local(entry.model_name_or_path):
            entry = entry.model_copy(update={"model_name_or_path": str(recipe.path(entry.model_name_or_path))})
        found[name] = entry
    return found


def _follow(recipe: Recipe, workspace: Workspace) -> None:
    """Ranks above 0: run the training stages that rank 0 announces, and generate their shares in others."""
    stages = {stage.name: stage for stage in recipe.stages}
    follower, log = Follower(launch.rank()), Log(launch.rank())
    with kept(log, quiet=launch.is_spawned()):
        for entry in launch.follow(workspace):
            stage = stages[entry["stage"]]
            if entry["action"] == "generate":
                follower.work(Path(entry["folder"]))
                continue
            follower.leave()
            if entry["action"] == "run":
                log.turn_to(Path(entry["folder"]))
                if stage.trains:
                    done = {name: workspace.last(name) for name in stages}
                    settled = recipe.loop.settled(stage, done) if recipe.loop else stage
                    call(recipe, settled, Path(entry["folder"]), done)


def _set_aside(folder: Path) -> None:
    """A finished folder that is run again is renamed, not overwritten; an unfinished one is continued."""
    if (folder / MARKER).exists():
        number = 1
        while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
            number += 1
        folder.rename(aside)


def _facts(recipe: Recipe, workspace: Workspace, done: Mapping[str, Manifest | None]) -> dict[str, Any]:
    path, loop = os.path.relpath(recipe.document.path), recipe.loop
    order = [stage.name for stage in recipe.stages if not (loop and loop.ended_before(stage, done))]
    facts = {"recipe": path, "run": workspace.name, "seed": recipe.seed, "overrides": recipe.overrides, "order": order}
    facts |= {"revisions": found} if (found := revisions(recipe)) else {}
    return facts | ({"repeat": loop.facts(done)} if loop else {})


def versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    found = {"python": platform.python_version(), "align": metadata.version("align-rrtf")}
    for name in VERSIONED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def commit() -> str | None:
    """The commit of the checkout that `align` runs from; None for an installed package."""
    top = Path(__file__).parents[2]
    if not (top / ".git").exists():
        return None
    told = subprocess.run(["git", "-C", top, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None
