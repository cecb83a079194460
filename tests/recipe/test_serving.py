"""Servers of a loop's current weights: each test also looks that no process is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align.errors import BackendError
from align.io import rows
from align.recipe.plan import plan
from align.recipe.workspace import Workspace

HERE = Path(__file__).parent
TEXT = """
models:
  student: {model_name_or_path: student}
stages:
  sample: {use: toy_grow, model: student, ask: 3}
  train: {use: toy_grow, model: student, data: $sample/texts.jsonl}
repeat:
  times: 2
  stages: [sample, train]
  carry: {student: $train/model}
  server: {command: "COMMAND", stages: [sample], start_timeout: 30}
"""
SCRIPT = """
import sys
from align import stages
stages.__path__.append(sys.argv[1])
from align.errors import AlignError
from align.recipe import Recipe
Recipe.load("recipes/toy.yaml").run()
"""


@pytest.fixture
def load(toys, tmp_path):
    """A function that writes and loads a recipe with a server that behaves as it is told."""
    student = tmp_path / "recipes" / "student"
    student.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (student / name).write_text("{}")

    def write(how="serve", *overrides, more=""):
        command = f"{sys.executable} {HERE / 'fake_server.py'} {{model}} --port {{port}} --pids {tmp_path / 'pids'}"
        return toys(*overrides, text=TEXT.replace("COMMAND", f"{command} --how {how}{more}"))

    return write


def wait_for(found, seconds=30):
    last = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < last
        time.sleep(0.02)


def started(folder):
    """The workers that servers started, which end by nothing but a SIGKILL."""
    path = folder / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def left(folder):
    """Those that still run, and whatever else has this test's folder in its command."""
    found = [pid for pid in started(folder) if Path(f"/proc/{pid}").exists()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder / "pids").encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_each_iteration_asks_a_server_of_its_own_weights_and_none_is_left(load, tmp_path):
    folder = load().run()
    said = {name: [row["text"] for _, row in rows(folder / name / "texts.jsonl")] for name in ("sample", "sample@2")}
    assert said == {"sample": ["level 0"] * 3, "sample@2": ["level 1"] * 3}
    assert len(started(tmp_path)) == 2
    assert not list(folder.glob(".served-*"))
    assert left(tmp_path) == []
    assert sorted(path.name for path in folder.glob("server-*.log")) == ["server-sample.log", "server-sample@2.log"]


def test_the_command_is_part_of_the_key_of_those_that_ask_and_of_no_other(load):
    folder = load().run()
    changed = plan(load(more=" --key other"), Workspace(folder.parent, folder.name))
    assert changed[0].why.startswith("server ")
    assert "unknown until sample runs" in changed[1].why
    without = plan(load("serve", "repeat.server=null"), Workspace(folder.parent, folder.name))
    assert without[0].manifest is None
    # it need not run again if the answers are the same
    load(more=" --key other").run()
    again = plan(load(more=" --key other"), Workspace(folder.parent, folder.name))
    assert [step.folder for step in again][1] == (folder / "train").resolve()


def test_a_server_that_fails_is_told_by_its_last_lines_without_secrets(load, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVER_KEY", "sesame-1234")
    with pytest.raises(BackendError) as error:
        load("fail", more=" --key ${SERVER_KEY}").run()
    assert "stages" not in str(error.value)
    assert "\n" not in str(error.value)
    assert "sample: the server ended with exit code 1" in str(error.value)
    assert "loading with ${SERVER_KEY} | out of memory: see " in str(error.value)
    assert left(tmp_path) == []
    assert not any(b"sesame" in path.read_bytes() for path in tmp_path.rglob("*.json*"))


def test_a_command_that_there_is_not_is_told(load):
    text = load("serve", "repeat.server.command=no-such-server {model} {port}")
    with pytest.raises(BackendError, match=r"exit code 127 .*no-such-server: No such file or directory"):
        text.run()


def test_a_server_that_does_not_come_up_is_ended_in_time(load, tmp_path):
    with pytest.raises(BackendError, match=r"did not answer within 2 s: raise repeat\.server\.start_timeout"):
        load("hang", "repeat.server.start_timeout=2").run()
    assert started(tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_a_run_that_is_ended(load, tmp_path, number):
    load("hang")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(HERE / "toys")], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: started(tmp_path))
    assert left(tmp_path)
    os.kill(process.pid, number)
    process.wait(60)
    wait_for(lambda: left(tmp_path) == [], seconds=30)
