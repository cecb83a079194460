"""The score stage with the generator and the tests of the offline family; weights are real, tiny ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from align.errors import ConfigError, DataError, StageError
from align.generate import Reply
from align.io import write
from align.models.load import load_model
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe.recipe import Recipe
from align.recipe.stage import Context
from align.schema import Problem
from align.stages import score

PROBLEMS = [
    Problem(prompt="Return one.", entry_point="f", tests=["assert f() == 1"]),
    Problem(prompt="Return two.", entry_point="f", tests=["assert f() == 2"]),
    Problem(prompt="Return three.", entry_point="f", tests=["assert f() == 3"]),
]
SOLVED = {"start": 0, "checkpoint-10": 1, "checkpoint-20": 3, "checkpoint-100": 3}
"""Model's folder → how many of the problems its answers solve."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A stage's folder with a start and checkpoints, each a tiny model."""
    tokenizer = train_tokenizer(["def f():\n    return 1\n"] * 20, 280)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    for seed, name in enumerate(SOLVED):
        folder = tmp_path / "trained" / ("checkpoints" if "-" in name else "") / name
        save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=seed, **shape), tokenizer, folder)
    write(tmp_path / "problems.jsonl", PROBLEMS)
    return tmp_path / "trained"


@pytest.fixture
def scored(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Score with answers that solve as many problems as `SOLVED` says."""

    def sample(config: Any, context: Any, name: str, model: str, problems: list[Problem]) -> list[Reply]:
        load_model(context.weights(model))
        solved = SOLVED[Path(model).name]
        return [Reply(text=f"def f():\n    return {n + 1 if n < solved else 0}\n") for n in range(len(problems))]

    monkeypatch.setattr(score, "sample", sample)

    def run(**keys: Any) -> Path:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        values = {"problems": str(tmp_path / "problems.jsonl"), "isolation": "none", **keys}
        config = score.Config.model_validate(values)
        paths = {name: value.replace("$", f"{tmp_path}/") for name, value in config.models.items()}
        counts = score.run(config.model_copy(update={"models": paths}), Context("s", out, 0))
        assert counts["problems"] == 3
        return out

    return run


def test_checkpoints_are_scored_in_the_order_of_their_steps(scored: Any) -> None:
    out = scored(models={"start": "$trained/start", "rrtf": "$trained/checkpoints/*"})
    found = json.loads((out / "score.json").read_text())
    assert list(found["models"]) == ["start", "rrtf@10", "rrtf@20", "rrtf@100"]
    assert [round(model["pass@1"]) for model in found["models"].values()] == [0, 33, 100, 100]
    assert found["steps"] == {"rrtf": {"rrtf@10": 10, "rrtf@20": 20, "rrtf@100": 100}}
    assert "best" not in found
    assert not (out / "model").exists()


def test_the_best_is_kept_and_of_equals_the_first(scored: Any, models: Path) -> None:
    out = scored(models={"start": "$trained/start", "rrtf": "$trained/checkpoints/*"}, keep_best=True)
    assert json.loads((out / "score.json").read_text())["best"] == "rrtf@20"
    kept, best = out / "model", models / "checkpoints" / "checkpoint-20"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        path.name: path.read_bytes() for path in best.iterdir()
    }


RECIPE = """
benchmarks: {bench: problems.jsonl}
stages:
  init: {architecture: gpt_bigcode, texts: rows.jsonl}
  sft: {model: $init/model, data: rows.jsonl}
  pick:
    use: score
    problems: dev.jsonl
    models: {sft: $sft/checkpoints/*}
    keep_best: true
  last: {use: score, problems: bench, models: {picked: $pick/model}}
"""


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed=0", None),
        ("stages.pick.problems=bench", "keep_best: a model chosen on the benchmark 'bench' cannot be measured on it"),
        ("stages.pick.problems=problems.jsonl", "keep_best: a model chosen on the benchmark 'problems.jsonl'"),
        ("stages.pick.keep_best=false", "last.models.picked: pick leaves no 'model'"),
        ("stages.sft.model=$init/model/*", "stages.sft.model: '$init/model/*' are several models, one is needed"),
        ("stages.pick.models={a/b: $sft/model}", "models.a/b"),
    ],
)
def test_a_choice_is_checked_before_anything_runs(override: str, told: str | None, tmp_path: Path) -> None:
    for name in ("problems.jsonl", "dev.jsonl"):
        write(tmp_path / name, PROBLEMS)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    if told is None:
        assert Recipe.load(recipe, [override]).is_benchmark("bench")
        return
    with pytest.raises(ConfigError) as refused:
        Recipe.load(recipe, [override])
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("given", "below", "used"),
    [(None, [], "plain"), (None, ["raw"], "raw"), ("humaneval", ["raw"], "humaneval"), (None, ["plain", "raw"], None)],
)
def test_a_model_is_measured_in_the_form_it_was_trained_on(given: Any, below: list[str], used: str | None) -> None:
    config = score.Config.model_validate({"models": {"m": "m"}, "problems": "p", "template": given})
    context = Context("s", Path(), 0, templates=below)
    if used is None:
        with pytest.raises(StageError, match=r"use several \(plain, raw\): name one of them"):
            score.asked_by(config, context)
    else:
        assert score.asked_by(config, context) == used


RIGHT = [Reply(text=f"def f():\n    return {n}\n") for n in (1, 2, 3)]
LOST = Reply(text="", finish="error", error="no answer in 8 tries")


def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replies: list[Reply], **keys: Any) -> Any:
    """What the stage leaves for these replies, and its counts."""
    write(tmp_path / "problems.jsonl", PROBLEMS)
    monkeypatch.setattr(score, "sample", lambda *_: replies)
    values = {"problems": str(tmp_path / "problems.jsonl"), "isolation": "none", "models": {"m": "m"}, **keys}
    counts = score.run(score.Config.model_validate(values), Context("s", tmp_path, 0))
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    return json.loads((tmp_path / "score.json").read_text()), rows, counts


def test_a_failed_request_is_no_wrong_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, rows, counts = judged(tmp_path, monkeypatch, [RIGHT[0], LOST, RIGHT[0]])
    assert [row["outcome"] for row in rows] == ["passed", "infra_error", "wrong_answer"]
    assert rows[1]["reason"] == "no_answer"
    assert measured["models"]["m"]["pass@1"] == 50
    assert measured["unscored"] == [PROBLEMS[1].id]
    assert counts["unanswered"] == 1


def test_of_several_samples_the_others_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [RIGHT[0], RIGHT[0], RIGHT[0], LOST, LOST, LOST]
    measured, rows, counts = judged(tmp_path, monkeypatch, replies, n=2, temperature=1.0)
    assert len(rows) == 6
    assert measured["models"]["m"]["pass@1"] == 50
    assert measured["models"]["m"]["problems"] == 2
    assert measured["unscored"] == [PROBLEMS[2].id]
    assert counts["unanswered"] == 3


def test_an_answer_cut_off_in_its_thinking_is_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, rows, counts = judged(tmp_path, monkeypatch, [*RIGHT[:2], Reply(text="", finish="length")])
    assert (rows[2]["outcome"], rows[2]["reason"]) == ("compile_error", "no_program")
    assert measured["models"]["m"]["pass@1"] == pytest.approx(200 / 3, abs=0.01)
    assert "unanswered" not in counts


def test_nothing_answered_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="none of the 3 problems could be judged"):
        judged(tmp_path, monkeypatch, [LOST] * 3)


def test_what_is_asked_at_most_is_told_beforehand() -> None:
    values = {"models": {"a": "m", "b": "m", "c": "o"}, "problems": "p", "n": 4, "temperature": 1.0, "offset": 2}
    told = score.demand(score.Config.model_validate({**values, "limit": 5, "max_new_tokens": 9}), 10)
    assert (told.asks, told.leaves) == ({"m": (40, 9), "o": (20, 9)}, 0)
    assert score.demand(score.Config.model_validate(values), 1).asks["o"][0] == 0
