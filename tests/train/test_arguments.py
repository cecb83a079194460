import importlib.util
import subprocess
import sys

import pytest
from pydantic import ValidationError

from align.stages import align as align_stage
from align.stages import sft
from align.train import arguments, refused
from align.train.arguments import check_arguments

GOOD = {
    "learning_rate": 5e-7,
    "num_train_epochs": 3,
    "lr_scheduler_type": "cosine_with_min_lr",
    "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
    "warmup_steps": 0.03,
    "bf16": True,
    "activation_checkpointing": True,
    "logging_steps": 5,
    "report_to": ["wandb"],
    "adam_beta2": 0.98,
}


def test_real_arguments_pass():
    assert check_arguments(GOOD) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"learnign_rate": 1e-4}, "did you mean 'learning_rate'?"),
        ({"warmup_ratio": 0.1}, "warmup_steps: 0.03"),
        ({"gradient_checkpointing": True}, "activation_checkpointing"),
        ({"max_seq_length": 10}, "max_length in the stage"),
        ({"seed": 3}, "recipe's top"),
        ({"per_device_train_batch_size": 4}, "global_batch_size"),
        ({"gradient_accumulation_steps": 4}, "max_tokens_per_batch"),
        ({"label_smoothing_factor": 0.1}, "would be ignored"),
        ({"learning_rate": "1e-4x"}, "expected float, found '1e-4x'"),
        ({"bf16": 1}, "expected bool, found 1"),
        ({"max_steps": 3, "num_train_epochs": 1}, "not both"),
        ({"report_to": "wandbb"}, "no tracker 'wandbb': did you mean 'wandb'?"),
        ({"report_to": ["tensorboard", "none"]}, "no tracker 'none'"),
        ({"lr_scheduler_type": "cosin"}, "no 'cosin' in transformers: did you mean 'cosine'?"),
        ({"optim": "adamw_troch"}, "no 'adamw_troch' in transformers: did you mean 'adamw_torch'?"),
        ({"save_strategy": "never"}, "no 'never' in transformers: expected one of: best, epoch, no, steps"),
        ({"lr_scheduler_type": "greedy"}, "follows a metric of the evaluations: write eval_strategy: steps"),
    ],
)
def test_a_wrong_argument_says_what_to_write(args, message):
    (fault,) = check_arguments(args)
    assert fault.key in args
    assert message in fault.message


def test_the_trackers_are_transformers_own_and_those_not_here_are_told(monkeypatch):
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert arguments.TRACKERS.keys() == INTEGRATION_TO_CALLBACK.keys()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "tensorboardX" else None)
    asked = {"report_to": ["tensorboard", "wandb", "kubeflow"]}
    assert check_arguments(asked) == []
    assert arguments.missing_trackers(asked) == ["wandb"]
    assert [arguments.missing_trackers({"report_to": name}) for name in (None, "none", "all")] == [[], [], []]


def test_everything_we_rename_or_own_is_known_under_some_release():
    known = arguments.training_arguments()
    assert known
    assert set(arguments.DEFAULTS) <= set(known)
    assert set(refused.OWNED) - set(known) == set()


@pytest.mark.parametrize("key", arguments.CHOICES)
def test_the_values_of_an_argument_are_those_that_transformers_takes(key):
    import transformers.trainer_utils
    import transformers.training_args

    file, name = arguments.CHOICES[key]
    kind = getattr(getattr(transformers, file.removesuffix(".py")), name)
    assert arguments.choices(key) == {member.value for member in kind}


def test_without_transformers_our_own_rules_still_hold(monkeypatch):
    monkeypatch.setattr(arguments, "training_arguments", dict)
    assert [fault.key for fault in check_arguments({"seed": 1, "anything": 2})] == ["seed"]


def test_checking_loads_neither_torch_nor_transformers():
    script = """
import sys
from align.stages import align, init, sft
sft.Config(model="m", data="d", args={"learning_rate": 1e-4})
assert not {"torch", "transformers", "trl", "peft", "accelerate"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "rrft"}, "did you mean 'rrtf'?"),
        ({"beta": 0.1}, "one of rrtf, rrhf, "),
        ({"name": "dpo", "betta": 0.1}, "did you mean 'beta'?"),
        ({"name": "rrtf", "beta": 0.1}, "unknown key"),
        ({"name": "dpo", "loss_type": "ipo", "label_smoothing": 0.1}, "no meaning"),
    ],
)
def test_a_wrong_loss_says_what_to_write(section, message):
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        align_stage.Config(model="m", data="d", loss=section)


@pytest.mark.parametrize(
    "options",
    [{"lora": {"lora_dropout": 0.1}}, {"disable_dropout": False, "loss": {"name": "dpo"}}],
)
def test_dropout_beside_a_reference_is_refused(options):
    with pytest.raises(ValidationError, match=r"must be true|contradicts"):
        align_stage.Config(**({"model": "m", "data": "d", "loss": {"name": "rrtf"}} | options))


def test_cutting_micro_batches_is_not_part_of_the_key():
    from align.recipe.plan import keyed

    settings = sft.Config(model="m", data="d", max_tokens_per_batch=5, launch={"num_processes": 2})
    assert not {"max_tokens_per_batch", "launch"} & keyed(settings).keys()
