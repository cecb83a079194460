"""Give every stage its content key, and say which are done, which must run and why. Runs nothing."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Place, Section, expand
from ..errors import BackendError, ConfigError, StageError
from ..generate import Prompts
from ..io import HUB, parse_hub
from ..models.entry import AnyEntry, Endpoint, Offline, Weights
from .loops import AT
from .marked import is_reference, marked, references, replace
from .recipe import Recipe, Stage
from .serving import Server
from .stage import ALL, FILE, FOLDER, MODEL, MODELS, UNKEYED, Marker, Without
from .workspace import Manifest, Workspace, digest

COMMIT = 40
"""Length of a git commit id: such a revision is pinned."""


class HubError(StageError):
    """The hub, or its cache here, does not tell which commit a revision is."""


@dataclass(frozen=True)
class Step:
    """A stage with its key, as far as it is known."""

    stage: Stage
    key: str | None
    folder: Path | None
    manifest: Manifest | None
    """Set if the stage is done."""
    why: str
    """`cached`, or the reason to run, or what it waits for."""
    written: dict[str, Any]
    """The config as written, without what does not change results."""
    inputs: dict[str, str]
    """Place of every file and model → digest."""
    needed: bool = True
    """Whether it runs at all: not if its loop has ended before."""


def plan(recipe: Recipe, workspace: Workspace) -> list[Step]:
    """All steps in order; a step whose inputs do not exist yet has no key.

    Of a loop that may end early, steps are unknown until a score has told whether they run.
    """
    steps: list[Step] = []
    for stage in recipe.stages:
        done = {step.stage.name: step.manifest for step in steps}
        try:
            steps.append(plan_step(recipe, workspace, stage, done))
        except HubError as error:
            steps.append(Step(stage, None, None, None, str(error), keyed(stage.config), {}))
    return steps


def plan_step(recipe: Recipe, workspace: Workspace, stage: Stage, done: Mapping[str, Manifest | None]) -> Step:
    """One step, given the manifests of the stages before it."""
    server = server_of(recipe, stage)
    serving = {} if server is None else {"server": server.command}
    if (loop := recipe.loop) is not None:
        stage = loop.settled(stage, done)
        if ended := loop.ended_before(stage, done):
            return Step(stage, None, None, None, ended, keyed(stage.config), {}, needed=False)
    written = keyed(stage.config) | serving
    waits = [loop.waits(stage, done)] if loop else []
    for name in (*waits, *references(stage.config)):
        if name is not None and done[name] is None:
            return Step(stage, None, None, None, f"unknown until {name} runs", written, {})
    inputs: dict[str, str] = {}

    def visit(marker: Marker, value: str, place: Place) -> str:
        found = _digest(recipe, workspace, marker, value, done)
        inputs[".".join(map(str, place))] = found
        # a model's name is written into records, so that another name gives other bytes
        return found if marker in (FILE, FOLDER) else f"{value}: {found}"

    version = stage.module.VERSION
    key = digest(
        {
            "kind": stage.kind,
            "version": version,
            "config": keyed(replace(stage.config, visit)),
            "seed": stage.seed,
            "prompts": shipped_prompts(stage),
            **programs(stage),
            **serving,
        }
    )
    folder = workspace.stage_folder(stage.name, key)
    manifest = workspace.done(folder, key)
    last = workspace.last(stage.name)
    why = "cached" if manifest else _why(folder, last, stage, written, inputs)
    return Step(stage, key, folder, manifest, why, written, inputs)


def keyed(section: Section) -> dict[str, Any]:
    """The config's values that change results, as plain data."""
    found = {
        field.alias or name: _plain(getattr(section, name))
        for name, field in type(section).model_fields.items()
        if UNKEYED not in field.metadata
    }
    for name, field in type(section).model_fields.items():
        for marker in field.metadata:
            if isinstance(marker, Without):
                found[name] = {key: value for key, value in found[name].items() if key not in marker.keys}
    return found


def server_of(recipe: Recipe, stage: Stage) -> Server | None:
    """The server that a stage asks weights by; None where it generates by itself."""
    server = recipe.loop.repeat.server if recipe.loop and stage.iteration else None
    if server is None or stage.trains:
        return None
    name = stage.name.partition(AT)[0]
    generates = any(marker in (MODEL, MODELS) for marker, _, _ in marked(stage.config))
    return server if (generates if server.stages is None else name in server.stages) else None


def resolve(recipe: Recipe, config: Section, done: Mapping[str, Manifest | None]) -> Section:
    """The config with every reference, benchmark and relative path replaced by a path."""

    def visit(marker: Marker, value: str, place: Place) -> str:
        if is_reference(value):
            name, _, file = value[1:].partition("/")
            manifest = done[name]
            assert manifest is not None
            return str(manifest.folder / file)
        address = recipe.benchmarks.get(value, value)
        if marker not in (FILE, FOLDER):
            return value
        return address if address.startswith(HUB) else str(recipe.path(address))

    return replace(config, visit)


def shipped_prompts(stage: Stage) -> list[str]:
    """`name@hash` of the templates of ours that the stage may ask by."""
    own = getattr(stage.config, "prompts", {})
    return [Prompts().id(purpose) for purpose in getattr(stage.module, "PROMPTS", ()) if purpose not in own]


def prompts(stage: Stage, inputs: Mapping[str, str]) -> list[str]:
    """`name@hash` of all templates that the stage may ask by, its own files' among them."""
    own = {purpose: inputs[f"prompts.{purpose}"] for purpose in getattr(stage.config, "prompts", {})}
    return [*shipped_prompts(stage), *(f"{purpose}@{found[:8]}" for purpose, found in own.items())]


def programs(stage: Stage) -> dict[str, str | None]:
    """The isolation level and the interpreter reached, for stages that run programs: both are part of their key.

    Raises:
        BackendError: this machine does not give the level.
        ConfigError: there is no such interpreter.
    """
    if not _runs_programs(stage):
        return {"isolation": None}
    from ..execute import isolation_level

    profile = getattr(stage.config, "profile", None)
    try:
        reached = isolation_level(getattr(stage.config, "isolation", "auto"))
        return {"isolation": reached} | ({"profile": profile.made().key} if profile else {})
    except (BackendError, ConfigError) as error:
        raise type(error)(f"stages.{stage.name}: {error}") from None


def not_run_here(recipe: Recipe) -> list[str]:
    """The stages that this machine lacks something for, each with the reason in one line."""
    found = []
    for stage in recipe.stages:
        try:
            programs(stage)
        except BackendError as error:
            found.append(f"{str(error).splitlines()[0]}: align doctor tells the cure")
        if needs := getattr(stage.module, "needs", None):
            try:
                needs(stage.config)
            except (BackendError, ConfigError) as error:
                found.append(f"stages.{stage.name}: {error}")
    return found


def _runs_programs(stage: Stage) -> bool:
    """Some kinds always do; some say so of their configuration."""
    asked: Callable[[Any], bool] | None = getattr(stage.module, "runs_programs", None)
    return asked(stage.config) if asked else bool(getattr(stage.module, "RUNS_PROGRAMS", False))


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return keyed(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _digest(
    recipe: Recipe, workspace: Workspace, marker: Marker, value: str, done: Mapping[str, Manifest | None]
) -> str:
    if is_reference(value):
        name, _, file = value[1:].partition("/")
        manifest = done[name]
        assert manifest is not None
        found = manifest.digest(file.removesuffix(ALL))
        if found is None:
            raise StageError(f"{value}: stage {name} left no {file!r} in {manifest.folder}")
        return found
    if marker not in (FILE, FOLDER):
        return _model_digest(recipe, workspace, recipe.models[value])
    address = recipe.benchmarks.get(value, value)
    if address.startswith(HUB):
        dataset, revision, split = parse_hub(address)
        return digest(["dataset", dataset, split, _commit("dataset", dataset, revision)])
    path = recipe.path(address)
    if not path.exists():
        raise StageError(f"{path}: no such file")
    return workspace.tree_digest(path) if path.is_dir() else workspace.file_digest(path)


def _model_digest(recipe: Recipe, workspace: Workspace, entry: AnyEntry) -> str:
    if isinstance(entry, Endpoint):
        # where a model is served, and how fast it is asked, does not change what it says
        return digest(["endpoint", entry.model, entry.extra_body])
    if isinstance(entry, Offline):
        return digest(["offline", workspace.tree_digest(recipe.path(entry.offline)), entry.errors, entry.seed])
    how = entry.model_dump(exclude={"model_name_or_path", "revision", "trust_remote_code"})
    name = expand(entry.model_name_or_path)
    if recipe.path_is_local(name):
        return digest(["weights", workspace.tree_digest(recipe.path(name)), how])
    try:
        return digest(["weights", name, _commit("model", name, entry.revision), how])
    except HubError as error:
        if "/" in name:
            raise
        raise HubError(f"no folder {name!r} below {recipe.folder}; as a hub id: {error}") from None


@functools.cache
def _commit(kind: str, name: str, revision: str | None) -> str:
    """The commit that a hub revision means now."""
    if revision and len(revision) == COMMIT:
        return revision
    cure = "give its commit id as the revision, or a local folder"
    try:
        from huggingface_hub import HfApi, constants
    except ImportError:
        raise HubError(f"{name}: resolving a hub revision needs `pip install 'align-rrtf[train]'`: {cure}") from None
    if constants.HF_HUB_OFFLINE:
        return _cached_commit(kind, name, revision or "main")
    try:
        return str(HfApi().repo_info(name, repo_type=kind, revision=revision).sha)
    except Exception as error:  # the hub client raises a dozen unrelated types for one cause: not reachable
        raise HubError(f"{name}: the hub did not answer ({type(error).__name__}): {cure}") from None


def _cached_commit(kind: str, name: str, revision: str) -> str:
    """The commit that a revision meant when it was fetched into the local cache."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = ""
    if not commit or not (folder / "snapshots" / commit).is_dir():
        what = f"hf download {name}" + (" --repo-type dataset" if kind == "dataset" else "")
        pinned = f" --revision {revision}" if revision != "main" else ""
        raise HubError(f"{name}: HF_HUB_OFFLINE is set and {folder} has no {revision}: run `{what}{pinned}` online")
    return commit


def revisions(recipe: Recipe) -> dict[str, str]:
    """Hub models of a recipe → the commit that is used; without those that nothing is known of yet."""
    found = {}
    for entry in recipe.models.values():
        if isinstance(entry, Weights) and not recipe.path_is_local(name := expand(entry.model_name_or_path)):
            with contextlib.suppress(HubError):
                found[name] = _commit("model", name, entry.revision)
    return found


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """`rounds 3 → 4` for every value in which two configs differ."""
    return list(_changes(old, new))


def _why(
    folder: Path,
    last: Manifest | None,
    stage: Stage,
    written: dict[str, Any],
    inputs: dict[str, str],
) -> str:
    if folder.is_dir():
        return "to be continued" if not (folder / "stage.json").exists() else "its files were changed"
    if last is None:
        return "never run"
    old = last.data
    changes = list(_changes(old["config"], written))
    if old["seed"] != stage.seed:
        changes.append(f"seed {old['seed']} → {stage.seed}")
    if old["version"] != stage.module.VERSION:
        changes.append(f"{stage.kind} version {old['version']} → {stage.module.VERSION}")
    shown = {place for place, _ in _flat(written)}
    for place, value in inputs.items():
        if old["inputs"].get(place) != value and place in shown:
            source = dict(_flat(written))[place]
            if dict(_flat(old["config"])).get(place) == source:
                changes.append(f"{source} changed")
    return ", ".join(changes) or "its environment changed"


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """`rounds 3 → 4` for every value that differs."""
    before, after = dict(_flat(old)), dict(_flat(new))
    for place in sorted(before.keys() | after.keys()):
        if before.get(place) != after.get(place):
            yield f"{place} {before.get(place, 'unset')} → {after.get(place, 'unset')}"


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{place}.{index}")
    else:
        yield place, value
