"""The saved step that is best on held-out rows becomes the model, whatever interrupts the training."""

import json
import shutil

import pytest

from align.errors import ConfigError, StageError
from align.models.lora import Lora
from align.train import checkpoints
from align.train.arguments import check_arguments
from align.train.best import Best, Selection
from align.train.settings import Dpo

from .conftest import PAIRS, SFT, kill_at, start
from .test_resume import Interrupted, left

# a large rate overfits: the held-out loss falls, then rises
ARGS = {"max_steps": 12, "learning_rate": 0.03, "lr_scheduler_type": "constant", "warmup_steps": 0, "save_steps": 2,
        "eval_strategy": "steps", "load_best_model_at_end": True, "use_cpu": True}  # fmt: skip
OPTIONS = {"global_batch_size": 4, "args": ARGS}
TRAINED, HELD_OUT = SFT[:4], SFT[12:]


def values(out, metric="eval_loss"):
    """Step → value."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[metric] for line in lines if metric in line}


def weights(folder):
    return next(folder.glob("*model.safetensors")).read_bytes()


@pytest.mark.parametrize(("lora", "greater"), [(None, False), (Lora(r=4), True)])
def test_the_model_is_the_checkpoint_with_the_best_value(run, lora, greater):
    args = ARGS | {"greater_is_better": greater}
    out, counts = run(TRAINED, eval_rows=HELD_OUT, lora=lora, global_batch_size=4, args=args)
    found = values(out)
    assert set(found) == {2, 4, 6, 8, 10, 12}, "only what may be chosen is evaluated"
    best = (max if greater else min)(found, key=found.get)
    assert best < 12, "the last step has to be worse, or nothing is shown"
    assert (counts["best_step"], counts["best_eval_loss"]) == (best, found[best])
    assert weights(out / "model") == weights(out / "checkpoints" / f"checkpoint-{best}")
    assert weights(out / "model") != weights(out / "checkpoints" / "checkpoint-12")


def test_an_interrupted_run_ends_with_the_best_step_of_an_undisturbed_one(run, tmp_path):
    options = {"eval_rows": HELD_OUT, "global_batch_size": 4, "args": ARGS | {"greater_is_better": True}}
    calm, counts = run(TRAINED, **options)
    assert counts["best_step"] == 2
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(TRAINED, out=out, measure=Interrupted(4), **options)
    assert list(out.glob(".resume/*/best.safetensors"))
    _, again = run(TRAINED, out=out, **options)
    assert left(out) == left(calm)
    assert again == counts


def test_a_killed_run_ends_with_the_best_step_of_an_undisturbed_one(run, tmp_path):
    calm, counts = run(TRAINED, eval_rows=HELD_OUT, **OPTIONS)
    out = tmp_path / "out"
    training = start(lambda: run(TRAINED, eval_rows=HELD_OUT, out=out, **OPTIONS))
    # after the best step was saved, while the next one is
    kill_at(training, out, f".resume/checkpoint-{counts['best_step'] + 2}/*")
    assert not (out / "model").exists()
    assert list(out.glob(".resume/*/best.safetensors"))
    run(TRAINED, eval_rows=HELD_OUT, out=out, **OPTIONS)
    assert left(out) == left(calm)


def test_a_run_killed_after_its_last_step_still_takes_the_best(run):
    calm, counts = run(TRAINED, eval_rows=HELD_OUT, **OPTIONS)
    expected = left(calm)
    shutil.rmtree(calm / "model")
    _, again = run(TRAINED, eval_rows=HELD_OUT, out=calm, **OPTIONS)
    assert left(calm) == expected
    assert again["best_step"] == counts["best_step"]


@pytest.mark.parametrize("strategy", [{"save_strategy": "best", "eval_steps": 1}, {"save_total_limit": 1}])
def test_the_best_checkpoint_is_never_removed(run, strategy):
    out, counts = run(TRAINED, eval_rows=HELD_OUT, global_batch_size=4, args=ARGS | strategy)
    best = out / "checkpoints" / f"checkpoint-{counts['best_step']}"
    assert weights(out / "model") == weights(best)
    steps = {checkpoints.step_of(path) for path in best.parent.iterdir()}
    if "save_total_limit" in strategy:
        assert steps == {counts["best_step"], 12}
    else:
        assert max(steps) == counts["best_step"] < 12


def test_preference_losses_choose_by_their_own_figures(run):
    args = ARGS | {"metric_for_best_model": "rewards/accuracies", "max_steps": 4}
    out, counts = run(PAIRS[:4], Dpo(name="dpo"), eval_rows=PAIRS[12:], global_batch_size=4, args=args)
    found = values(out, "eval_rewards/accuracies")
    assert counts["best_eval_rewards/accuracies"] == max(found.values())
    assert counts["best_step"] == min(step for step in found if found[step] == max(found.values()))


def test_a_saved_step_beside_the_evaluated_ones_is_evaluated(run):
    # of 15 steps 0.1 is every 2nd, 0.3 every 5th
    args = ARGS | {"max_steps": 15, "eval_steps": 0.1, "save_steps": 0.3}
    out, _ = run(TRAINED, eval_rows=HELD_OUT, global_batch_size=4, args=args)
    assert {5, 10, 15} <= set(values(out))


def test_a_metric_that_no_evaluation_has_is_told_before_training(run, tmp_path):
    args = ARGS | {"metric_for_best_model": "eval_lost"}
    with pytest.raises(ConfigError, match="no evaluation has 'eval_lost': did you mean 'eval_loss'"):
        run(TRAINED, eval_rows=HELD_OUT, out=tmp_path / "out", global_batch_size=4, args=args)
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "args", [{"load_best_model_at_end": True, "save_steps": 1}, {"lr_scheduler_type": "reduce_lr_on_plateau"}]
)
def test_a_preference_loss_has_its_metrics_checked_too(run, args):
    given = ARGS | {"load_best_model_at_end": False, "metric_for_best_model": "rewards/acuracies", "max_steps": 1}
    with pytest.raises(ConfigError, match=r"no evaluation has .*: did you mean 'eval_rewards/accuracies'"):
        run(PAIRS[:2], Dpo(name="dpo"), eval_rows=PAIRS[2:4], args=given | args)


def test_of_equal_values_the_first_counts_and_none_is_no_value(tmp_path):
    chosen = Selection("loss", greater_is_better=False)
    for step, value in ((1, 2.0), (2, 1.0), (3, float("nan")), (4, 1.0), (5, 1.5)):
        assert chosen.offer(step, {"eval_loss": value}) is (step in (1, 2))
    assert not chosen.offer(6, {})
    assert chosen.best == Best(2, 1.0)
    with pytest.raises(StageError, match="no saved step has a value of eval_chrf"):
        Selection("chrf", greater_is_better=True).weights(tmp_path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"eval_strategy": "no"}, "load_best_model_at_end: needs evaluations: write eval_strategy: steps"),
        ({"save_strategy": "epoch"}, "save_strategy: epoch is one of all together here: write steps"),
        ({"save_strategy": "no"}, "save_strategy is no and eval_strategy steps"),
        ({"eval_steps": 3, "save_steps": 4}, "eval_steps: 3 leaves saved steps out"),
        ({"eval_steps": 0.1}, "eval_steps: 0.1 leaves saved steps out"),
        ({"eval_steps": 10, "save_steps": 0.5}, "eval_steps: 10 leaves saved steps out"),
        ({"load_best_model_at_end": False, "metric_for_best_model": "loss"}, "metric_for_best_model: chooses nothing"),
        ({"load_best_model_at_end": False, "save_strategy": "best"}, "best needs load_best_model_at_end"),
    ],
)
def test_arguments_that_cannot_choose_are_one_line(args, message):
    given = {"eval_strategy": "steps", "load_best_model_at_end": True}
    (fault,) = check_arguments(given | args)
    assert message in f"{fault.key}: {fault.message}"


@pytest.mark.parametrize("args", [{}, {"eval_steps": 0.05}, {"save_strategy": "best", "eval_steps": 7}])
def test_arguments_that_can_choose_pass(args):
    assert check_arguments({"eval_strategy": "steps", "load_best_model_at_end": True} | args) == []
