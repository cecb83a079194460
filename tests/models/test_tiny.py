import pytest
import torch

from align.errors import ConfigError
from align.models.tiny import random_model, train_tokenizer

TEXTS = ["def f(xs):\n    return 1234\n        return 1234\n"] * 20
SHAPE = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 300, "max_position": 32}


def test_digits_and_line_starts_are_never_merged_with_more():
    tokenizer = train_tokenizer(TEXTS, 400)
    tokens = tokenizer.tokenize(TEXTS[0])
    assert all(len(token) == 1 for token in tokens if any(c.isdigit() for c in token))
    assert "ĊĠĠĠĠ" in tokens
    assert "ĊĠĠĠĠĠĠĠĠ" in tokens


def test_further_patterns_stand_alone():
    assert "returnĠ" in train_tokenizer(TEXTS, 400, ["return "]).tokenize("x = 1; return x")


def test_the_same_texts_give_the_same_tokenizer():
    assert train_tokenizer(TEXTS, 400).get_vocab() == train_tokenizer(TEXTS, 400).get_vocab()


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "starcoder2", "bloom"])
def test_the_seed_decides_the_weights(architecture):
    first, again, other = (random_model(architecture, seed=seed, **SHAPE).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_tokenizer(TEXTS, 100), "at least 258"),
        (lambda: train_tokenizer(TEXTS, 300, ["("]), "no regular expression"),
        (lambda: random_model("bloom", seed=0, **(SHAPE | {"num_heads": 3})), "does not divide"),
    ],
)
def test_impossible_shapes_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
