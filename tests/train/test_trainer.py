import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from align.errors import ConfigError, DataError, StageError
from align.models.entry import Weights
from align.models.load import load_tokenizer
from align.models.lora import Lora
from align.text.encode import Encoder
from align.text.plan import plan_batches
from align.train.data import encode_rows
from align.train.settings import Dpo, Rrtf

from .conftest import GRADIENT, GROUPS, PAIRS, SFT


def weights(out):
    (path,) = (out / "model").glob("*.safetensors")
    return load_file(path)


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def gradient(out, start):
    before = load_file(start / "model.safetensors")
    return {name: before[name] - value for name, value in weights(out).items()}


def assert_same_gradient(found, expected):
    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 1e-3
    for name, value in expected.items():
        assert float((found[name] - value).abs().max()) <= 1e-5 * largest, name


@pytest.mark.parametrize("accumulation", [2, 8])
def test_the_gradient_does_not_depend_on_micro_batches(run, case, tiny, accumulation):
    rows, loss = case
    whole, _ = run(rows, loss)
    cut, _ = run(rows, loss, max_tokens_per_batch=budget(rows, tiny(), accumulation))
    assert_same_gradient(gradient(cut, tiny()), gradient(whole, tiny()))
    assert metrics(cut)[0]["loss"] == pytest.approx(metrics(whole)[0]["loss"], rel=1e-5)


def budget(rows, folder, accumulation):
    """The tokens of a micro-batch that cut the rows into this many."""
    encoder = Encoder(load_tokenizer(Weights(model_name_or_path=str(folder))))
    sizes = [group.size for group in encode_rows(rows, encoder, max_length=None, teacher_target=False).groups]
    options = {"global_batch_size": len(rows), "world_size": 1, "seed": 0, "epochs": 1}
    return next(
        tokens
        for tokens in range(5000, max(size.rows * size.length for size in sizes), -10)
        if plan_batches(sizes, max_tokens_per_batch=tokens, **options).accumulation == accumulation
    )


def test_the_gradient_does_not_depend_on_the_order_of_rows(run, case, tiny):
    rows, loss = case
    straight, _ = run(rows, loss)
    turned, _ = run(rows[::-1], loss)
    assert_same_gradient(gradient(turned, tiny()), gradient(straight, tiny()))


def test_the_gradient_does_not_depend_on_padding(run, tiny):
    """A long row in the batch pads all the others; its own share is taken out by hand."""
    long = SFT[0].model_copy(update={"completion": "pass\n" * 20})
    both = gradient(run([*SFT[:4], long])[0], tiny())
    short, alone = gradient(run(SFT[:4])[0], tiny()), gradient(run([long])[0], tiny())
    lengths = [tokens(tiny(), rows) for rows in (SFT[:4], [long])]
    parts = [length / sum(lengths) for length in lengths]
    assert_same_gradient({name: parts[0] * short[name] + parts[1] * alone[name] for name in both}, both)


def tokens(folder, rows):
    encoder = Encoder(load_tokenizer(Weights(model_name_or_path=str(folder))))
    return sum(len(encoder.response(row.completion)) for row in rows)


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "starcoder2", "bloom"])
@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_dpo_starts_at_ln_2_though_the_configuration_has_dropout(run, tiny, tmp_path, architecture, lora):
    folder = shutil.copytree(tiny(architecture), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {name: 0.1 for name in config if "drop" in name}
    (folder / "config.json").write_text(json.dumps(config))
    out, _ = run(PAIRS, Dpo(name="dpo"), model=folder, lora=lora)
    first = metrics(out)[0]
    assert first["loss/preference"] == pytest.approx(0.693147, abs=1e-6)
    assert first["rewards/margins"] == 0


def test_dropout_that_survives_is_caught_at_the_first_step(run, tiny, tmp_path):
    folder = shutil.copytree(tiny(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_pdrop": 0.1, "resid_pdrop": 0.1}))
    with pytest.raises(StageError, match="differs from its reference"):
        run(PAIRS, Dpo(name="dpo"), model=folder, disable_dropout=False)


def test_a_loss_that_is_not_finite_stops_and_names_its_problems(run):
    rows = [row.model_copy(update={"scores": [float("inf")] + [0.0] * (len(row.scores) - 1)}) for row in GROUPS[:3]]
    with pytest.raises(StageError, match=r"step 1 .*p0"):
        run(rows, Rrtf(name="rrtf", sft_weight=0.0), args=GRADIENT)


def test_overlong_and_empty_rows_are_dropped_and_counted(run):
    rows = [*SFT[:6], SFT[0].model_copy(update={"completion": ""}), SFT[0].model_copy(update={"prompt": ""})]
    rows.append(SFT[0].model_copy(update={"completion": "pass\n" * 200}))
    _, counts = run(rows)
    assert counts["dropped"] == {"empty_prompt": 1, "empty_response": 1, "too_long": 1}
    assert counts["trained_on"] == 6


def test_a_group_loses_its_overlong_responses_and_goes_on(run):
    long = GROUPS[1].model_copy(update={"responses": [*GROUPS[1].responses[:-1], "pass\n" * 200]})
    _, counts = run([*GROUPS[2:5], long], Rrtf(name="rrtf"))
    assert counts["dropped"] == {"response_too_long": 1}
    assert counts["trained_on"] == 4


def test_nothing_left_to_train_on_is_one_line(run):
    with pytest.raises(DataError, match="too_long"):
        run(SFT, max_length=4)


def test_a_length_beyond_the_positions_is_refused(run):
    with pytest.raises(ConfigError, match="128 positions"):
        run(SFT, max_length=500)


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_training_lowers_the_loss_and_logs_its_parts(run, case, lora):
    rows, loss = case
    args = {"max_steps": 12, "learning_rate": 3e-3, "logging_steps": 3, "use_cpu": True}
    out, counts = run(rows, loss, args=args, global_batch_size=8, lora=lora)
    logged = metrics(out)
    assert [entry["step"] for entry in logged] == [3, 6, 9, 12]
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert {"loss", "grad_norm", "learning_rate"} <= logged[0].keys()
    assert not [name for name in logged[0] if "time" in name or "second" in name]
    assert counts["trainable_dtype"] == "float32"


def test_bf16_and_fp32_runs_follow_each_other_in_one_process(run):
    for flag in (True, False, True):
        out, _ = run(PAIRS, Dpo(name="dpo"), args=GRADIENT | {"bf16": flag})
        assert metrics(out)[0]["loss/preference"] == pytest.approx(0.693147, abs=1e-5)


def test_activation_checkpointing_changes_no_gradient(run, tiny):
    plain, _ = run(PAIRS, Dpo(name="dpo"))
    recomputed, _ = run(PAIRS, Dpo(name="dpo"), args=GRADIENT | {"activation_checkpointing": True})
    assert_same_gradient(gradient(recomputed, tiny()), gradient(plain, tiny()))


def test_pad_equal_to_eos_keeps_the_eos_a_target(run, tiny, tmp_path):
    folder = shutil.copytree(tiny(), tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<eos>"}))
    own, same = run(SFT)[0], run(SFT, model=folder)[0]
    assert_same_gradient(gradient(same, tiny()), gradient(own, tiny()))
    assert torch.any(gradient(same, tiny())["transformer.wte.weight"][1] != 0)
