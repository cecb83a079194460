"""KTO's KL estimate: over a whole step, however it is cut, from the rows that the plan fixes."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from align.models.entry import Weights
from align.models.load import load_tokenizer
from align.models.lora import Lora
from align.text.encode import Encoder
from align.text.plan import Size, plan_batches
from align.train.settings import Kto

from .conftest import GRADIENT, LABELLED

KTO = Kto(name="kto")
TWO = GRADIENT | {"max_steps": 2, "learning_rate": 2.0}


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def said(folder, prompt, response):
    """The summed log-probability of a response, by transformers alone."""
    logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([prompt + response])).logits[0]
    tokens = torch.arange(len(response))
    return float(logits.log_softmax(-1)[len(prompt) - 1 + tokens, response].detach().double().sum())


def test_the_estimate_is_the_mean_log_ratio_of_prompts_with_their_neighbours_responses(run, tiny):
    one, _ = run(LABELLED[:6], KTO, args=TWO | {"max_steps": 1}, global_batch_size=6)
    two, _ = run(LABELLED[:6], KTO, args=TWO, global_batch_size=6)
    encoder = Encoder(load_tokenizer(Weights(model_name_or_path=str(tiny()))))
    rows = [(encoder.prompt(row.prompt), encoder.response(row.completion)) for row in LABELLED[:6]]
    options = {"max_tokens_per_batch": 99, "world_size": 1, "seed": 0, "max_steps": 2}
    step = plan_batches([Size(1, 1, 1)] * 6, global_batch_size=6, **options).steps[1]
    pairs = [(rows[i][0], rows[j][1]) for i, j in zip(step, [*step[1:], step[0]], strict=True)]
    ratios = [said(one / "model", *pair) - said(tiny(), *pair) for pair in pairs]
    assert sum(ratios) > 0
    assert metrics(two)[1]["kl"] == pytest.approx(sum(ratios) / 6, rel=1e-4)


def test_the_first_step_starts_at_one_half(run):
    out, _ = run(LABELLED, KTO)
    assert metrics(out)[0]["loss/preference"] == pytest.approx(0.5, abs=1e-6)
    assert metrics(out)[0]["kl"] == pytest.approx(0, abs=1e-6)


def test_neither_estimate_nor_update_depends_on_micro_batches(run, tiny):
    whole, _ = run(LABELLED, KTO, args=TWO)
    cut, _ = run(LABELLED, KTO, args=TWO, max_tokens_per_batch=150)
    assert metrics(whole)[1]["kl"] > 0.01
    assert metrics(cut)[1] == pytest.approx(metrics(whole)[1], rel=1e-4, abs=1e-5)
    before, one, two = (load_file(folder / "model.safetensors") for folder in (tiny(), whole / "model", cut / "model"))
    largest = max(float((one[name] - before[name]).abs().max()) for name in one)
    assert all(float((one[name] - two[name]).abs().max()) <= 1e-5 * largest for name in one)


def test_adapters_off_and_the_file_are_the_same_reference(run):
    off, _ = run(LABELLED, KTO, args=TWO, lora=Lora(r=4))
    file, _ = run(LABELLED, KTO, args=TWO, lora=Lora(r=4), reference="file")
    assert (file / "reference.jsonl").is_file()
    assert not (off / "reference.jsonl").exists()
    assert metrics(file)[1] == pytest.approx(metrics(off)[1], rel=1e-4, abs=1e-5)
