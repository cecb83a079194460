"""Tiny models of the three classes."""

import pytest

from align.models.tiny import random_model, save_tiny, train_tokenizer

TEXTS = [f"# add {n} to every item\ndef f(xs):\n    return [x + {n} for x in xs]\n" for n in range(40)]


@pytest.fixture(scope="session")
def make():
    """Make a model whose greedy text is not one token over and over."""

    def start(architecture, folder):
        tokenizer = train_tokenizer(TEXTS, 300)
        shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position": 128}
        model = random_model(architecture, vocab_size=len(tokenizer), seed=0, **shape)
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.data.mul_(4)
        save_tiny(model, tokenizer, folder)
        return folder

    return start
