"""What a plan says that endpoints will be asked."""

import json
from pathlib import Path

import pytest

from align.cli import main
from align.recipe import Recipe
from align.recipe.estimate import Estimate, estimate, total
from align.recipe.plan import plan
from align.recipe.workspace import Workspace

MODELS = """
models:
  teacher:
    base_url: http://localhost:9/v1
    model: q
    price_per_million: {prompt: 1.0, completion: 10.0}
    max_cost: 1
  free: {base_url: "http://localhost:9/v1", model: p}
"""
CHAIN = """
stages:
  clean: {problems: seeds.jsonl}
  tests: {problems: $clean/problems.jsonl, models: [teacher, free], max_new_tokens: 100}
  sample:
    problems: $tests/problems.jsonl
    offset: 2
    from: [{model: teacher, n: 2, temperature: [0.2, 1.0], max_new_tokens: 50}, {model: free, max_new_tokens: 7}]
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": "x" * 30, "source": "s"} for _ in range(10)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text(MODELS + CHAIN)
    return tmp_path / "r.yaml"


def estimates(path: Path, *overrides: str) -> list[Estimate]:
    recipe = Recipe.load(path, overrides)
    return estimate(recipe, plan(recipe, Workspace(Path("runs").resolve(), recipe.name)))


def test_requests_and_tokens_follow_the_rows_through_the_chain(recipe: Path) -> None:
    found = {(entry.stage, entry.model): entry for entry in estimates(recipe)}
    assert {place: entry.requests for place, entry in found.items()} == {
        ("tests", "teacher"): 10,
        ("tests", "free"): 10,
        ("sample", "teacher"): 8 * 4,
        ("sample", "free"): 8,
    }
    asked = found["sample", "teacher"]
    assert (asked.prompt_tokens, asked.completion_tokens) == (32 * 30 / 3, 32 * 50)
    assert asked.cost == pytest.approx((32 * 10 * 1.0 + 32 * 50 * 10.0) / 1e6)
    assert found["tests", "free"].cost is None


def test_totals_are_over_stages(recipe: Path) -> None:
    requests, tokens, cost = total(estimates(recipe), "teacher")
    assert (requests, tokens) == (42, 42 * 10 + 10 * 100 + 32 * 50)
    assert cost == pytest.approx((420 + 10 * (1000 + 1600)) / 1e6)
    assert total(estimates(recipe), "free")[2] is None


def test_plan_prints_the_estimate_and_the_limit_that_it_may_meet(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "r.yaml"]) == 0
    told = capsys.readouterr().out
    assert "answer tokens" in told
    assert "may be reached" not in told
    assert main(["plan", "r.yaml", "models.teacher.max_requests=41"]) == 0
    assert "models.teacher: max_requests 41 may be reached" in capsys.readouterr().out


def test_a_recipe_without_endpoints_prints_no_estimate(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text("stages:\n  clean: {problems: seeds.jsonl}\n")
    assert main(["plan", "r.yaml"]) == 0
    assert "at most" not in capsys.readouterr().out


def test_a_data_set_of_the_hub_is_not_guessed(recipe: Path) -> None:
    # its rows are not known before it is read; the plan itself needs its commit
    pinned = f"hf://datasets/a/b@{'0' * 40}/train"
    assert estimates(recipe, f"stages.clean.problems={pinned}") == []
