"""A local server of the current weights: started by the recipe's command before it is asked, ended after the stage.

Any server that speaks OpenAI's API. Its output goes to a file in the run's folder. Weights with adapters are merged
first, since most servers take whole weights only. Does not ask: `align.generate.endpoint` does.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ..config import ENVIRONMENT, Section, expand
from ..errors import BackendError, ConfigError
from ..models.chain import read_base
from ..models.entry import Endpoint, Weights
from ..schema import content_id
from . import keeper

if TYPE_CHECKING:
    from ..generate import Generator

MODEL, PORT = "{model}", "{port}"
"""What a command must hold: the weights' folder, and the port to listen on."""
HOST = "127.0.0.1"
GRACE = 10.0
"""Seconds that a server has to end by itself."""
POLL_SECONDS = 0.2
LOOK_SECONDS = 5.0
"""How long one look at a server may take."""
LOADING = (425, 429, 502, 503, 504)
"""Statuses of a server that is not ready yet."""
LINES = 5
"""Of a server's output, that are shown when it fails."""


class Server(Section):
    """A server of the current weights, started before a stage asks them and ended after it. With several weights in a
    stage one is served at a time."""

    command: str
    """Starts it, without a shell: `vllm serve {model} --port {port} --generation-config vllm`. It serves OpenAI's API
    on 127.0.0.1. Part of the key of the stages that ask it."""
    stages: list[str] | None = None
    """The stages of the loop that ask it; by default all that generate with weights."""
    start_timeout: float = Field(default=600.0, gt=0)
    """Seconds until `/v1/models` must answer."""
    max_concurrency: int = Field(default=32, gt=0)
    """Most requests in flight at once."""


def check_command(command: str, where: str) -> None:
    """Refuse a command that cannot be one.

    Raises:
        ConfigError: it cannot be split into words, or does not take the weights or the port.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"{where}: not a command: {error}") from None
    for mark, what in ((MODEL, "the weights' folder"), (PORT, "the port to listen on")):
        if not any(mark in word for word in words[1:]):
            raise ConfigError(f"{where}: nothing in it stands for {what}: write {mark}, as in `--port {PORT}`")


class Serving:
    """The server of one stage: at most one at a time.

    Args:
        server: the recipe's section.
        stage: for messages and the log's name.
        out: the stage's folder, for the replies.
    """

    def __init__(self, server: Server, stage: str, out: Path) -> None:
        self.server, self.stage, self.out = server, stage, out
        self.log = out.parent / f"server-{stage}.log"
        self._place = out.parent.resolve() / f".served-{content_id(stage)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._serves: tuple[Weights, Endpoint] | None = None

    def generator(self, entry: Weights) -> "Generator":
        """What asks the weights by a server, which is started unless it runs already.

        Raises:
            BackendError: it does not start; the message has the last lines of its output.
            ConfigError: a variable in the command is not set, or the weights cannot be served.
        """
        from ..generate.endpoint import EndpointGenerator

        if self._serves is None or self._serves[0] != entry:
            self.stop()
            self._serves = entry, self._start(entry)
        # not the run's folder: there the same name would stand for other weights
        replies = self.out / f".served-{content_id(entry.model_dump())}"
        return EndpointGenerator(self._serves[1], replies, f"the server of {self.stage}")

    def stop(self) -> None:
        """End the server and all that it started."""
        process, self._process, self._serves = self._process, None, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(2 * GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._clear()

    def _start(self, entry: Weights) -> Endpoint:
        self._clear()
        folder, port = self._whole(entry), _free_port()
        words = [expand(word) for word in shlex.split(self.server.command)]
        command = [word.replace(MODEL, folder).replace(PORT, str(port)) for word in words]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", keeper.__file__, str(os.getpid()), str(GRACE), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the run, which then ends the server in order
                start_new_session=True,
            )
        try:
            known = self._wait(f"http://{HOST}:{port}/v1")
        except BaseException:
            self.stop()
            raise
        # a server of one model may have a name of its own for it
        name = known[0] if len(known) == 1 else folder
        concurrency = self.server.max_concurrency
        return Endpoint(base_url=f"http://{HOST}:{port}/v1", model=name, max_concurrency=concurrency)

    def _wait(self, address: str) -> list[str]:
        """The models that the server names, as soon as it answers."""
        assert self._process is not None
        last = time.monotonic() + self.server.start_timeout
        while time.monotonic() < last:
            if (code := self._process.poll()) is not None:
                raise BackendError(self._told(f"ended with exit code {code} before it answered"))
            known = _models(f"{address}/models")
            if known is not None:
                return known
            time.sleep(POLL_SECONDS)
        seconds = f"{self.server.start_timeout:g} s"
        raise BackendError(self._told(f"did not answer within {seconds}: raise repeat.server.start_timeout"))

    def _told(self, what: str) -> str:
        """The message about a server that did not start, without the values of variables in its command."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = " | ".join([line.strip() for line in lines if line.strip()][-LINES:]) or "it said nothing"
        for name in ENVIRONMENT.findall(self.server.command):
            if value := os.environ.get(name):
                said = said.replace(value, f"${{{name}}}")
        return f"{self.stage}: the server {what}: {said}: see {self.log}"

    def _whole(self, entry: Weights) -> str:
        """A folder or hub id of whole weights: adapters are merged into a hidden folder of the run."""
        folder = Path(entry.model_name_or_path)
        if entry.revision or entry.is_quantised or entry.chat_template:
            bits = "load_in_8bit" if entry.load_in_8bit else "load_in_4bit"
            key = "revision" if entry.revision else bits if entry.is_quantised else "chat_template"
            raise ConfigError(f"{folder}: {key}: a server is not told of it: leave it out, or leave out repeat.server")
        if not entry.is_local:
            return entry.model_name_or_path
        base = read_base(folder)
        if base is None:
            # by a name of ours: some servers take what follows an @ in a path for a revision
            self._place.symlink_to(folder.resolve())
        else:
            _merge(entry, self._place)
        return str(self._place)

    def _clear(self) -> None:
        """Remove the link or the merged weights that were served, also those of a run that was killed."""
        if self._place.is_symlink():
            self._place.unlink()
        elif self._place.exists():
            shutil.rmtree(self._place)


def _merge(entry: Weights, folder: Path) -> None:
    from ..models.merge import merge

    merge(entry, folder)


def _models(address: str) -> list[str] | None:
    """The names in a server's list of models, none where it has no list; None while it does not answer."""
    plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not reach this machine
    try:
        with plain.open(address, timeout=LOOK_SECONDS) as answer:
            return [str(model["id"]) for model in json.load(answer)["data"]]
    except urllib.error.HTTPError as error:
        # the list need not be there, nor work; what only loads its weights says that it is not available
        return None if error.code in LOADING else []
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])
