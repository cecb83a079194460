"""`engine: trl`: the same stage on trl's trainers leaves the same files and starts at the same loss."""

import json
import math
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from align.errors import ConfigError, StageError
from align.models.entry import Weights
from align.models.load import load_model
from align.models.lora import Lora
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.progress import Bar
from align.schema import SftRow
from align.text.collate import Group
from align.text.encode import Encoder
from align.train.options import Options
from align.train.settings import Dpo, Rrtf
from align.train.trl_engine import check_options, cut, train_with_trl

from .conftest import GRADIENT, PAIRS, SFT

pytest.importorskip("trl")

ADAPTERS = Lora(r=4, lora_alpha=8)


@pytest.fixture
def run_trl(tiny, tmp_path):
    """Train by trl in a fresh folder, with the options of `run`."""
    made = []

    def start(rows, loss=None, *, model=None, entry=None, out=None, args=None, **options):
        out = out or tmp_path / f"trl{len(made)}"
        made.append(out)
        out.mkdir(exist_ok=True)
        given = {"global_batch_size": 24, "max_tokens_per_batch": 10**6} | options
        entry = entry or Weights(model_name_or_path=str(model or tiny()))
        return out, train_with_trl(rows, entry, Options(loss=loss, args=args or GRADIENT, **given), out=out)

    return start


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def update(out, model):
    """What training has added to the weights of a model's folder."""
    before, after = (load_file(folder / "model.safetensors") for folder in (model, out / "model"))
    return {name: after[name] - before[name] for name in after}


LOSS_TYPES = get_args(Dpo.model_fields["loss_type"].annotation)
CASES = {
    "sft": (SFT, None),
    "dpo": (PAIRS, Dpo(name="dpo")),
    "cdpo": (PAIRS, Dpo(name="dpo", label_smoothing=0.2)),
    "dpo + sft": (PAIRS, Dpo(name="dpo", sft_weight=0.5)),
}


def section(loss_type):
    """A `dpo` section of that type."""
    return Dpo(name="dpo", loss_type=loss_type, label_smoothing=0.1 if loss_type == "exo_pair" else 0.0)


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "bloom"])
@pytest.mark.parametrize("case", CASES)
def test_the_first_step_is_the_same_with_both_engines(case, architecture, run, run_trl, tiny):
    rows, loss = CASES[case]
    model = tiny(architecture)
    (ours, mine), (theirs, counts) = run(rows, loss, model=model), run_trl(rows, loss, model=model)
    assert counts == mine
    assert metrics(theirs)[0]["loss"] == pytest.approx(metrics(ours)[0]["loss"], rel=1e-5)
    updates = update(ours, model), update(theirs, model)
    largest = max(float(value.abs().max()) for value in updates[0].values())
    for name, value in updates[0].items():
        torch.testing.assert_close(updates[1][name], value, rtol=0, atol=1e-4 * largest, msg=name)


@pytest.mark.parametrize("lora", [None, ADAPTERS], ids=["whole", "lora"])
def test_dpo_starts_at_ln_2(lora, run_trl):
    out, _ = run_trl(PAIRS, Dpo(name="dpo"), lora=lora)
    (row,) = metrics(out)
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert row["step"] == 1
    assert {"rewards/chosen", "rewards/accuracies", "rewards/margins", "logps/chosen", "learning_rate"} <= set(row)


def test_it_leaves_the_same_files_as_our_engine(run, run_trl):
    args = GRADIENT | {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    left = []
    for start in (run, run_trl):
        out, _ = start(PAIRS, Dpo(name="dpo"), lora=ADAPTERS, args=args)
        folders = [out / "model", *sorted((out / "checkpoints").iterdir())]
        left.append(
            [{path.name for path in out.glob("[!.]*")}, *({path.name for path in f.iterdir()} for f in folders)]
        )
    assert left[0] == left[1]
    assert len(left[0]) == 4


def test_a_chain_of_adapters_is_the_reference_and_loads_again(run, run_trl):
    first, _ = run(SFT, lora=ADAPTERS)
    second, _ = run_trl(PAIRS, Dpo(name="dpo"), lora=ADAPTERS, model=first / "model")
    third, _ = run_trl(PAIRS, Dpo(name="dpo"), model=second / "model")
    for out in (second, third):
        assert metrics(out)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
        load_model(Weights(model_name_or_path=str(out / "model")))


def test_an_interrupted_run_goes_on_and_ends_with_the_same_weights(run_trl, monkeypatch):
    args = GRADIENT | {"max_steps": 4, "learning_rate": 0.1, "save_strategy": "steps", "save_steps": 2}
    whole, _ = run_trl(SFT, args=args, global_batch_size=8, max_tokens_per_batch=400)
    out, inner = whole.with_name("cut"), Bar.advance

    def killed(self, n=1):
        inner(self, n)
        if self.count == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        run_trl(SFT, args=args, global_batch_size=8, max_tokens_per_batch=400, out=out)
    monkeypatch.setattr(Bar, "advance", inner)
    run_trl(SFT, args=args, global_batch_size=8, max_tokens_per_batch=400, out=out)
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (whole, out))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert metrics(out) == metrics(whole)


def test_the_ids_are_those_of_our_tokenisation(run_trl, tiny, monkeypatch):
    # the prompt ends within a token of prompt + answer, which trl would move to the answer
    row = PAIRS[0].model_copy(update={"prompt": "def f(xs):\n", "chosen": "    return [x]\n", "rejected": "    pass\n"})
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny()))
    seen = []
    inner = torch.nn.Embedding.forward

    def forward(self, ids):
        seen.append(ids.tolist())
        return inner(self, ids)

    monkeypatch.setattr(torch.nn.Embedding, "forward", forward)
    run_trl([row], Dpo(name="dpo"), lora=ADAPTERS)
    assert [ids for rows in seen for ids in rows if ids == encoder.prompt(row.prompt) + encoder.response(row.chosen)]


def test_nothing_is_reported_to_anybody(run_trl, monkeypatch):
    sent = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._telemetry._start_telemetry_thread", lambda: sent.append(1))
    monkeypatch.delenv("CI", raising=False)
    run_trl(SFT)
    assert not sent


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_every_loss_type_starts_where_ours_does(loss_type, run, run_trl):
    (ours, _), (theirs, _) = (start(PAIRS[:4], section(loss_type), lora=ADAPTERS) for start in (run, run_trl))
    assert metrics(theirs)[0]["loss"] == pytest.approx(metrics(ours)[0]["loss"], rel=1e-5)
    assert metrics(theirs)[0]["grad_norm"] == pytest.approx(metrics(ours)[0]["grad_norm"], rel=1e-4)


def test_a_micro_batch_holds_the_most_rows_that_fit():
    groups = [Group("p", [1] * 6, [[2] * 4, [2] * 2], [1, 0], [False] * 2, [1, 0])]
    assert cut(groups, 12, 100, 1) == (4, 3)
    assert cut(groups, 12, 100, 2) == (3, 2)
    assert cut(groups, 12, 20, 1) == (1, 12)


REFUSED = {
    "loss rrtf: engine: trl runs sft and dpo only: write engine: align": {"loss": Rrtf(name="rrtf")},
    "backend plain: engine: trl has none": {"backend": "plain"},
    "normaliser targets: engine: trl has none": {"normaliser": "targets"},
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_trl_lacks_is_one_line(line):
    with pytest.raises(ConfigError) as error:
        check_options(Options(**REFUSED[line]))
    assert str(error.value).startswith(line)


def test_a_batch_that_cannot_be_cut_is_one_line():
    groups = [Group("p", [1] * 6, [[2] * 4], [0.0], [False], [1.0])]
    with pytest.raises(ConfigError, match="9 is no multiple of the 2 processes"):
        cut(groups, 9, 100, 2)
    with pytest.raises(ConfigError, match="8 cannot hold a row: give at least 10"):
        cut(groups, 9, 8, 1)


def test_a_loss_that_is_not_finite_stops(run_trl):
    with pytest.raises(StageError, match=r"the loss is nan at step [23]: lower args.learning_rate"):
        run_trl([SftRow(prompt="p", completion="c")], args=GRADIENT | {"learning_rate": 1e30, "max_steps": 4})


def test_adapters_on_4_bit_weights_stay_float32(run_trl, tmp_path):
    pytest.importorskip("bitsandbytes")
    tokenizer = train_tokenizer([row.chosen for row in PAIRS], 300)
    # the least that bitsandbytes' kernels for CPUs take
    shape = {"hidden_size": 64, "num_layers": 1, "num_heads": 4, "max_position": 128, "vocab_size": len(tokenizer)}
    save_tiny(random_model("bloom", seed=0, **shape), tokenizer, tmp_path / "wide")
    entry = Weights(model_name_or_path=str(tmp_path / "wide"), load_in_4bit=True, dtype="float32")
    out, counts = run_trl(PAIRS, Dpo(name="dpo"), lora=ADAPTERS, entry=entry)
    assert counts["trainable_dtype"] == "float32"
    assert metrics(out)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
