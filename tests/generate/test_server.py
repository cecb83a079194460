"""A recipe against a real server on loopback: `transformers serve` with a tiny model, driven by `align run`."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from align.io import read, write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import Problem, Rejected, Response

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)
RECIPE = """
models:
  teacher: {base_url: "http://127.0.0.1:%s/v1", model: "%s", max_concurrency: 4}
stages:
  evolve: {problems: problems.jsonl, model: teacher, rounds: 1, max_new_tokens: 12}
  sample:
    problems: $evolve/problems.jsonl
    from: [{model: teacher, n: 2, temperature: 0.8, max_new_tokens: 12}]
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
ASKED = "POST /v1/chat/completions"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "chat"
    tokenizer = train_tokenizer(["def f():\n    return 1\n"] * 20, 300)
    tokenizer.chat_template = TEMPLATE
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_position": 4096}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, folder)
    return folder


@pytest.fixture
def server(model: Path, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a server, and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--host", "127.0.0.1"]
    log = tmp_path / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu", "--log-level", "info"],
            stdout=file,
            stderr=file,
            env=ENVIRONMENT,
        )
    try:
        _await(port, process, log)
        yield port, log
    finally:
        process.kill()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() - began < 120, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "align", "run", "recipe.yaml", "--run", "r", *arguments]
    ended = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@pytest.mark.slow
def test_a_recipe_evolves_and_samples_with_a_served_model(
    server: tuple[int, Path], model: Path, tmp_path: Path
) -> None:
    port, log = server
    seeds = [Problem(prompt=f"Write f(xs): add {n} to every item.", entry_point="f") for n in range(6)]
    write(tmp_path / "problems.jsonl", seeds)
    (tmp_path / "recipe.yaml").write_text(RECIPE % (port, model))
    run(tmp_path)
    stages = tmp_path / "runs" / "r"
    problems = read(stages / "evolve" / "problems.jsonl", Problem)
    rejected = read(stages / "evolve" / "rejected.jsonl", Rejected)
    # a model of random weights evolves nothing: each attempt is kept or has its reason
    assert len(problems) + len(rejected) == 2 * len(seeds)
    assert all(entry.reason for entry in rejected)
    assert {entry.reason for entry in rejected} != {"no_answer"}
    responses = read(stages / "sample" / "responses.jsonl", Response)
    assert len(responses) == 2 * len(problems)
    assert {(one.model, one.role) for one in responses} == {("teacher", "teacher")}
    assert {one.finish for one in responses} <= {"stop", "length"}
    assert all(one.usage and one.usage["completion_tokens"] <= 12 for one in responses)
    assert any(one.text for one in responses)
    # each request was sent once, and what was answered is not asked again
    asked = log.read_text().count(ASKED)
    assert asked == len(seeds) + len(responses)
    before = (stages / "sample" / "responses.jsonl").read_bytes()
    run(tmp_path, "--force", "evolve", "--force", "sample")
    assert (stages / "sample" / "responses.jsonl").read_bytes() == before
    assert log.read_text().count(ASKED) == asked
    assert json.loads((stages / "run.json").read_text())["stages"].keys() == {"evolve", "sample"}
