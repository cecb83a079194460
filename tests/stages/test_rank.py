"""The rank stage in a recipe: what it leaves, and what its key depends on."""

import json
import sys
from pathlib import Path

import pytest

from align.errors import ConfigError
from align.io import write
from align.recipe.plan import not_run_here, programs
from align.recipe.recipe import Recipe
from align.recipe.workspace import Workspace
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"])
CODES = ("def add(a, b): return a + b", "def add(a, b): return 0")


@pytest.fixture
def rank(tmp_path, monkeypatch):
    """A recipe of one rank stage, with keys of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "problems.jsonl", [PROBLEM])
    write(tmp_path / "responses.jsonl", [Response(problem_id=PROBLEM.id, text=code, code=code) for code in CODES])

    def load(keys: str = "") -> Recipe:
        path = tmp_path / "recipes" / "r.yaml"
        path.write_text(f"stages:\n  rank: {{problems: problems.jsonl, responses: responses.jsonl{keys}}}\n")
        return Recipe.load(path)

    return load


def test_a_finished_stage_leaves_no_cache_of_executions(rank):
    folder = (rank().run() / "rank").resolve()
    assert {path.name for path in folder.iterdir()} == {
        *("groups.jsonl", "pairs.jsonl", "rankings.jsonl", "sft.jsonl", "stage.json", "timings.jsonl", "verdicts.jsonl")
    }
    lines = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    assert [line["cpu_seconds"] >= 0 for line in lines] == [True, True]


def test_what_an_ended_process_left_of_the_cache_is_tidied(tmp_path):
    for name in (".executions.sqlite", ".executions.sqlite-wal", ".executions.sqlite-shm", "kept"):
        (tmp_path / name).touch()
    Workspace(tmp_path, "r").tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_interpreter_is_part_of_the_key_and_verdicts_are_of_it(rank):
    def key(keys: str) -> object:
        (stage,) = rank(keys).stages
        return programs(stage)

    plain = key("")
    assert plain == {"isolation": "none"}
    own, other = key(f", profile: {{python: {sys.executable}}}"), key(", profile: {modules: [wave]}")
    assert own["profile"] != other["profile"]
    folder = rank(", profile: {modules: [wave]}").run() / "rank"
    assert '"outcome":"passed"' in (folder / "verdicts.jsonl").read_text().replace(" ", "")


def test_an_interpreter_that_is_not_there_is_refused_before_anything_runs(rank, tmp_path):
    recipe = rank(", profile: {python: nowhere/bin/python}")
    with pytest.raises(ConfigError, match=r"^stages.rank: profile: nowhere/bin/python: .*name an interpreter"):
        recipe.run()
    assert not list(Path("runs").glob("**/stage.json"))
    with pytest.raises(ConfigError, match="name an interpreter"):
        not_run_here(recipe)
