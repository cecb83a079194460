"""The plan stage: plans by the offline family, checked by a coder or not, and the rows that train a planner."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from align.errors import StageError
from align.generate import Reply
from align.generate.offline import OfflineGenerator
from align.io import read, write
from align.models.entry import AnyEntry, Offline
from align.recipe.stage import Context, Counts
from align.schema import Problem, Rejected, SftRow
from align.stages import plan

FOLDER = Path(__file__).parents[2] / "data" / "offline"
MODELS: dict[str, AnyEntry] = {
    "teacher": Offline(offline=str(FOLDER), seed=1),
    "noisy": Offline(offline=str(FOLDER), errors={"default": 0.4}),
}
HEADING = "How to solve:\nStep 1. "


def run(out: Path, config: dict[str, Any]) -> Counts:
    return plan.run(plan.Config.model_validate(config), Context(out.name, out, 0, MODELS))


def heldout(folder: Path, count: int = 12) -> str:
    """Problems with tests."""
    write(folder / "problems.jsonl", read(FOLDER / "heldout.jsonl", Problem)[:count])
    return str(folder / "problems.jsonl")


def test_without_a_coder_every_problem_stays_in_order_and_keeps_its_tests(tmp_path: Path) -> None:
    before = read(heldout(tmp_path), Problem)
    counts = run(tmp_path / "plan", {"problems": heldout(tmp_path), "model": "noisy"})
    after = read(tmp_path / "plan" / "problems.jsonl", Problem)
    assert counts == {"kept": 12, "planned": 12, "rejected": {}}
    assert [problem.tests for problem in after] == [problem.tests for problem in before]
    assert [problem.parent for problem in after] == [problem.id for problem in before]
    assert all(HEADING in str(problem.prompt) for problem in after)


def test_a_problem_whose_plan_cannot_be_read_stays_bare_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OfflineGenerator.reply
    monkeypatch.setattr(
        OfflineGenerator,
        "reply",
        lambda self, request: "Take the list apart." if "keep" in str(request.prompt) else right(self, request),
    )
    path = heldout(tmp_path, 60)
    before = read(path, Problem)
    hit = [problem.id for problem in before if "keep" in str(problem.prompt)]
    assert 0 < len(hit) < 60
    counts = run(tmp_path / "plan", {"problems": path, "model": "teacher"})
    after = read(tmp_path / "plan" / "problems.jsonl", Problem)
    assert counts["kept"] == 60
    assert [problem.id for problem in after if problem.parent is None] == hit
    assert [row.reason for row in read(tmp_path / "plan" / "rejected.jsonl", Rejected)] == ["no_plan"] * len(hit)


def test_with_a_coder_only_plans_stay_whose_code_passes(tmp_path: Path) -> None:
    config = {"problems": heldout(tmp_path, 10), "model": "noisy", "coder": "teacher", "isolation": "none"}
    counts = run(tmp_path / "plan", config)
    failed = counts["rejected"]["plan_fails"]
    assert counts["kept"] == counts["planned"] == 10 - failed
    assert 0 < failed < 10
    right = run(tmp_path / "right", {**config, "model": "teacher"})
    assert right == {"kept": 10, "planned": 10, "rejected": {}}


def test_the_rows_ask_as_the_planner_is_asked(tmp_path: Path) -> None:
    own = tmp_path / "plan.jinja"
    own.write_text("Steps of {{ problem }} please")
    config = {"problems": heldout(tmp_path, 3), "model": "teacher", "prompts": {"plan": str(own)}}
    run(tmp_path / "plan", config)
    rows = read(tmp_path / "plan" / "sft.jsonl", SftRow)
    problems = read(heldout(tmp_path, 3), Problem)
    assert [row.prompt for row in rows] == [f"Steps of {problem.prompt} please\n" for problem in problems]
    planned = read(tmp_path / "plan" / "problems.jsonl", Problem)
    assert all(row.completion in str(problem.prompt) for row, problem in zip(rows, planned, strict=True))


def test_what_has_a_plan_is_not_planned_again(tmp_path: Path) -> None:
    run(tmp_path / "plan", {"problems": heldout(tmp_path, 3), "model": "teacher"})
    again = run(tmp_path / "again", {"problems": str(tmp_path / "plan" / "problems.jsonl"), "model": "teacher"})
    assert again == {"kept": 3, "planned": 0, "rejected": {"has_plan": 3}}


@pytest.mark.parametrize("text", ["", "\x00", "Step 1. a\nStep 2. \ud800", "x" * 100_000, "Step 1. only one"])
def test_an_odd_answer_is_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(
        OfflineGenerator,
        "generate",
        lambda self, requests, done=(): iter([{0: Reply(text=text)}, {1: Reply(text=text)}]),
    )
    counts = run(tmp_path / "plan", {"problems": heldout(tmp_path, 2), "model": "teacher"})
    assert (counts["kept"], counts["planned"]) == (2, 0)


def test_a_checked_stage_needs_tests_and_a_plan_that_works(tmp_path: Path) -> None:
    write(tmp_path / "bare.jsonl", [{"prompt": read(FOLDER / "heldout.jsonl", Problem)[0].prompt}])
    bare = {"problems": str(tmp_path / "bare.jsonl"), "model": "teacher"}
    with pytest.raises(StageError, match=r"no problem of .* has tests to check a plan by"):
        run(tmp_path / "plan", {**bare, "coder": "teacher"})
    with pytest.raises(ValidationError, match="nothing is asked by solve: give a coder"):
        plan.Config.model_validate({**bare, "prompts": {"solve": "x"}})
    assert run(tmp_path / "unchecked", bare)["planned"] == 1
