"""The commands: their words, their mistakes that tests/bad_input/ does not have, what they show."""

import json
from pathlib import Path

import pytest

from align.cli import main, parse
from align.execute import isolation
from align.io import write
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"], meta={"task_id": "a/0"})
GOOD = "def add(a, b):\n    return a + b"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "problems.jsonl", [PROBLEM])
    write(tmp_path / "responses.jsonl", [Response(problem_id=PROBLEM.id, text=GOOD, code=GOOD)])
    return tmp_path


def recipe(stages: str) -> str:
    Path("recipes/r.yaml").write_text(f"stages:\n  {stages}\n")
    return "recipes/r.yaml"


def said(capsys, *words: str) -> str:
    """The one line that a command which must fail prints."""
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if "warning" not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("align: ")
    return lines[0]


RANK = "rank: {problems: problems.jsonl, responses: responses.jsonl}"
MISTAKES = {
    "missing key": ("rank: {problems: problems.jsonl}", "stages.rank.responses"),
    "unknown kind": ("rnk: {}", "did you mean 'rank'"),
    "misspelt argument": (
        "sft: {model: m, data: responses.jsonl, args: {learnign_rate: 1.0e-4}}",
        "did you mean 'learning_rate'",
    ),
    "judge without judge": (
        "rank: {problems: problems.jsonl, responses: responses.jsonl, by: [unit_tests, judge]}",
        "judge needs a section of its own: `judge: {…}`",
    ),
    "greedy samples": ("score: {models: {m: m}, problems: problems.jsonl, n: 5}", "greedy samples are all the same"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_recipe_is_one_line(folder, capsys, mistake):
    stage, expected = MISTAKES[mistake]
    text = said(capsys, "check", recipe(stage))
    assert expected in text
    assert "recipes/r.yaml:2" in text


@pytest.fixture
def without_level_a(monkeypatch):
    monkeypatch.delenv("ALIGN_ISOLATION")
    monkeypatch.setattr(isolation, "probe", lambda level: "unshare: EPERM" if level == "A" else None)


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("asked", ["", ", isolation: A"])
def test_a_level_that_the_machine_does_not_give_is_refused_with_the_cure(folder, without_level_a, capsys, verb, asked):
    assert main([verb, recipe(f"{RANK[:-1]}{asked}}}")]) == 2
    first, *cure = capsys.readouterr().err.splitlines()
    assert first == "align: stages.rank: isolation A cannot be had here: unshare: EPERM"
    assert any("--isolation none, or ALIGN_ISOLATION=none" in line for line in cure)
    assert not list(folder.glob("runs/**/stage.json"))


def test_a_recipe_is_checked_where_it_cannot_run(folder, without_level_a, capsys):
    assert main(["check", recipe(RANK)]) == 0
    said = capsys.readouterr().out
    assert "note: stages.rank: isolation A cannot be had here: unshare: EPERM: align doctor tells the cure\n" in said
    assert main(["check", recipe(f"{RANK[:-1]}, isolation: B}}")]) == 0
    assert "note:" not in capsys.readouterr().out


def test_wrong_words_and_wrong_stage_names_are_refused(folder, capsys):
    assert "no stage 'rnak'" in said(capsys, "run", recipe(RANK), "--only", "rnak")
    assert "did you mean 'rank'" in said(capsys, "show", "rnk")
    with pytest.raises(SystemExit, match="2"):
        parse(["run", "recipes/r.yaml", "--onyl", "rank"])
    assert parse(["run", "r.yaml", "a=1", "--only", "x", "b=2"]).overrides == ["a=1", "b=2"]


def test_a_run_shows_itself_as_json(folder, capsys):
    assert main(["run", recipe(RANK), "stages.rank.responses=responses.jsonl"]) == 2
    other = Response(
        problem_id=PROBLEM.id, sample_index=1, text="def add(a, b):\n    return 0", code="def add(a, b):\n    return 0"
    )
    write(folder / "responses.jsonl", [Response(problem_id=PROBLEM.id, text=GOOD, code=GOOD), other])
    assert main(["run", "recipes/r.yaml"]) == 0
    capsys.readouterr()
    assert main(["show", "runs/r", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in found["stages"]] == ["rank"]
    assert found["stages"][0]["counts"]["groups"] == 1
    assert main(["show", "runs/r/rank/groups.jsonl"]) == 0
    assert "return a + b" in capsys.readouterr().out
    for kind in ("rank", "align", "evolve"):
        assert main(["show", kind]) == 0


def test_a_key_in_the_environment_reaches_no_file(folder, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    path = recipe(RANK)
    text = Path(path).read_text() + 'models:\n  t: {base_url: "http://x/v1", model: m, api_key: "${TEACHER_KEY}"}\n'
    Path(path).write_text(text)
    write(
        folder / "responses.jsonl",
        [Response(problem_id=PROBLEM.id, text=code, code=code) for code in (GOOD, "def add(a, b): return 1")],
    )
    assert main(["run", path]) == 0
    assert not [file for file in (folder / "runs").rglob("*") if file.is_file() and b"very-secret" in file.read_bytes()]
