"""Tiny models of the three classes, made once a session."""

import pytest

from align.models.tiny import random_model, save_tiny, train_tokenizer

TEXTS = [f"# add {n} to every item\ndef f(xs):\n    return [x + {n} for x in xs]\n" for n in range(40)]
ARCHITECTURES = ["gpt_bigcode", "starcoder2", "bloom"]


def make(architecture, folder):
    tokenizer = train_tokenizer(TEXTS, 300)
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position": 128}
    save_tiny(random_model(architecture, vocab_size=len(tokenizer), seed=0, **shape), tokenizer, folder)
    return folder


@pytest.fixture(scope="session", params=ARCHITECTURES)
def tiny(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp(request.param) / "model")


@pytest.fixture(scope="session")
def tiny_bloom(tmp_path_factory):
    return make("bloom", tmp_path_factory.mktemp("one_bloom") / "model")
