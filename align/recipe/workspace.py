"""The folders of a run: `runs/<name>/<stage>-<key12>/`, their `stage.json`, and `run.json`. Runs nothing.

`stage.json` is written last, by rename: its presence, with files of the sizes it names, means done.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError, StageError
from ..io import Hashes, read_object, write_json
from ..schema import canonical_json

MARKER, RUN = "stage.json", "run.json"
STOPPED = ".stopped"
"""Why a stage failed, in its folder, until it is begun again."""
MEASURED = frozenset({"timings.jsonl", MARKER})
"""Files that differ between equal runs; not part of a stage's content."""
LONGEST = 200
"""Bytes of a part of a run's name."""


@dataclass(frozen=True)
class Manifest:
    """What `stage.json` holds."""

    folder: Path
    data: dict[str, Any]

    @property
    def key(self) -> str:
        """The stage's key."""
        return str(self.data["key"])

    def digest(self, file: str) -> str | None:
        """sha256 of an output file, or of a folder of them; None where the stage left none."""
        files = self.data["files"]
        if file in files:
            return str(files[file]["sha256"])
        inside = {name: entry["sha256"] for name, entry in files.items() if name.startswith(f"{file}/")}
        return digest(inside) if inside else None

    @property
    def intact(self) -> bool:
        """Whether every output still has its size."""
        return all(
            (self.folder / name).is_file() and (self.folder / name).stat().st_size == entry["bytes"]
            for name, entry in self.data["files"].items()
        )


@dataclass
class Workspace:
    """One run's place below `runs/`.

    Raises:
        ConfigError: the name is no relative path below it.
    """

    runs: Path
    name: str
    _hashes: Hashes = field(init=False)

    def __post_init__(self) -> None:
        self._hashes = Hashes(self.runs / ".hashes.json")
        parts = Path(self.name).parts
        if not parts or parts[0] == "/" or ".." in parts or any(len(os.fsencode(part)) > LONGEST for part in parts):
            raise ConfigError(f"{self.name!r} is no name of a run: give a short path below runs/")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runs / self.name

    def stage_folder(self, stage: str, key: str) -> Path:
        """Where a stage with this key is or goes: its own folder, or a done one of another run."""
        own = self.folder / f"{stage}-{key[:12]}"
        if self.manifest(own) is None:
            for marker in sorted(self.runs.glob(f"**/*-{key[:12]}/{MARKER}")):
                found = self.manifest(marker.parent)
                if found and found.key == key and found.intact:
                    return marker.parent
        return own

    def manifest(self, folder: Path) -> Manifest | None:
        """The manifest of a done stage."""
        try:
            return Manifest(folder, read_object(folder / MARKER, ("key", "files")))
        except FileNotFoundError:
            return None

    def last(self, stage: str) -> Manifest | None:
        """The manifest of the stage as the last plan left it."""
        return self.manifest(self.folder / stage)

    def done(self, folder: Path, key: str) -> Manifest | None:
        """The manifest, if the stage is done under this key and its files are there."""
        found = self.manifest(folder)
        return found if found and found.key == key and found.intact else None

    def finish(self, folder: Path, data: dict[str, Any]) -> Manifest:
        """Write `stage.json`, with the hash of every file in the folder but hidden ones."""
        files = {
            name: {"sha256": self.file_digest(path), "bytes": path.stat().st_size}
            for name, path in _visible(folder)
            if name not in MEASURED
        }
        data = {**data, "files": files}
        write_json(folder / MARKER, data)
        return Manifest(folder, data)

    def tidy(self, folder: Path) -> None:
        """Remove the hidden files of a done stage: journals and states that an interrupted one goes on from."""
        for path in folder.glob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def record(self, stage: str, folder: Path, facts: dict[str, Any]) -> None:
        """Point `run.json` and the link `runs/<name>/<stage>` at the stage's folder."""
        path = self.folder / RUN
        known = read_object(path) if path.is_file() else {}
        stages = {**known.get("stages", {}), stage: os.path.relpath(folder, self.runs)}
        order = [name for name in facts["order"] if name in stages]
        write_json(path, {**facts, "stages": {name: stages[name] for name in order}})
        link, temporary = self.folder / stage, self.folder / f".{stage}.link"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(folder, self.folder))
        os.replace(temporary, link)

    def file_digest(self, path: Path) -> str:
        """sha256 of a file; of a large one, remembered."""
        return self._hashes.of(path)

    def tree_digest(self, folder: Path) -> str:
        """Digest of all files of a folder, by name and content."""
        return digest({name: self.file_digest(path) for name, path in _visible(folder)})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Refuse a second process that runs the same run.

        Raises:
            StageError: another process holds it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / ".lock", "w")  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise StageError(f"{self.folder}: cannot be written ({error.strerror or error})") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StageError(f"{self.folder}: another process runs it: wait for it, or give --run NAME") from None
            yield


def _visible(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder by their names in it, without hidden ones."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), path


def digest(value: Any) -> str:
    """Hex sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
