import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from align.errors import ConfigError
from align.models.lora import Lora
from align.train.config import AlignConfig
from align.train.settings import Dpo
from align.train.trainer import AlignTrainer

from .conftest import GRADIENT, GROUPS, PAIRS, SFT

ARGS = {"max_steps": 2, "learning_rate": 3e-3, "eval_strategy": "steps", "eval_steps": 1, "logging_steps": 1,
        "save_strategy": "no", "use_cpu": True}  # fmt: skip


def lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def evaluated(out):
    return [line for line in lines(out) if "eval_loss" in line]


def trainer(tiny, out, rows, **options):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny()), AutoTokenizer.from_pretrained(tiny())
    return AlignTrainer(model, AlignConfig(str(out), use_cpu=True, **options), rows, processing_class=tokenizer)


def test_the_trainer_is_used_outside_of_recipes(tiny, tmp_path):
    made = trainer(tiny, tmp_path, SFT, global_batch_size=8, max_steps=3, learning_rate=1e-2)
    before = made.evaluate(SFT[:8])["eval_loss"]
    made.train()
    assert made.evaluate(SFT[:8])["eval_loss"] < before
    made.save_model()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model") is not None
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_held_out_rows_are_measured_by_the_objective(run, case):
    rows, loss = case
    out, counts = run(rows[:12], loss, eval_rows=rows[12:], args=ARGS, global_batch_size=12)
    first, second = evaluated(out)
    assert (first["step"], second["step"]) == (1, 2)
    assert first["eval_loss"] != second["eval_loss"]
    trained = lines(out)[0]
    assert {f"eval_{name}" for name in trained} >= first.keys() - {"step"}
    assert (counts["eval_rows"], counts["evaluated_on"], counts["eval_dropped"]) == (12, 12, {})


def test_an_evaluation_is_the_mean_over_the_whole_set_however_it_is_cut(run, case):
    rows, loss = case
    options = {"eval_rows": rows[12:], "args": ARGS | {"max_steps": 1}, "global_batch_size": 12}
    whole, _ = run(rows[:12], loss, **options)
    cut, _ = run(rows[:12], loss, max_tokens_per_batch=260, backend="plain", **options)
    assert evaluated(cut)[0] == pytest.approx(evaluated(whole)[0], rel=2e-5, abs=2e-5)


def test_evaluating_does_not_change_what_is_trained(run):
    args = ARGS | {"eval_strategy": "no"}
    plain, _ = run(SFT[:12], args=args)
    watched, _ = run(SFT[:12], eval_rows=SFT[12:], args=ARGS)
    weights = "model/model.safetensors"
    assert (watched / weights).read_bytes() == (plain / weights).read_bytes()


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_held_out_pairs_have_their_reference(run, lora):
    out, _ = run(PAIRS[:12], Dpo(name="dpo"), lora=lora, eval_rows=PAIRS[12:], args=ARGS | {"eval_on_start": True})
    start = evaluated(out)[0]
    assert start["step"] == 0
    assert start["eval_loss"] == pytest.approx(0.693147, abs=1e-6)


def test_rows_without_a_reference_in_the_file_are_refused(tiny, tmp_path):
    made = trainer(tiny, tmp_path, PAIRS[:4], loss=Dpo(name="dpo"), max_steps=1)
    with pytest.raises(ConfigError, match="give these rows to the trainer"):
        made.evaluate(PAIRS[4:])


def test_there_is_nothing_to_evaluate_without_rows(tiny, tmp_path):
    with pytest.raises(ConfigError, match="no held-out rows"):
        trainer(tiny, tmp_path, GROUPS[:4], max_steps=1).evaluate()


def test_batches_are_given_in_our_keys(tmp_path):
    with pytest.raises(ConfigError, match="gradient_accumulation_steps: derived from global_batch_size"):
        AlignConfig(str(tmp_path), gradient_accumulation_steps=2)
    with pytest.raises(ConfigError, match="per_device_train_batch_size: derived from global_batch_size"):
        AlignConfig(str(tmp_path), per_device_train_batch_size=4)
    assert GRADIENT.keys() <= AlignConfig(str(tmp_path), **GRADIENT).to_dict().keys()
