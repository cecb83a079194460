"""Ranks: who leads, who follows, and how a training stage is spawned with `accelerate launch`. Torch-free.

Under a launcher every rank runs the recipe. Rank 0 decides and announces in a file what it runs; the others follow
that file, never a barrier, so that hours of data work cannot trip a collective's watchdog.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BackendError, StageError
from .peers import LOGS, ending, log_path, ranks_of
from .workspace import Workspace

POLL_SECONDS = 0.2
SEE_SECONDS = 15.0
"""How long a rank waits for rank 0's announcements to appear before it says that it does not see them."""
FRESH_SECONDS = 60.0
"""How old announcements of another machine may be at first sight."""
HELD = "ALIGN_RUN_HELD"
"""Set for spawned training: the parent process holds the run's lock."""
ANNOUNCED = ".launch-"
"""How the files of announcements begin."""
SAVING = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "600"}
"""Seconds that the ranks may take to save after a SIGTERM; in the environment, by torch's name."""
TERMINATED = 128 + signal.SIGTERM
TAIL_BYTES = 4096
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1


def rank() -> int:
    """This process's rank under a launcher; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Processes under the launcher; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_launched() -> bool:
    """Whether a launcher started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_spawned() -> bool:
    """Whether this process trains for another one, which runs the recipe."""
    return HELD in os.environ


def end_with_parent() -> None:
    """Have the system end this process when the one that started it ends, in whatever way.

    A launcher gives every rank a session of its own: after a `kill -9` of the run they would train on, beside those
    that the same command starts next.
    """
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class Leader:
    """Rank 0's announcements."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = _announcements(workspace) if world_size() > 1 else None
        if self._path is not None:
            self._path.write_text(json.dumps(_identity()) + "\n", encoding="utf-8")

    def announce(self, stage: str, action: str, folder: Path) -> None:
        """`action`: run, or done, of a stage in its folder; or generate, of a job in its own."""
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"stage": stage, "action": action, "folder": str(folder)}) + "\n")

    def close(self) -> None:
        """Nothing more will run."""
        if self._path is not None:
            self.announce("", "end", Path())


def follow(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """Rank 0's announcements as they come.

    Raises:
        StageError: they do not appear: this rank does not see rank 0's `runs/`.
    """
    path, started, read = _announcements(workspace), time.monotonic(), 0
    known: dict[str, Any] | None = None
    while True:
        lines: list[str] = []
        with contextlib.suppress(FileNotFoundError):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        # what was of this launch stays so, however old it gets
        if not whole or not (whole[0] == known or _same_launch(whole[0])):
            if time.monotonic() - started > SEE_SECONDS:
                raise StageError(f"rank {rank()} does not see rank 0's {workspace.runs}: put runs/ on a shared disk")
        else:
            known = whole[0]
            for entry in whole[1 + read :]:
                read += 1
                if entry["action"] == "end":
                    return
                yield entry
        time.sleep(POLL_SECONDS)


def forget(workspace: Workspace) -> None:
    """Remove the announcements of launches that are over."""
    for path in workspace.folder.glob(f"{ANNOUNCED}*"):
        path.unlink()


def spawn(
    recipe_path: str, overrides: tuple[str, ...], stage: str, run: str, launch: dict[str, Any], folder: Path
) -> None:
    """Run one training stage under `accelerate launch`, whose options `launch` holds.

    A SIGTERM is handed on: the ranks save where they are, and this process ends with 143, as they do.

    Raises:
        StageError: it ended with an error: rank 0 has printed its own, that of another one stands in the message.
    """
    report = folder.parent / LOGS / folder.name / "ended.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "align.recipe.launcher", str(report)]
    if "config_file" not in launch:
        # without a configuration accelerate starts a single process where it sees a single device, or none
        command += ["--multi_gpu"] * (launch.get("num_processes", 1) > 1)
        command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    for option, value in launch.items():
        command += [f"--{option}", str(value)]
    # forced: another run may have the stage, and whether that will do is decided already
    command += ["-m", "align", "run", recipe_path, *overrides, "--only", stage, "--force", stage, "--run", run]
    # nothing between fork and exec but one system call
    process = subprocess.Popen(
        command, env=SAVING | os.environ | {HELD: "1"}, preexec_fn=end_with_parent, start_new_session=True
    )
    try:
        with _handed_on(process):
            code = process.wait()
    finally:
        process.kill()
        process.wait()
    if code == TERMINATED:
        raise SystemExit(TERMINATED)
    if code:
        raise StageError(f"{stage}: {_why(report, folder) or f'accelerate launch ended with exit code {code}'}")


@contextlib.contextmanager
def _handed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Send a SIGTERM on to the ranks of a launcher, instead of ending by it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hand_on(number: int, _: Any) -> None:
        # not to the launcher, which forgets its ranks over a second signal: a scheduler may have sent it one
        for pid in list(ranks_of(process.pid).values()) or [process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _why(report: Path, folder: Path) -> str | None:
    """Which rank has ended the others, how, and the last line of its log."""
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    rank, code, path = found["rank"], found["code"], log_path(folder, found["rank"])
    told = f"rank {rank} {ending(code)}"
    if not path.is_file():
        return told
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        said = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    last = f" ({said[-1].removeprefix('align: ')})" if code > 0 and said and not said[-1].startswith("---") else ""
    return f"{told}{last}; its log: {path}"


def refuse_many_gpus(stage: str) -> None:
    """Refuse to train in this process where several GPUs are visible and no launcher divides the work.

    Raises:
        BackendError: with the two cures.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = list(Path("/dev").glob("nvidia[0-9]*"))
    count = len(devices) if visible is None else len([name for name in visible.split(",") if name.strip()])
    if not is_launched() and devices and count > 1:
        raise BackendError(
            f"{stage}: {count} GPUs are visible and no launcher divides the work: add "
            f"`launch: {{num_processes: {count}}}` to the stage, or set CUDA_VISIBLE_DEVICES to one"
        )


def check_size(stage: str, asked: int | None) -> None:
    """Whether as many processes train as the stage asks for: accelerate starts one where it sees no way to more.

    Raises:
        BackendError: there are others.
    """
    if is_spawned() and asked not in (None, world_size()):
        raise BackendError(
            f"{stage}: launch.num_processes is {asked}, and accelerate has started {world_size()}: write another "
            "distributed_type in the file that launch.config_file names"
        )


def _announcements(workspace: Workspace) -> Path:
    address = f"{os.environ.get('MASTER_ADDR', '')}-{os.environ.get('MASTER_PORT', '')}"
    return workspace.folder / f"{ANNOUNCED}{address.replace('/', '_')}.jsonl"


def _identity() -> dict[str, Any]:
    return {"host": socket.gethostname(), "launcher": os.getppid(), "time": time.time()}


def _same_launch(first: dict[str, Any]) -> bool:
    """Whether the announcements are this launch's: a killed one may have left its own under the same port."""
    # several launchers are of several machines, whose process ids say nothing
    if first["host"] == socket.gethostname() and os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        return bool(first["launcher"] == os.getppid())
    return bool(time.time() - first["time"] < FRESH_SECONDS)
