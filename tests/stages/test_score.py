"""The score stage with the generator and the tests of the offline family; weights are real, tiny ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from align.errors import ConfigError, DataError, StageError
from align.generate import Reply
from align.io import write
from align.models.entry import Endpoint, Weights
from align.models.load import load_model
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe.recipe import Recipe
from align.recipe.stage import Context
from align.schema import Problem
from align.stages import score
from align.text.encode import Encoder

PROBLEMS = [
    Problem(prompt="Return one.", entry_point="f", tests=["assert f() == 1"]),
    Problem(prompt="Return two.", entry_point="f", tests=["assert f() == 2"]),
    Problem(prompt="Return three.", entry_point="f", tests=["assert f() == 3"]),
]
SOLVED = {"start": 0, "checkpoint-10": 1, "checkpoint-20": 3, "checkpoint-100": 3}
"""Model's folder → how many of the problems its answers solve."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage's folder with a start and checkpoints, each a tiny model."""
    trained = tmp_path_factory.mktemp("stages") / "trained"
    tokenizer = train_tokenizer(["def f():\n    return 1\n"] * 20, 280)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    for seed, name in enumerate(SOLVED):
        folder = trained / ("checkpoints" if "-" in name else "") / name
        save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=seed, **shape), tokenizer, folder)
    return trained


@pytest.fixture
def scored(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Score with answers that solve as many problems as `SOLVED` says."""

    def sample(config: Any, context: Any, name: str, model: str, problems: list[Problem]) -> list[Reply]:
        load_model(context.weights(model))
        solved = SOLVED[Path(model).name]
        return [Reply(text=f"def f():\n    return {n + 1 if n < solved else 0}\n") for n in range(len(problems))]

    monkeypatch.setattr(score, "sample", sample)

    write(tmp_path / "problems.jsonl", PROBLEMS)

    def run(**keys: Any) -> Path:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        values = {"problems": str(tmp_path / "problems.jsonl"), "isolation": "none", **keys}
        config = score.Config.model_validate(values)
        paths = {name: value.replace("$", f"{models.parent}/") for name, value in config.models.items()}
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


def at_temperatures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passing: dict[float, list[int]], **keys: Any
) -> Any:
    """What the stage leaves where at each temperature so many of each problem's 4 samples pass."""
    right = {problem.prompt: reply.text for problem, reply in zip(PROBLEMS, RIGHT, strict=True)}
    counts = {(t, p.prompt): list(passed)[n] for t, passed in passing.items() for n, p in enumerate(PROBLEMS)}

    class Answers:
        keeps = False

        def generate(self, requests: Any, done: Any = ()) -> Any:
            found = {}
            for place, request in enumerate(requests):
                asked = (request.sampling.temperature, request.prompt.removeprefix("<s>"))
                counts[asked] -= 1
                found[place] = Reply(text=right[asked[1]] if counts[asked] >= 0 else "def f():\n    return 0\n")
                assert request.prompt.startswith("<s>") == bool(keys.get("prefix"))
            yield found

    monkeypatch.setattr(Context, "generator", lambda *_: Answers())
    write(tmp_path / "problems.jsonl", PROBLEMS)
    values = {
        "problems": str(tmp_path / "problems.jsonl"),
        "isolation": "none",
        "models": {"m": "m"},
        "template": "raw",
    }
    config = score.Config.model_validate({**values, "n": 4, "temperature": list(passing), "k": [1, 2], **keys})
    score.run(config, Context("s", tmp_path, 0))
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    return json.loads((tmp_path / "score.json").read_text()), rows


def test_of_several_temperatures_each_k_takes_its_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # cold: one problem always; hot: every problem, but one sample in four
    measured, rows = at_temperatures(tmp_path, monkeypatch, {0.2: [4, 0, 0], 0.8: [1, 1, 1]})
    found = measured["models"]["m"]
    assert found["pass@1"] == pytest.approx(100 / 3, abs=0.01)
    assert found["pass@2"] == pytest.approx(50, abs=0.01)
    assert found["best_temperature"] == {"pass@1": 0.2, "pass@2": 0.8}
    assert (found["low@2"], found["high@2"]) == (50, 50)
    cold, hot = found["temperatures"]["0.2"], found["temperatures"]["0.8"]
    assert (cold["pass@1"], cold["pass@2"]) == (found["pass@1"], pytest.approx(100 / 3, abs=0.01))
    assert (hot["pass@1"], hot["sampling"]["temperature"]) == (25, 0.8)
    assert found["outcomes"] == {"passed": 7, "wrong_answer": 17}
    assert [row["sample_index"] for row in rows if row["problem_id"] == PROBLEMS[1].id] == list(range(8))
    assert [row["sample_index"] for row in rows if row["passed"]] == [0, 1, 2, 3, 4, 4, 4]


def test_models_are_paired_at_their_own_best_temperatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passing = {0.2: [8, 0, 0], 0.8: [2, 2, 2]}
    measured, _ = at_temperatures(tmp_path, monkeypatch, passing, models={"a": "m", "b": "m"})
    one, other = (measured["models"][name]["pass@1"] for name in "ab")
    assert measured["paired"]["a-b"]["delta"] == pytest.approx(one - other, abs=0.01)
    assert set(measured["paired"]) == {"a-b", "b-a"}


def test_one_temperature_in_a_list_measures_what_it_does_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, rows = at_temperatures(tmp_path, monkeypatch, {0.8: [3, 1, 0]})
    monkeypatch.undo()
    for path in tmp_path.glob(".*"):
        path.unlink()
    passing = {0.8: [3, 1, 0]}
    alone, same_rows = at_temperatures(tmp_path, monkeypatch, passing, temperature=0.8)
    extra = {"best_temperature", "temperatures", "sampling"}
    assert {name: value for name, value in listed["models"]["m"].items() if name not in extra} == {
        name: value for name, value in alone["models"]["m"].items() if name not in extra
    }
    assert rows == same_rows


def test_a_prefix_stands_before_the_prompts_of_its_model_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_temperatures(tmp_path, monkeypatch, {0.2: [1, 1, 1], 0.8: [1, 1, 1]}, prefix={"m": "<s>"})
    values = {"models": {"m": "m", "o": "m"}, "problems": "p", "template": "raw", "prefix": {"m": "<s>"}}
    config = score.Config.model_validate(values)
    asked = [score.prompt(config, PROBLEMS[0], name) for name in ("m", "m@20", "o")]
    assert asked == ["<s>Return one.", "<s>Return one.", "Return one."]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"temperature": [0.2, 0.0], "n": 2}, "greedy samples are all the same"),
        ({"temperature": [0.2, 0.2]}, "one temperature stands twice"),
        ({"temperature": []}, "one or more numbers"),
        ({"temperature": [0.2, -1.0]}, "one or more numbers ≥ 0"),
        ({"prefix": {"mm": "<s>"}}, "no model 'mm': did you mean 'm'"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "is over max_new_tokens 8"),
        ({"k": [1, 0]}, "greater than 0"),
        ({"stop": [""]}, "at least 1 character"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        score.Config.model_validate({"models": {"m": "m"}, "problems": "p", **keys})


def test_a_least_length_that_a_server_need_not_know_is_refused_by_check(tmp_path: Path) -> None:
    write(tmp_path / "problems.jsonl", PROBLEMS)
    model = {"base_url": "http://localhost:1", "model": "m"}
    for body in ({}, {"extra_body": {"min_tokens": 9}}):
        stage = {"models": {"m": "m"}, "problems": "problems.jsonl", "min_new_tokens": 9}
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps({"models": {"m": model | body}, "stages": {"score": stage}}))
        if body:
            assert Recipe.load(path)
        else:
            with pytest.raises(ConfigError, match=r"score\.min_new_tokens: models\.m: min_new_tokens 9: a server need"):
                Recipe.load(path)


def test_problems_without_tests_are_refused_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "problems.jsonl", [PROBLEMS[0], Problem(prompt="Do.", meta={"task_id": "T/7"})])
    monkeypatch.setattr(score, "sample", lambda *_: pytest.fail("it was asked"))
    config = score.Config.model_validate({"problems": str(tmp_path / "problems.jsonl"), "models": {"m": "m"}})
    with pytest.raises(StageError, match=r"stages\.s\.problems: 1 of 2 problems have no tests \(T/7, …\)"):
        score.run(config, Context("s", tmp_path, 0))


def test_temperatures_multiply_what_is_asked_at_most() -> None:
    values = {"models": {"a": "m"}, "problems": "p", "n": 4, "temperature": [0.2, 0.6, 0.8], "k": [1]}
    assert score.demand(score.Config.model_validate(values), 10).asks["m"][0] == 120


BLOOMZ = Endpoint(base_url="http://localhost:1", model="bigscience/bloomz-7b1")


@pytest.mark.parametrize(
    ("file", "problems", "benchmark"),
    [
        ("problems.jsonl", [one.model_copy(update={"source": "mbpp"}) for one in PROBLEMS], "MBPP"),
        ("problems.jsonl", [one.model_copy(update={"meta": {"task_id": "Mbpp/11"}}) for one in PROBLEMS], "MBPP"),
        ("apps.jsonl", PROBLEMS, "APPS"),
        ("problems.jsonl", PROBLEMS, None),
        ("HumanEval.jsonl", [one.model_copy(update={"source": "humaneval"}) for one in PROBLEMS], None),
    ],
)
def test_scoring_on_what_a_model_was_trained_on_warns(
    file: str, problems: list[Problem], benchmark: str | None, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    write(tmp_path / file, problems)
    monkeypatch.setattr(score, "sample", lambda *_: RIGHT)
    models = {"bloomz": "bloomz", "other": "other"}
    config = score.Config.model_validate({"problems": str(tmp_path / file), "isolation": "none", "models": models})
    entries = {"bloomz": BLOOMZ, "other": Endpoint(base_url="http://localhost:1", model="bigcode/starcoder2-3b")}
    counts = score.run(config, Context("s", tmp_path, 0, models=entries))
    found = json.loads((tmp_path / "score.json").read_text())
    lines = [f"s: bloomz was trained on {benchmark} (in xP3): its figure there measures nothing"] if benchmark else []
    assert found.get("warnings", []) == lines
    assert capsys.readouterr().err.splitlines() == [f"align: warning: {line}" for line in lines]
    assert counts.get("warnings", 0) == len(lines)


def test_a_special_token_as_a_prefix_is_one_token(models: Path) -> None:
    tokenizer = load_model(Weights(model_name_or_path=str(models / "start")))[1]
    values = {"models": {"m": "m"}, "problems": "p", "template": "raw", "prefix": {"m": tokenizer.eos_token}}
    config = score.Config.model_validate(values)
    encoder = Encoder(tokenizer)
    ids = encoder.prompt(score.prompt(config, PROBLEMS[0], "m"))
    assert ids == [tokenizer.eos_token_id, *encoder.prompt("Return one.")]
