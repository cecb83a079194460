"""PITFALLS 11c: a micro-batch of the plan reaches the model whole, once, and in its turn."""

import pytest

from align.errors import ConfigError
from align.train.config import FIXED, AlignConfig, check_ranks
from align.train.trainer import AlignTrainer

from .conftest import SFT


def test_the_loader_hands_out_every_micro_batch_of_the_plan_once_and_whole(tiny, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny()) for kind in (AutoModelForCausalLM, AutoTokenizer))
    config = AlignConfig(str(tmp_path), global_batch_size=4, max_tokens_per_batch=90, use_cpu=True, num_train_epochs=1)
    trainer = AlignTrainer(model, config, SFT, processing_class=tokenizer)
    handed = list(trainer.get_train_dataloader())
    assert [batch["index_G"].tolist() for batch in handed] == [
        indices for _, indices in trainer.data.plan.micro_batches
    ]
    assert len(handed) > len(trainer.data.plan.steps)
    for batch in handed:
        assert batch["input_ids"].shape[1] == sum(prompt + sum(rest) for prompt, rest in batch["layout"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("accelerator_config", {"even_batches": True}), ("per_device_train_batch_size", 4), ("disable_tqdm", False)],
)
def test_what_would_cut_or_repeat_a_micro_batch_is_refused(tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"^{key}: "):
        AlignConfig(str(tmp_path), use_cpu=True, **{key: value})


def test_ranks_get_neither_repeated_nor_dispatched_batches(tmp_path):
    config = AlignConfig(str(tmp_path), use_cpu=True)
    assert {name: getattr(config.accelerator_config, name) for name in FIXED["accelerator_config"]} == dict.fromkeys(
        FIXED["accelerator_config"], False
    )


def test_a_training_beside_the_launchers_other_processes_is_refused(tmp_path, monkeypatch):
    config = AlignConfig(str(tmp_path), use_cpu=True)
    check_ranks(config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="started 2 processes, and this training has 1"):
        check_ranks(config)
