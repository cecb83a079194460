"""The keys of a training stage that say what is measured on held-out rows, and which step is kept."""

import json

import pytest
from pydantic import ValidationError

from align.errors import ConfigError, StageError
from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe.stage import Context
from align.schema import MultitaskRow, SftRow
from align.stages import align, sft

ROWS = [
    MultitaskRow(inputs=f"add {n} to", targets="one" if n % 2 else "every item", task=("add", "list")[n % 2])
    for n in range(8)
]
ARGS = {"max_steps": 4, "learning_rate": 1e-2, "save_steps": 2, "eval_strategy": "steps", "use_cpu": True}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    tokenizer = train_tokenizer(["add one to every item and stop " * 3], 300)
    shape = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "max_position": 64}
    save_tiny(random_model("bloom", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, tmp_path / "base")
    write(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "out").mkdir()
    return tmp_path


def config(folder, **options):
    given = {"args": ARGS, "eval_generate": {"rows": 2, "max_new_tokens": 4}} | options
    data = str(folder / "rows.jsonl")
    return sft.Config(model=str(folder / "base"), data=data, eval_data=data, **given)


def test_answers_are_measured_and_choose_the_model(folder):
    args = ARGS | {"load_best_model_at_end": True, "metric_for_best_model": "add_chrf", "greater_is_better": True}
    counts = sft.run(config(folder, args=args), Context(name="tune", out=folder / "out", seed=0))
    lines = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    evaluated = {line["step"]: line for line in lines if "eval_loss" in line}
    assert set(evaluated) == {2, 4}
    expected = {"add_loss", "list_loss", "add_exact_match", "list_chrf", "add_length", "chrf", "length_ratio"}
    assert {f"eval_{name}" for name in expected} <= evaluated[2].keys()
    best = counts["best_step"]
    assert counts["best_eval_add_chrf"] == evaluated[best]["eval_add_chrf"]
    name = "model.safetensors"
    kept = folder / "out" / "checkpoints" / f"checkpoint-{best}" / name
    assert (folder / "out" / "model" / name).read_bytes() == kept.read_bytes()


def test_held_out_rows_that_are_none_are_said_before_training(folder):
    (folder / "none.jsonl").touch()
    given = config(folder).model_copy(update={"eval_data": str(folder / "none.jsonl")})
    with pytest.raises(StageError, match=r"stages\.tune: .*none\.jsonl holds no row to evaluate on: remove eval_data"):
        sft.run(given, Context(name="tune", out=folder / "out", seed=0))


def test_rows_that_are_no_tasks_are_not_asked(folder):
    write(folder / "rows.jsonl", [SftRow(prompt="add", completion="one")])
    with pytest.raises(ConfigError, match=r"stages\.tune: eval_generate asks tasks: eval_data needs rows with inputs"):
        sft.run(config(folder), Context(name="tune", out=folder / "out", seed=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_data": None}, "give eval_data in the stage"),
        ({"args": {}}, "is measured at evaluations: write args.eval_strategy"),
        ({"eval_generate": {"metrics": ["exactly"]}}, "exact_match"),
        ({"eval_generate": {"metrics": []}}, "metrics"),
        ({"eval_generate": {"max_new_tokens": 3, "min_new_tokens": 4}}, "no answer could end"),
        ({"target_length_floor": 4}, "write normaliser: targets"),
        ({"engine": "trl", "eval_data": None}, "eval_generate|not handed to trl"),
        (
            {"eval_data": None, "args": {"eval_strategy": "steps", "load_best_model_at_end": True}},
            "no rows to evaluate on",
        ),
        ({"args": {"load_best_model_at_end": True}, "eval_generate": None}, "needs evaluations"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(options, message):
    given = {"model": "m", "data": "d", "eval_data": "e", "args": {"eval_strategy": "steps"}, "eval_generate": {}}
    with pytest.raises(ValidationError, match=message):
        sft.Config(**(given | options))


def test_alignment_has_no_tasks_to_ask():
    with pytest.raises(ValidationError, match="which only sft trains on"):
        align.Config(
            model="m", data="d", eval_data="e", loss={"name": "dpo"}, args={"eval_strategy": "steps"}, eval_generate={}
        )
