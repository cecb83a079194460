import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from align.errors import ConfigError, StageError
from align.io import sha256_file, write_json
from align.recipe.plan import keyed, plan
from align.recipe.recipe import Recipe
from align.recipe.summary import prune, summary
from align.recipe.workspace import Workspace
from align.stages import sft
from align.text.token_store import INFO, STORES

TEXT = """
seed: 0
stages:
  make: {use: toy_make, rounds: 3}
  double: {use: toy_double, data: $make/numbers.jsonl}
"""


def times_run(folder, stage="make"):
    return len((folder / stage / "runs.log").read_text().splitlines())


def states(recipe):
    return {step.stage.name: step.why for step in plan(recipe, Workspace(recipe.folder.parent / "runs", recipe.name))}


def test_a_recipe_runs_once_and_is_cached_then(toys, capsys):
    assert states(toys())["double"] == "unknown until make runs"
    folder = toys().run()
    assert (folder / "again" / "numbers.jsonl").read_text() == '{"n": 0}\n{"n": 4}\n{"n": 8}\n'
    capsys.readouterr()
    assert toys().run() == folder
    assert capsys.readouterr().out.count("cached") == 3
    assert times_run(folder) == 1
    assert set(states(toys()).values()) == {"cached"}


def test_one_changed_key_reruns_only_what_depends_on_it_and_plan_says_why(toys):
    toys().run()
    changed = "stages.make.rounds=4"
    assert states(toys(changed)) == {
        "make": "rounds 3 → 4",
        "double": "unknown until make runs",
        "again": "unknown until double runs",
    }
    toys(changed).run()
    # back again: the old folders are still there
    assert set(states(toys()).values()) == {"cached"}
    assert states(toys("stages.again.fail=true"))["again"].startswith("fail False → True")


def test_a_change_that_gives_the_same_bytes_stops_there(toys):
    toys().run()
    folder = toys("stages.make.scale=2").run()
    assert states(toys("stages.make.scale=2"))["double"] == "cached"
    assert times_run(folder) == 1


def test_what_does_not_change_results_is_not_in_the_key(toys):
    folder = toys().run()
    toys("stages.make.workers=7").run()
    assert times_run(folder) == 1


def test_an_edited_input_file_reruns_and_is_named(toys, tmp_path):
    source = tmp_path / "recipes" / "in.jsonl"
    source.write_text("{}\n")
    toys("stages.make.source=in.jsonl").run()
    source.write_text('{"a": 1}\n')
    assert states(toys("stages.make.source=in.jsonl"))["make"] == "in.jsonl changed"


def test_an_output_changed_by_hand_is_run_again_and_kept_aside(toys):
    folder = toys().run()
    (folder / "make" / "numbers.jsonl").write_text("{}\n")
    assert states(toys())["make"] == "its files were changed"
    toys().run()
    assert (folder / "make" / "numbers.jsonl").read_text().startswith('{"n": 0}')
    assert [path.name[-5:] for path in folder.glob("make-*.old1")] == [".old1"]


def test_a_failed_stage_leaves_no_marker_and_is_continued(toys):
    with pytest.raises(StageError, match="asked to fail"):
        toys("stages.again.fail=true").run()
    folder = toys().folder.parent / "runs" / "toy"
    assert (folder / "double" / "stage.json").exists()
    assert not list(folder.glob("again-*/stage.json"))
    assert states(toys("stages.again.fail=true"))["again"] == "to be continued"
    (unfinished,) = folder.glob("again-*/.stopped")
    assert "asked to fail" in unfinished.read_text()


def test_only_from_and_force(toys):
    with pytest.raises(StageError, match="double needs make, which is not done"):
        toys().run(only=["double"])
    with pytest.raises(ConfigError, match=r"no stage 'duble'.*did you mean 'double'"):
        toys().run(only=["duble"])
    folder = toys().run(only=["make"])
    assert not (folder / "double").exists()
    toys().run(start="double")
    assert (folder / "again").exists()
    before = (folder / "make").resolve()
    toys().run(force=["make"])
    assert (folder / "make").resolve() == before
    assert len(list(folder.glob("make-*.old1"))) == 1


def test_a_stage_done_in_another_run_is_linked(toys):
    first = toys().run()
    second = toys(name="other").run()
    assert (second / "make").resolve() == (first / "make").resolve()


def test_a_stage_done_under_another_name_is_linked_by_its_own(toys):
    first = toys().run()
    second = toys(text=TEXT.replace("make", "build").replace("toy_build", "toy_make"), name="other").run()
    assert (second / "build").resolve() == (first / "make").resolve()
    assert not (second / "make").exists()


def test_a_second_process_on_the_same_run_is_refused(toys):
    recipe = toys()
    with Workspace(recipe.folder.parent / "runs", "toy").locked(), pytest.raises(StageError, match="another process"):
        recipe.run()


def test_the_manifest_names_what_a_result_depends_on(toys):
    folder = toys().run()
    found = json.loads((folder / "double" / "stage.json").read_text())
    assert set(found) >= {"key", "config", "inputs", "files", "counts", "seconds", "versions", "seed", "schema_version"}
    assert found["files"]["numbers.jsonl"]["bytes"] == (folder / "double" / "numbers.jsonl").stat().st_size
    assert json.loads((folder / "run.json").read_text())["stages"]["make"].startswith("toy/make-")


def test_a_summary_lists_stages_and_prune_removes_what_no_run_names(toys):
    folder = toys().run()
    toys("stages.make.rounds=5").run()
    assert [stage["name"] for stage in summary(folder)["stages"]] == ["make", "double", "again"]
    assert len(prune(folder.parent, dry_run=True)) == len(prune(folder, dry_run=True)) == 3
    assert len(prune(folder.parent, dry_run=False)) == 3
    assert prune(folder.parent, dry_run=False) == prune(folder, dry_run=False) == []
    assert set(states(toys("stages.make.rounds=5")).values()) == {"cached"}


def test_other_ranks_follow_rank_0_and_say_when_they_do_not_see_it(toys, tmp_path):
    toys()
    script = """
import sys
from align import stages
stages.__path__.append(sys.argv[1])
from align.recipe import Recipe, launch
launch.SEE_SECONDS = 3.0
Recipe.load("recipes/toy.yaml").run()
"""

    def rank(number, folder):
        environment = {**os.environ, "RANK": str(number), "WORLD_SIZE": "2", "MASTER_PORT": "1", "MASTER_ADDR": "x"}
        return subprocess.Popen(
            [sys.executable, "-c", script, str(Path(__file__).parent / "toys")],
            env=environment,
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    ranks = [rank(1, tmp_path), rank(0, tmp_path)]
    assert [process.wait(60) for process in ranks] == [0, 0]
    lonely = rank(1, tmp_path / "recipes" / "..")
    (tmp_path / "runs" / "toy" / ".launch-x-1.jsonl").unlink()
    assert lonely.wait(60) != 0
    assert "does not see rank 0's" in lonely.stderr.read()


def test_a_rank_ends_with_the_launcher_though_it_has_a_session_of_its_own():
    rank = """
import time
from align.recipe import launch
launch.end_with_parent()
print("up", flush=True)
time.sleep(99)
"""
    launcher = f"""
import subprocess, sys
rank = subprocess.Popen([sys.executable, "-c", {rank!r}], start_new_session=True)
print(rank.pid, flush=True)
rank.wait()
"""
    process = subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True)
    told = {process.stdout.readline().strip(), process.stdout.readline().strip()}
    assert "up" in told
    process.kill()
    process.wait()
    # the pipe's end: nobody is left to write to it
    assert process.stdout.read() == ""


def test_prune_keeps_what_another_run_refers_to(toys):
    first = toys().run()
    second = toys(name="other").run()
    toys("stages.make.rounds=5").run()
    # the first run has moved on; the second is linked to what the first made
    assert prune(first, dry_run=False) == []
    assert (second / "make" / "numbers.jsonl").exists()


def test_prune_removes_token_stores_whose_data_go_with_a_stage(toys):
    folder = toys().run()
    stores = {}
    for name in ("make", "double"):
        path = (folder / name / "numbers.jsonl").resolve()
        told = {"data": {"sha256": sha256_file(path), "path": os.path.relpath(path, folder / STORES)}}
        stores[name] = folder / STORES / sha256_file(path)
        stores[name].mkdir(parents=True)
        write_json(stores[name] / INFO, told)
    assert prune(folder, dry_run=True) == prune(folder, dry_run=False) == []
    toys(text=TEXT.replace("toy_double, data: $make/numbers.jsonl", "toy_make, rounds: 9")).run()
    gone = prune(folder, dry_run=True)
    assert [path for path, _ in gone if STORES in path.parts] == [stores["double"]]
    assert all(path.exists() for path, _ in gone)
    assert prune(folder, dry_run=False) == gone
    assert not any(path.exists() for path, _ in gone)
    assert stores["make"].exists()


def test_a_data_set_that_cannot_be_resolved_is_said_and_the_rest_is_planned(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    path = tmp_path / "far.yaml"
    path.write_text(
        "stages:\n  clean: {problems: hf://datasets/a/b@main/train}\n  tests: {problems: $clean/problems.jsonl}"
    )
    said = states(Recipe.load(path))
    assert said["clean"].startswith("a/b: HF_HUB_OFFLINE is set")
    assert said["tests"] == "unknown until clean runs"


def test_where_a_training_reports_to_is_not_in_its_key():
    config = {"model": "m", "data": "d"}
    plain, told = (sft.Config(**config, args=args) for args in ({}, {"report_to": "tensorboard"}))
    assert keyed(plain) == keyed(told)
    assert keyed(plain) != keyed(sft.Config(**config, args={"max_steps": 3}))
