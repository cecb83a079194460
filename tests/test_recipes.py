"""Every shipped recipe: those that run here run end to end with two training steps, the others pass `align check`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from align.cli import main
from align.io import rows
from align.recipe import Recipe
from align.recipe.summary import summary

REPO = Path(__file__).parents[1]
RECIPES = sorted(path for path in (REPO / "recipes").rglob("*.yaml") if path.parent.name != "accelerate")
QUICKSTART = REPO / "recipes" / "quickstart.yaml"
SOURCES = "[{model: $sft/model, max_new_tokens: 8}, {model: noisy-teacher, n: 4, role: student}, {model: teacher}]"
SMALL = [
    "stages.evolve.rounds=1",
    "stages.evolve.limit=160",
    "stages.sft.args.max_steps=2",
    "stages.sft.global_batch_size=4",
    "stages.sft.args.logging_steps=1",
    "stages.sample.limit=12",
    f"stages.sample.from={SOURCES}",
    "stages.init.hidden_size=32",
    "stages.init.num_layers=2",
    "stages.init.vocab_size=400",
    "stages.rrtf.args.max_steps=2",
    "stages.rrtf.args.logging_steps=1",
    "stages.dpo.args.max_steps=2",
    "stages.dpo.global_batch_size=4",
    "stages.more-sft.args.max_steps=2",
    "stages.best-sample-sft.args.max_steps=2",
    "stages.score.limit=6",
    "stages.score.max_new_tokens=8",
]
"""Overrides that make the quickstart small; the noisy teacher stands in for a student that has learnt nothing yet."""
STAGES = [stage.name for stage in Recipe.load(QUICKSTART).stages if stage.name != "score"]

TRAINED = STAGES[: STAGES.index("rrtf") + 1]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    return tmp_path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_passes_check(path, elsewhere, capsys):
    assert main(["check", str(path)]) == 0
    assert "no errors" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the small quickstart has run, all but its score."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ALIGN_ISOLATION", "none")
        Recipe.load(QUICKSTART, SMALL).run(only=STAGES)
    return folder


@pytest.fixture
def there(trained, elsewhere, monkeypatch):
    """That folder as the current one; tests may add runs and stages."""
    monkeypatch.chdir(trained)
    return trained


def copied(trained, to, stages):
    """Copy what these stages have left, as another folder's run of the quickstart."""
    for stage in stages:
        (folder,) = (trained / "runs" / "quickstart").glob(f"{stage}-????????????")
        shutil.copytree(folder, to / "runs" / "quickstart" / folder.name)


def test_the_quickstart_runs_end_to_end_and_is_cached_then(there, capsys):
    folder = there / "runs" / "quickstart"
    counts = {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}
    assert counts["evolve"]["kept"] == 160
    assert counts["rank"]["groups"] > 0
    assert counts["rrtf"]["steps"] == 2
    responses = [row for _, row in rows(folder / "sample" / "responses.jsonl")]
    assert {row["model"] for row in responses} == {"sft", "noisy-teacher", "teacher"}
    for model in ("sft", "rrtf", "dpo", "more-sft", "best-sample-sft"):
        assert (folder / model / "model" / "model.safetensors").is_file()
        assert (folder / model / "metrics.jsonl").is_file()
    started = time.monotonic()
    Recipe.load(QUICKSTART, SMALL).run(only=STAGES)
    assert capsys.readouterr().out.count("cached") == len(STAGES)
    assert time.monotonic() - started < 20


def test_a_run_killed_in_the_middle_ends_with_the_same_bytes(trained, elsewhere):
    """kill -9 while the stages follow each other, then the same command again."""

    def start():
        command = [sys.executable, "-m", "align", "run", str(QUICKSTART), *SMALL]
        for stage in ("evolve", "clean", "tests", "teach", "init", "sft", "sample", "rank"):
            command += ["--only", stage]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)

    whole, again = trained / "runs" / "quickstart", elsewhere / "runs" / "quickstart"
    for marker in ("evolve-*", "sft-*", "sample-*"):
        killed = start()
        deadline = time.monotonic() + 120
        while not list(again.glob(marker)) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    last = start()
    assert last.wait(300) == 0, last.stderr.read().decode()
    weights = "sft/model/model.safetensors"
    for file in ("tests/problems.jsonl", "teach/sft.jsonl", weights, "sample/responses.jsonl", "rank/groups.jsonl"):
        assert (whole / file).read_bytes() == (again / file).read_bytes(), file


def test_the_bloom_quickstart_trains_and_aligns_a_bloom(trained, elsewhere):
    copied(trained, elsewhere, ("evolve", "clean", "tests", "teach"))
    folder = Recipe.load(REPO / "recipes" / "quickstart-bloom.yaml", SMALL).run(only=TRAINED)
    assert json.loads((folder / "rrtf" / "model" / "config.json").read_text())["model_type"] == "bloom"


def test_the_controls_find_the_quickstarts_stages_done(there, capsys):
    small = [f"stages.{name}.args.max_steps=2" for name in ("teacher-sft", "rrtf-no-rank", "rrtf-student")]
    recipe = Recipe.load(REPO / "recipes" / "quickstart-controls.yaml", [*SMALL, *small])
    new = ["teacher-answers", "teacher-sft", "rrtf-no-rank", "rrtf-student"]
    recipe.run(only=[*TRAINED, *new])
    told = capsys.readouterr().out.splitlines()
    assert sum(line.endswith("cached") for line in told) == len(TRAINED)
    assert [line.split()[0] for line in told if "cached" not in line] == new


def test_a_score_stage_compares_models_on_held_out_problems(there):
    recipe = Recipe.load(QUICKSTART, [*SMALL, "stages.score.models={sft: $sft/model, init: $init/model}"])
    folder = recipe.run(only=["score"])
    found = json.loads((folder / "score" / "score.json").read_text())
    assert set(found["models"]) == {"sft", "init"}
    assert set(found["paired"]) == {"sft-init", "init-sft"}
    assert found["models"]["sft"]["problems"] == 6
    shown = summary(folder)
    assert shown["models"]["sft"]["pass@1"] == found["models"]["sft"]["pass@1"]


@pytest.mark.parametrize("entrance", ["everything under the launcher", "training stages spawned"])
def test_two_processes_train_to_the_weights_of_one(trained, elsewhere, entrance):
    """Without a GPU `accelerate launch --cpu` starts one process only; this way it starts two."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1"}
    align = ["-m", "align", "run", str(QUICKSTART), *SMALL]
    if entrance.startswith("everything"):
        stages = ("sft", "sample", "rank", "rrtf")
        two = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
        command = ["-m", "accelerate.commands.launch", *two, "--dynamo_backend", "no", *align]
    else:
        stages = ("rrtf",)
        command = [*align, "stages.rrtf.launch={config_file: recipes/accelerate/ddp.yaml, num_processes: 2}"]
    copied(trained, elsewhere, TRAINED[: TRAINED.index(stages[0])])
    only = [word for stage in stages for word in ("--only", stage)]
    subprocess.run([sys.executable, *command, *only], check=True, env=environment, stdout=subprocess.DEVNULL)
    for stage in {"sft", "rrtf"} & set(stages):
        of_two, of_one = (folder / "runs" / "quickstart" / stage for folder in (elsewhere, trained))
        assert json.loads((of_two / "stage.json").read_text())["processes"] == 2
        ours = load_file(of_two / "model" / "model.safetensors")
        for name, weight in load_file(of_one / "model" / "model.safetensors").items():
            assert (weight - ours[name]).abs().max() < 1e-4, name


@pytest.mark.slow
def test_the_whole_quickstart_shows_the_gain_of_the_readme(elsewhere):
    folder = Recipe.load(QUICKSTART).run()
    found = summary(folder)
    assert found["models"]["rrtf"]["problems"] == 1000
    assert found["paired"]["rrtf-sft"]["delta"] >= 15
    assert found["paired"]["rrtf-sft"]["low"] > 0
    assert found["paired"]["dpo-sft"]["low"] > 0
