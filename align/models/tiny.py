"""Tiny models from nothing: a byte-level BPE tokenizer trained on texts, and random weights of a given shape.

The three architectures are real classes of transformers, so that everything that works on them works on their
pretrained sizes. Dropouts are 0.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from ..errors import ConfigError
from .load import zero_dropouts

Architecture = Literal["gpt_bigcode", "starcoder2", "bloom"]

PAD, EOS = "<pad>", "<eos>"
SPECIAL = (PAD, EOS)
SMALLEST_VOCABULARY = 256 + len(SPECIAL)
"""Every byte and the special tokens."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, split: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    r"""A byte-level BPE in which digits stand alone and `\n` with its indentation is never merged with more.

    Args:
        texts: what it learns its merges from.
        vocab_size: tokens with the 256 bytes, pad and EOS.
        split: further regular expressions whose matches are never merged with their surroundings.

    Raises:
        ConfigError: the vocabulary cannot hold the bytes, or an expression is none.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise ConfigError(f"vocab_size: {vocab_size} cannot hold the bytes: give at least {SMALLEST_VOCABULARY}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_regex(["\\n *", *split]), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, padding_side="left"
    )


def random_model(
    architecture: Architecture,
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    vocab_size: int,
    max_position: int,
    seed: int,
) -> PreTrainedModel:
    """A randomly initialised model whose pad and EOS ids are those of `train_tokenizer`.

    Raises:
        ConfigError: the heads do not divide the hidden size.
    """
    if hidden_size % num_heads:
        raise ConfigError(f"num_heads: {num_heads} does not divide hidden_size {hidden_size}")
    pad, eos = SPECIAL.index(PAD), SPECIAL.index(EOS)
    ids: dict[str, Any] = {"pad_token_id": pad, "bos_token_id": eos, "eos_token_id": eos}
    config: GPTBigCodeConfig | Starcoder2Config | BloomConfig
    if architecture == "gpt_bigcode":
        config = GPTBigCodeConfig(
            vocab_size=vocab_size,
            n_positions=max_position,
            n_embd=hidden_size,
            n_layer=num_layers,
            n_head=num_heads,
            **ids,
        )
    elif architecture == "starcoder2":
        config = Starcoder2Config(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            intermediate_size=4 * hidden_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            num_key_value_heads=1 if num_heads % 2 else 2,
            max_position_embeddings=max_position,
            **ids,
        )
    else:
        # ALiBi: any length; the maximum is only what it is trained at
        config = BloomConfig(
            vocab_size=vocab_size, hidden_size=hidden_size, n_layer=num_layers, n_head=num_heads, **ids
        )
    zero_dropouts(config)
    classes = {"gpt_bigcode": GPTBigCodeForCausalLM, "starcoder2": Starcoder2ForCausalLM, "bloom": BloomForCausalLM}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return classes[architecture](config)  # type: ignore[no-any-return]


def save_tiny(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save both as a model's folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _regex(patterns: list[str]) -> Regex:
    for pattern in patterns:
        try:
            Regex(pattern)
        except Exception as error:  # the binding raises the bare class for a pattern that does not compile
            raise ConfigError(f"split: {pattern!r} is no regular expression ({error})") from None
    return Regex("|".join(patterns))
