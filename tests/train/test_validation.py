"""Losses by task and by language: exact, however the set is cut, and at no further cost."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from align.schema import MultitaskRow
from align.train.config import AlignConfig
from align.train.trainer import AlignTrainer
from align.train.validation import parts

from .conftest import SFT

TASKS, LANGUAGES = ("add", "stop", "list"), ("en", "es")
ROWS = [
    MultitaskRow(
        inputs=f"# add {n} to every item" + ", then stop" * (n % 4),
        targets=("x\n" * (1 + n % 7)).strip(),
        task=TASKS[n % 3 if n % 5 else 0],
        language=LANGUAGES[n % 2],
    )
    for n in range(22)
]
TOO_LONG = MultitaskRow(inputs="add", targets="every item " * 100, task="stop", language="es")


@pytest.fixture
def trainer(tiny, tmp_path):
    def make(**options):
        model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny()), AutoTokenizer.from_pretrained(tiny())
        config = AlignConfig(str(tmp_path), use_cpu=True, max_steps=1, **options)
        return AlignTrainer(model, config, SFT[:4], ROWS, processing_class=tokenizer)

    return make


def by_hand(made, rows, per_target, floor=1):
    """A row at a time, a token at a time."""
    total = weights = 0.0
    encoder, model = made.planner.encoder, made.policy.causal.eval()
    for row in rows:
        prompt, target = encoder.prompt(row.inputs), encoder.response(f" {row.targets}")
        with torch.no_grad():
            logits = model(torch.tensor([prompt + target])).logits[0].double()
        for place, token in enumerate(target, len(prompt)):
            weight = 1 / max(len(target), floor) if per_target else 1.0
            total -= weight * float(logits[place - 1].log_softmax(-1)[token])
            weights += weight
    return total / weights


@pytest.mark.parametrize("normaliser", ["tokens", "targets"])
@pytest.mark.parametrize("cut", [{}, {"max_tokens_per_batch": 110}, {"max_tokens_per_batch": 260, "backend": "plain"}])
def test_a_tasks_loss_is_the_mean_over_its_own_targets_however_the_set_is_cut(trainer, normaliser, cut):
    made = trainer(normaliser=normaliser, **cut)
    found = made.evaluate([TOO_LONG, *ROWS[:9], TOO_LONG, *ROWS[9:]])
    assert found["eval_loss"] == pytest.approx(by_hand(made, ROWS, normaliser == "targets"), rel=2e-6)
    for key, names in (("task", TASKS), ("language", LANGUAGES)):
        for name in names:
            own = [row for row in ROWS if getattr(row, key) == name]
            assert found[f"eval_{name}_loss"] == pytest.approx(by_hand(made, own, normaliser == "targets"), rel=2e-6)
    assert made.evaluate() == pytest.approx(found, rel=2e-6)


def test_the_parts_cost_no_further_forward(trainer):
    made, calls = trainer(max_tokens_per_batch=110), []
    made.policy.register_forward_hook(lambda *_: calls.append(1))
    made.evaluate()
    assert len(calls) == len(made.held_out)


@pytest.mark.parametrize("floor", [1, 5, 1000])
def test_a_floor_below_the_length_of_targets_is_the_double_loop(trainer, floor):
    made = trainer(normaliser="targets", target_length_floor=floor)
    assert made.evaluate()["eval_loss"] == pytest.approx(by_hand(made, ROWS, True, floor), rel=2e-6)
    # above every length all tokens weigh alike
    if floor == 1000:
        assert made.evaluate()["eval_loss"] == pytest.approx(by_hand(made, ROWS, False), rel=2e-6)


def test_a_floor_of_one_is_what_it_was_without(run):
    weights = []
    for options in ({}, {"target_length_floor": 1}, {"target_length_floor": 6}):
        out, _ = run(ROWS, normaliser="targets", **options)
        weights.append((out / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_losses_are_written_beside_the_whole_sets(run):
    args = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "no", "use_cpu": True}
    out, _ = run(SFT, eval_rows=ROWS, args=args)
    written = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (first, second) = [line for line in written if "eval_loss" in line]
    assert {f"eval_{name}_loss" for name in (*TASKS, *LANGUAGES)} <= first.keys() == second.keys()


def test_rows_without_tasks_have_no_parts():
    assert parts([MultitaskRow(inputs="a", targets="b"), MultitaskRow(inputs="a", targets="b", language="en")]) is None
    assert parts(SFT) is None


def test_a_language_that_is_called_as_a_task_has_a_name_of_its_own():
    rows = [MultitaskRow(inputs="a", targets="b", task=task, language=language) for task, language in
            (("en", "en"), ("", "es"), ("capitals", ""))]  # fmt: skip
    found = parts(rows)
    assert found.figures == ["capitals_loss", "en_loss", "language_en_loss", "es_loss"]
    assert found.of_2G.tolist() == [[1, 4, 0], [2, 3, 4]]
