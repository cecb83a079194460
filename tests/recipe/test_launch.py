"""Two real ranks on a CPU, started by `align run` itself and under `accelerate launch`; what ends them is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe import Recipe, launch
from align.recipe.launcher import cause
from align.recipe.peers import ending
from align.recipe.workspace import Workspace
from align.schema import SftRow

REPO = Path(__file__).parents[2]
RECIPE = """
models:
  base: {model_name_or_path: ../model}
stages:
  sft:
    model: base
    data: ../rows.jsonl
    global_batch_size: 8
    args: {max_steps: 400, logging_steps: 1, save_steps: 399, learning_rate: 1.0e-3}
    launch: {num_processes: 2}
"""
FEW = ("stages.sft.args.max_steps=6", "stages.sft.args.save_steps=3")
UNDER = ["-m", "accelerate.commands.launch", "--config_file", str(REPO / "recipes" / "accelerate" / "ddp.yaml")]
UNDER += ["--num_processes", "2", "--main_process_port", "0"]
ENTRANCES = {
    "spawned": ["-m", "align", "run"],
    "module": [*UNDER, "-m", "align", "run"],
    "script": [*UNDER, str(REPO / "scripts" / "run.py")],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model's folder."""
    folder = tmp_path_factory.mktemp("weights") / "model"
    tokenizer = train_tokenizer(["def f():\n    return 1\n"] * 20, 280)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, folder)
    return folder


@pytest.fixture
def project(model, tmp_path):
    """A new folder with the recipe, its rows and the model."""
    (tmp_path / "model").symlink_to(model)
    write(tmp_path / "rows.jsonl", [SftRow(prompt=f"add {n}\n", completion=f"x + {n}\n") for n in range(16)])
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "r.yaml").write_text(RECIPE)
    return tmp_path


def start(project, *overrides, entrance="spawned", patch=""):
    """`align run` in one of its ways; `patch` is Python that every process runs first."""
    (project / "patch").mkdir(exist_ok=True)
    (project / "patch" / "sitecustomize.py").write_text(patch)
    paths = os.pathsep.join([str(project / "patch"), str(REPO), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    environment["TMPDIR"] = str(temporary(project))
    command = [sys.executable, *ENTRANCES[entrance], "recipes/r.yaml", *overrides]
    return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)


def temporary(project):
    """Where the processes of a run put what they need for a while."""
    folder = project / "temporary"
    folder.mkdir(exist_ok=True)
    return folder


def steps(project):
    """Optimizer steps that are logged so far."""
    return sum(path.read_bytes().count(b"\n") for path in project.glob("runs/r/sft-*/metrics.jsonl"))


def training(process, project):
    """Wait until a run trains."""
    began = time.monotonic()
    while steps(project) < 5:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() - began < 240
        time.sleep(0.05)


def rank_1(project):
    """The process of rank 1 that trains in a project."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            entries = (path / "environ").read_bytes().split(b"\0")
            if b"RANK=1" in entries and os.readlink(path / "cwd") == str(project):
                return int(path.name)
        except OSError:
            continue
    raise AssertionError("no rank 1")


def left(project):
    """The final files of the stage but what was measured."""
    folder = (project / "runs" / "r" / "sft").resolve()
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("stage.json", "timings.jsonl")
    }


@pytest.mark.parametrize("entrance", [pytest.param(name, marks=pytest.mark.slow) for name in ENTRANCES])
def test_two_ranks_train_by_every_entrance(project, entrance):
    process = start(project, *FEW, entrance=entrance)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    found = json.loads((project / "runs" / "r" / "sft" / "stage.json").read_text())
    assert found["processes"] == 2
    assert steps(project) == 6
    assert list(project.glob("runs/r/.logs/sft-*/rank-1.txt"))


def test_a_killed_rank_ends_the_run_in_a_line_with_rank_signal_and_log(project):
    process = start(project)
    training(process, project)
    os.kill(rank_1(project), signal.SIGKILL)
    began = time.monotonic()
    _, told = process.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert process.returncode == 2
    last = told.strip().splitlines()[-1]
    assert last.startswith("align: sft: rank 1 was ended by SIGKILL; its log: ")
    assert Path(last.rpartition(": ")[2]).is_file()
    assert "Traceback" not in told
    assert not list(temporary(project).iterdir())


BOOM = """
import os, signal
if os.environ.get("RANK") == "1":
    import align.train.saving as saving
    plain = saving.SavingTrainer._maybe_log_save_evaluate
    def failing(self, *args, **options):
        if self.state.global_step == 3:
            raise RuntimeError("the rank broke")
        plain(self, *args, **options)
    saving.SavingTrainer._maybe_log_save_evaluate = failing
"""


@pytest.mark.slow
@pytest.mark.parametrize("entrance", ["spawned", "module"])
def test_an_error_of_another_rank_is_shown_and_its_traceback_kept(project, entrance):
    process = start(project, entrance=entrance, patch=BOOM)
    _, told = process.communicate(timeout=300)
    assert process.returncode
    lines = [line for line in told.splitlines() if line.startswith("align:") and "the rank broke" in line]
    assert len(lines) == 1
    assert "rank 1" in lines[0]
    (log,) = project.glob("runs/r/.logs/sft-*/rank-1.txt")
    assert str(log) in lines[0]
    assert "Traceback" in log.read_text()


@pytest.mark.slow
def test_sigterm_saves_on_all_ranks_and_the_next_start_ends_with_the_same_bytes(project):
    fewer = "stages.sft.args.max_steps=60"
    process = start(project, fewer)
    training(process, project)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 143, told
    assert told.count("ended by SIGTERM after step") == 1
    assert "Traceback" not in told
    (state,) = project.glob("runs/r/sft-*/.resume/checkpoint-*")
    assert not list(project.glob("runs/r/sft-*/checkpoints/*"))
    assert 5 <= int(state.name.partition("-")[2]) < 60
    _, told = start(project, fewer).communicate(timeout=300)
    disturbed = left(project)
    process = start(project, fewer, "--force", "sft")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert left(project) == disturbed


def test_one_launched_process_trains_again_by_force_what_another_run_has(project, monkeypatch):
    given = ("stages.sft.args.max_steps=1", "stages.sft.args.save_steps=1")
    monkeypatch.chdir(project)
    Recipe.load("recipes/r.yaml", [*given, "stages.sft.launch=null", "stages.sft.args.use_cpu=true"]).run()
    given += ("stages.sft.args.use_cpu=true",)
    process = start(project, *given, "stages.sft.launch.num_processes=1", "--run", "other", "--force", "sft")
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    (folder,) = (project / "runs" / "other").glob("sft-*")
    assert (folder / "stage.json").is_file()


@pytest.mark.parametrize(
    ("codes", "rank"),
    [
        ({0: 1, 1: -9}, 1),
        ({0: 75, 1: 1}, 1),
        ({0: 2, 1: 2}, 0),
        ({0: 1, 3: -15}, 0),
        ({1: 143, 0: 143}, 0),
        ({0: 75, 2: -11}, 2),
    ],
)
def test_the_cause_is_the_rank_that_did_not_only_follow(codes, rank):
    assert cause(codes) == {"rank": rank, "code": codes[rank]}


def test_endings_are_named():
    assert ending(-9) == "was ended by SIGKILL"
    assert ending(3) == "ended with exit code 3"


def test_a_launcher_that_starts_fewer_processes_is_refused(monkeypatch):
    monkeypatch.setenv(launch.HELD, "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(launch.BackendError, match=r"num_processes is 2, and accelerate has started 1"):
        launch.check_size("sft", 2)
    launch.check_size("sft", None)
    launch.check_size("sft", 1)


def test_announcements_of_another_machine_stay_known_however_old_they_get(monkeypatch, tmp_path):
    workspace = Workspace(tmp_path, "r")
    workspace.folder.mkdir()
    monkeypatch.setattr(launch, "FRESH_SECONDS", 0.3)
    monkeypatch.setattr(launch, "SEE_SECONDS", 0.0)
    lines = [{"host": "elsewhere", "launcher": 1, "time": time.time()}, {"action": "run"}, {"action": "end"}]
    path = launch._announcements(workspace)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    followed = launch.follow(workspace)
    assert next(followed) == {"action": "run"}
    time.sleep(0.4)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert list(followed) == []
    with pytest.raises(launch.StageError, match="does not see rank 0's"):
        next(launch.follow(workspace))
