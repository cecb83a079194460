"""The training stages: which rows they read, and which keys go together."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from align.errors import ConfigError, DataError
from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe.stage import Context
from align.schema import Dialogue, MultitaskRow, SftRow
from align.stages import align, sft

ARGS = {"max_steps": 1, "learning_rate": 1e-3, "save_strategy": "no", "use_cpu": True}
DPO = {"model": "m", "data": "d", "loss": {"name": "dpo"}}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    tokenizer = train_tokenizer(["add one to every item and stop " * 3], 300)
    made = random_model(
        "gpt_bigcode", vocab_size=len(tokenizer), seed=0, hidden_size=32, num_layers=1, num_heads=2, max_position=64
    )
    save_tiny(made, tokenizer, tmp_path / "base")
    return str(tmp_path / "base")


def context(out):
    out.mkdir()
    return Context(name="train", out=out, seed=0)


def lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": "a", "completion": "b"}, SftRow),
        ({"messages": [{"role": "user", "content": "a"}]}, Dialogue),
        ({"inputs": "a", "targets": "b"}, MultitaskRow),
    ],
)
def test_the_columns_of_the_first_row_tell_what_a_file_holds(tmp_path, row, kind):
    write(tmp_path / "rows.jsonl", [row])
    assert sft.supervised_kind(str(tmp_path / "rows.jsonl"), None) is kind


def test_targets_are_averaged_over_rows_and_held_out_rows_are_measured(model, tmp_path):
    rows = [MultitaskRow(inputs="add", targets=text) for text in ("one", "one to every item and stop and add")]
    losses = []
    for part in (rows, rows[:1], rows[1:]):
        write(tmp_path / "rows.jsonl", part)
        data = str(tmp_path / "rows.jsonl")
        args = ARGS | {"eval_strategy": "steps", "eval_on_start": True}
        config = sft.Config(model=model, data=data, eval_data=data, normaliser="targets", args=args)
        out = tmp_path / f"run{len(losses)}"
        counts = sft.run(config, context(out))
        losses.append(lines(out)[0]["eval_loss"])
        assert counts["evaluated_on"] == len(part)
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-5)
    assert abs(losses[1] - losses[2]) > 1e-3


def test_kto_reads_rows_in_trls_form(model, tmp_path):
    data = tmp_path / "rows.jsonl"
    write(data, [{"prompt": "add", "completion": "one", "label": n % 2 == 0} for n in range(4)])
    config = align.Config(model=model, data=str(data), loss={"name": "kto"}, args=ARGS | {"logging_steps": 1})
    align.run(config, context(tmp_path / "kto"))
    assert lines(tmp_path / "kto")[0]["loss/preference"] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": {"eval_strategy": "steps"}}, "give eval_data in the stage"),
        ({"engine": "trl", "backend": "plain"}, "not handed to trl"),
        ({"engine": "trl", "loss": {"name": "rrtf"}, "data": "groups.jsonl"}, "no rrtf: write engine: align"),
        ({"engine": "trl", "reference": "file"}, "not handed to trl"),
        ({"reference": "adapter_off"}, "adapter_off needs lora"),
        ({"reference": "file", "loss": {"name": "rrtf"}}, "no meaning for rrtf"),
        ({"global_batch_size": 1, "loss": {"name": "kto"}}, "no other row"),
        ({"data": "$rank/pairs.jsonl", "loss": {"name": "kto"}}, "reads rows with prompt, completion and label"),
        ({"backend": "groupd"}, "grouped"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(options: dict[str, Any], message):
    with pytest.raises(ValidationError, match=message):
        align.Config(**(DPO | options))


EVALUATED = {"model": "m", "data": "d", "eval_data": "e"}
BEST = {"eval_strategy": "steps", "load_best_model_at_end": True}
CHRF = {"metrics": ["chrf", "script"]}


@pytest.mark.parametrize(
    ("options", "metric", "fits"),
    [
        ({}, "eval_loss", True),
        ({}, "xnli_loss", True),
        ({}, "los", False),
        ({}, "chrf", False),
        ({"eval_generate": CHRF}, "chrf", True),
        ({"eval_generate": CHRF}, "xnli_wrong_script", True),
        ({"eval_generate": CHRF}, "eval_exact_match", False),
        ({"loss": {"name": "dpo"}}, "rewards/accuracies", True),
        ({"loss": {"name": "dpo"}}, "rank/accuracies", False),
        ({"loss": {"name": "rrtf"}}, "eval_rank/accuracies", True),
        ({"loss": {"name": "kto"}}, "rewards/margins", False),
    ],
)
def test_a_metric_that_no_evaluation_can_have_is_refused(options, metric, fits):
    kind = align if "loss" in options else sft
    given = EVALUATED | options | {"args": BEST | {"metric_for_best_model": metric}}
    if fits:
        assert kind.Config(**given).args["metric_for_best_model"] == metric
        return
    with pytest.raises(ValidationError, match=f"no evaluation has '{metric.removeprefix('eval_')}'"):
        kind.Config(**given)


def packed_rows(tmp_path):
    rows = [MultitaskRow(inputs="add", targets=f"one {n}", pack=n // 3) for n in range(7)]
    (tmp_path / "mix").mkdir()
    write(tmp_path / "mix" / "rows.jsonl", rows)
    return str(tmp_path / "mix" / "rows.jsonl")


def test_a_mixture_is_tokenised_once_in_a_run_and_batches_count_its_packed_rows(model, tmp_path, monkeypatch):
    data = packed_rows(tmp_path)
    config = sft.Config(model=model, data=data, global_batch_size=2, normaliser="targets", args=ARGS | {"max_steps": 2})
    counts = sft.run(config, context(tmp_path / "one"))
    assert {name: counts[name] for name in ("rows", "trained_on", "packed_rows")} == {
        "rows": 7,
        "trained_on": 7,
        "packed_rows": 3,
    }
    assert len(list((tmp_path / ".tokens").glob("*/store.json"))) == 1
    monkeypatch.setattr("align.text.token_store.build", None)
    assert sft.run(config, context(tmp_path / "two")) == counts


def test_trl_has_no_packed_rows(model, tmp_path):
    config = sft.Config(model=model, data=packed_rows(tmp_path), engine="trl", args=ARGS)
    with pytest.raises(ConfigError, match=r"stages.train: trl has no packed rows .* write engine: align"):
        sft.run(config, context(tmp_path / "trl"))


def test_a_mixture_without_rows_is_an_error(model, tmp_path):
    data = tmp_path / "rows.jsonl"
    write(data, [{"inputs": "a", "targets": ""}])
    with pytest.raises(DataError, match=r"no row is left to train on, of 1: dropped .*empty_response"):
        sft.run(sft.Config(model=model, data=str(data), args=ARGS), context(tmp_path / "out"))
