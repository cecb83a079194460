"""A changed recipe beside unfinished work; and hub revisions without a network."""

import json
import re

import pytest
from huggingface_hub import constants

from align.errors import StageError
from align.recipe import plan, run
from align.recipe.recipe import Recipe
from align.recipe.workspace import Workspace

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_changed_setting_says_what_changed_and_where_the_unfinished_work_stays(toys, capsys):
    with pytest.raises(StageError, match="asked to fail"):
        toys("stages.again.fail=true").run()
    capsys.readouterr()
    folder = toys().run()
    told = capsys.readouterr().err
    (unfinished,) = [path for path in folder.glob("again-*") if not (path / "stage.json").exists()]
    assert told == (
        "align: again: fail True → False: begins anew; the unfinished work stays in "
        f"{unfinished}, for the old settings\n"
    )
    # the work under the old settings is gone on with, and nothing is said
    with pytest.raises(StageError, match="asked to fail"):
        toys("stages.again.fail=true").run()
    assert capsys.readouterr().err == ""
    assert not list(folder.glob("again/.begun.json"))


def test_a_finished_stage_leaves_no_word_about_what_it_was_begun_with(toys, capsys):
    toys().run()
    toys("stages.make.rounds=4").run()
    assert capsys.readouterr().err == ""


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An offline machine with one model in the hub's cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    plan._commit.cache_clear()
    folder = tmp_path / "hub" / "models--org--name"
    for path, text in (("refs/main", f"{COMMIT}\n"), ("refs/refs/pr/1", COMMIT), (f"snapshots/{COMMIT}/x", "")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    yield folder
    plan._commit.cache_clear()


@pytest.mark.parametrize("revision", [None, "main", "refs/pr/1"])
def test_a_revision_is_found_in_the_cache(cache, revision):
    assert plan._commit("model", "org/name", revision) == COMMIT


@pytest.mark.parametrize(("name", "revision"), [("org/name", "v2"), ("org/other", None), ("org/name", "../../x")])
def test_one_that_is_not_there_is_a_line_with_the_command(cache, name, revision):
    with pytest.raises(StageError, match=rf"{name}: HF_HUB_OFFLINE is set and .* run `hf download {name}") as caught:
        plan._commit("model", name, revision)
    assert "\n" not in str(caught.value)


def test_a_name_without_an_owner_may_be_meant_for_a_folder(cache, toys):
    text = "models: {m: {model_name_or_path: tiny}}\nstages: {sft: {model: m, data: hf://datasets/o/n@main/test}}"
    (step,) = plan.plan(toys(text=text), Workspace(cache, "r"))
    assert re.match(r"no folder 'tiny' below .*recipes; as a hub id: tiny: HF_HUB_OFFLINE is set", step.why)


def test_a_snapshot_that_was_removed_does_not_count(cache):
    (cache / "snapshots" / COMMIT / "x").unlink()
    (cache / "snapshots" / COMMIT).rmdir()
    with pytest.raises(StageError, match="has no main"):
        plan._commit("model", "org/name", None)


def test_the_run_records_the_commit(cache, toys):
    text = """
models:
  base: {model_name_or_path: org/name}
stages:
  make: {use: toy_make, rounds: 3}
"""
    folder = toys(text=text).run()
    assert json.loads((folder / "run.json").read_text())["revisions"] == {"org/name": COMMIT}
    assert run.revisions(Recipe.load(folder.parents[1] / "recipes" / "toy.yaml")) == {"org/name": COMMIT}
