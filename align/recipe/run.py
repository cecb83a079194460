"""Run a recipe: each stage once, cached by key, resumed where it stopped.

Two entrances over one function: a plain process, which spawns training stages that have a `launch:` section, and
`accelerate launch … -m align run`, where every rank comes here and the others follow rank 0.
"""

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ..errors import BackendError, ConfigError, StageError, suggest
from ..models.entry import AnyEntry, Offline, Weights
from ..schema import SCHEMA_VERSION
from . import launch
from .plan import Step, is_reference, plan_step, references, resolve
from .recipe import Recipe, Stage, marked
from .stage import Context, Counts
from .workspace import MARKER, Manifest, Workspace

VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "numpy", "pydantic")


def run(
    recipe: Recipe,
    *,
    only: Collection[str] = (),
    start: str | None = None,
    force: Collection[str] = (),
    name: str | None = None,
    runs: Path = Path("runs"),
) -> Path:
    """Run a recipe's stages in order; returns the run's folder.

    Args:
        only: run these stages alone; the others must be done where they are needed.
        start: begin at this stage; those before it must be done where they are needed.
        force: run these again though they are done.
        name: name of the run, instead of the recipe's.
        runs: the folder of all runs.

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
    if launch.rank() > 0:
        _follow(recipe, workspace)
        return workspace.folder
    with contextlib.nullcontext() if launch.is_spawned() else workspace.locked():
        leader = launch.Leader(workspace)
        done: dict[str, Manifest | None] = {}
        for stage in recipe.stages:
            done[stage.name] = _stage(recipe, workspace, stage, done, leader, stage.name in wanted, set(force))
        leader.close()
    return workspace.folder


def _stage(
    recipe: Recipe,
    workspace: Workspace,
    stage: Stage,
    done: Mapping[str, Manifest | None],
    leader: launch.Leader,
    wanted: bool,
    force: set[str],
) -> Manifest | None:
    """Bring one stage up to date, if it is wanted."""
    missing = [name for name in references(stage.config) if done[name] is None]
    if missing:
        if wanted:
            raise StageError(f"{stage.name} needs {missing[0]}, which is not done: run it first")
        return None
    step = plan_step(recipe, workspace, stage, done)
    assert step.folder is not None
    if step.manifest and not (wanted and stage.name in force):
        if wanted and not launch.is_spawned():
            print(f"{stage.name:<12} cached", flush=True)
        workspace.record(stage.name, step.folder, _facts(recipe, workspace))
        return step.manifest
    if not wanted:
        return None
    manifest = _execute(recipe, workspace, step, done, leader)
    workspace.record(stage.name, manifest.folder, _facts(recipe, workspace))
    if not launch.is_spawned():
        print(f"{stage.name:<12} {describe(manifest.data['counts'])}  {manifest.data['seconds']:.1f} s", flush=True)
    return manifest


def _execute(
    recipe: Recipe,
    workspace: Workspace,
    step: Step,
    done: Mapping[str, Manifest | None],
    leader: launch.Leader,
) -> Manifest:
    stage, key = step.stage, step.key
    assert key is not None
    folder = workspace.folder / f"{stage.name}-{key[:12]}"
    _set_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    leader.announce(stage.name, "run", folder)
    started = time.monotonic()
    settings: Any = stage.config
    spawned = stage.trains and settings.launch is not None and not launch.is_launched()
    if spawned:
        options = settings.launch.model_dump(exclude_none=True)
        if "config_file" in options:
            options["config_file"] = str(recipe.path(options["config_file"]))
        launch.spawn(recipe.document.path, recipe.overrides, stage.name, workspace.name, options)
        manifest = workspace.done(folder, key)
        if manifest is None:
            raise StageError(f"{stage.name}: the launched process ended without finishing the stage")
        return manifest
    counts = call(recipe, stage, folder, done)
    data = {
        "schema_version": SCHEMA_VERSION,
        "name": stage.name,
        "kind": stage.kind,
        "version": stage.module.VERSION,
        "key": key,
        "config": step.written,
        "inputs": step.inputs,
        "seed": recipe.seed,
        "counts": counts,
        "seconds": round(time.monotonic() - started, 3),
        "processes": launch.world_size() if stage.trains else 1,
        "versions": versions(),
        "commit": commit(),
    }
    manifest = workspace.finish(folder, data)
    leader.announce(stage.name, "done", folder)
    return manifest


def call(recipe: Recipe, stage: Stage, folder: Path, done: Mapping[str, Manifest | None]) -> Counts:
    """Call the stage's `run` with every reference resolved."""
    if stage.trains:
        launch.refuse_many_gpus(stage.name)
    config = resolve(recipe, stage.config, done)
    labels = {
        resolved: written[1:].partition("/")[0]
        for (_, written, _), (_, resolved, _) in zip(marked(stage.config), marked(config), strict=True)
        if is_reference(written)
    }
    context = Context(stage.name, folder, recipe.seed, local_models(recipe), labels)
    try:
        counts: Counts = stage.module.run(config, context)
    except ModuleNotFoundError as error:
        if error.name not in VERSIONED:
            raise
        raise BackendError(f"{stage.name} needs {error.name}: pip install 'align-rrtf[train]'") from None
    return counts


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
    """Ranks above 0: run the training stages that rank 0 announces."""
    stages = {stage.name: stage for stage in recipe.stages}
    for entry in launch.follow(workspace):
        stage = stages[entry["stage"]]
        if entry["action"] == "run" and stage.trains:
            done = {name: workspace.last(name) for name in stages}
            call(recipe, stage, Path(entry["folder"]), done)


def _set_aside(folder: Path) -> None:
    """A finished folder that is run again is renamed, not overwritten; an unfinished one is continued."""
    if (folder / MARKER).exists():
        number = 1
        while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
            number += 1
        folder.rename(aside)


def _facts(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    path = os.path.relpath(recipe.document.path)
    order = [stage.name for stage in recipe.stages]
    return {"recipe": path, "run": workspace.name, "seed": recipe.seed, "overrides": recipe.overrides, "order": order}


def describe(counts: Counts) -> str:
    """Counts in one line: `kept 3, rejected 2 (too_long 1, duplicate 1)`."""
    parts = []
    for name, value in counts.items():
        if isinstance(value, dict):
            reasons = ", ".join(f"{reason} {number}" for reason, number in value.items())
            parts.append(f"{name} {sum(value.values())}" + (f" ({reasons})" if reasons else ""))
        else:
            parts.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(parts)


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
