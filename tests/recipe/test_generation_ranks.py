"""A recipe whose weights generate on several real processes, started as `accelerate launch` starts them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from align import Recipe
from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import Problem

RECIPE = """
models:
  student: {model_name_or_path: ../model}
stages:
  sample:
    problems: ../problems.jsonl
    batch_size: 2
    from: [{model: student, n: 2, temperature: [0.7, 1.0], max_new_tokens: 24}]
  score: {models: {student: student}, problems: ../problems.jsonl, batch_size: 3, max_new_tokens: 16, isolation: none}
"""
LONG = "stages.sample.from=[{model: student, n: 12, temperature: [0.7, 1.0], max_new_tokens: 100}]"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model's folder."""
    folder = tmp_path_factory.mktemp("weights") / "model"
    tokenizer = train_tokenizer(["def f():\n    return 1\n"] * 20, 280)
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_position": 160}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def project(model, tmp_path_factory):
    """A new folder with the recipe, its problems and the model."""

    def make():
        folder = tmp_path_factory.mktemp("project")
        (folder / "model").symlink_to(model)
        problems = [
            Problem(prompt="Return " + "one " * n, entry_point="f", tests=["assert f() == 1"]) for n in (1, 9, 3, 5)
        ]
        write(folder / "problems.jsonl", problems)
        (folder / "recipes").mkdir()
        (folder / "recipes" / "r.yaml").write_text(RECIPE)
        return folder

    return make


def start(project, ranks, *arguments, script=("-m", "align", "run")):
    """`align run` in one plain process, or on several ranks."""
    # accelerate's launcher is this one; on a machine without a GPU it starts one process whatever it is asked
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *launcher, *script, "recipes/r.yaml", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)


def run(project, ranks, *arguments):
    process = start(project, ranks, *arguments)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told


def left(project):
    """The final files of all stages but what was measured."""
    stages = [path for path in (project / "runs" / "r").iterdir() if path.is_symlink()]
    return {
        f"{stage.name}/{path.name}": path.read_bytes()
        for stage in sorted(stages)
        for path in sorted(stage.resolve().iterdir())
        if path.name != "stage.json"
    }


def test_two_ranks_leave_the_files_of_one_process(project, monkeypatch):
    alone, two = project(), project()
    monkeypatch.chdir(alone)
    Recipe.load("recipes/r.yaml").run()
    run(two, 2)
    assert left(two) == left(alone)
    assert set(left(two)) == {"sample/README.md", "sample/responses.jsonl", "score/results.jsonl", "score/score.json"}
    assert len(left(two)["sample/responses.jsonl"].splitlines()) == 16


@pytest.mark.slow
def test_a_killed_run_goes_on_with_any_number_of_ranks(project):
    whole = project()
    run(whole, 1, "--only", "sample", LONG)
    for ranks in (1, 3):
        killed = project()
        process = start(killed, 2, "--only", "sample", LONG)
        began = time.monotonic()
        while not any(path.read_bytes().count(b"\n") > 3 for path in killed.glob("runs/r/*/.shares/*/done-1.jsonl")):
            assert process.poll() is None
            assert time.monotonic() - began < 120
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        # its end of the pipe is closed when no rank is left
        process.communicate(timeout=30)
        assert not list(killed.glob("runs/r/*/responses.jsonl"))
        assert list(killed.glob("runs/r/*/.shares/*/done-1.jsonl"))
        run(killed, ranks, "--only", "sample", LONG)
        assert left(killed) == left(whole)


BROKEN = """
import os, sys
from align.cli import main
from align.errors import DataError
from align.generate import ranks

def load(*_):
    raise DataError("model: no *.safetensors")

if os.environ["RANK"] == "1":
    ranks.load = load
sys.exit(main(["run", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_what_fails_on_another_rank_ends_the_run_in_one_line(project, tmp_path):
    (tmp_path / "script.py").write_text(BROKEN)
    process = start(project(), 2, script=(str(tmp_path / "script.py"),))
    _, told = process.communicate(timeout=120)
    assert process.returncode
    assert told.count("no *.safetensors") == 1
    assert "sample: rank 1: model: no *.safetensors" in told
