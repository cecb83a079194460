"""The random models that training is measured on, and rows: prompts and responses of given lengths. Runs nothing."""

import copy
import random
from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from align.models.lora import TARGETS
from align.models.tiny import Architecture, random_model
from align.text.collate import Group

Lengths = Literal["2:1", "1:1", "ragged"]
"""Prompt : response; ragged: around 2:1, log-normal."""
RANK, ALPHA, LORA_B = 16, 32, 0.02
"""Of the adapters, and the deviation of their B, which starts at 0 and would hide A's gradient."""
EOS, FIRST = 1, 3
"""The end of a response, and the first id that a token may have."""
SPREAD = 0.5
"""Deviation of the logarithm of a ragged length."""


@dataclass(frozen=True)
class Shape:
    """A model's proportions."""

    name: str
    architecture: Architecture
    hidden: int
    layers: int
    heads: int
    vocab: int

    def small(self, divisor: int) -> "Shape":
        """The same with everything divided, for runs that only show that the bench works."""
        layers, vocab = max(1, self.layers // divisor), max(64, self.vocab // divisor**2)
        hidden = max(32, self.hidden // divisor // 32 * 32)
        name = f"{self.name} / {divisor}"
        return Shape(name, self.architecture, hidden, layers, 4, vocab)


BIGCODE = Shape("gpt_bigcode h768 L8", "gpt_bigcode", 768, 8, 12, 49_152)
BLOOM = Shape("bloom h512 L8", "bloom", 512, 8, 8, 250_880)
# 4 layers and 41,813 ids: the head has the share of the work that it has in 24 layers and 250,880
BLOOM_560M = Shape("bloom-560m proportions h1024 L4", "bloom", 1024, 4, 16, 41_813)
STARCODER2 = Shape("starcoder2 h512 L8", "starcoder2", 512, 8, 8, 49_152)
BLOOM_ATTENTION = Shape("bloom h512 L4", "bloom", 512, 4, 8, 1_000)
ON_GPU = (
    Shape("bloom-560m", "bloom", 1024, 24, 16, 250_880),
    Shape("bloom-1b7", "bloom", 2048, 24, 16, 250_880),
    Shape("starcoderbase-1b", "gpt_bigcode", 2048, 24, 16, 49_152),
    Shape("starcoderbase-3b", "gpt_bigcode", 2816, 36, 22, 49_152),
)


def build(shape: Shape, device: torch.device, seed: int) -> PeftModel:
    """A random model with adapters on all linear layers, their B not 0, without dropout; bfloat16 on a GPU."""
    model = random_model(
        shape.architecture,
        hidden_size=shape.hidden,
        num_layers=shape.layers,
        num_heads=shape.heads,
        vocab_size=shape.vocab,
        max_position=4096,
        seed=seed,
    ).to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS[shape.architecture]), task_type="CAUSAL_LM"
    )
    torch.manual_seed(seed)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=LORA_B)
    return adapted.train()


def twin(model: PeftModel) -> PeftModel:
    """The same model with adapters of its own of the same values: frozen weights are shared, attention is not."""
    return copy.deepcopy(model, {id(value): value for value in model.parameters() if not value.requires_grad})


def rows(vocab: int, k: int, lengths: Lengths, tokens: int, count: int, seed: int) -> list[Group]:
    """Prompt groups.

    Args:
        vocab: ids are drawn below it.
        k: responses of a prompt, the first of which scores best.
        lengths: prompt : response.
        tokens: of a prompt with one response, on average where they are ragged.
        count: groups.
        seed: of ids and lengths.
    """
    draw = random.Random(seed)
    response = tokens // (2 if lengths == "1:1" else 3)
    return [
        Group(
            f"row {number}",
            _ids(draw, vocab, _length(draw, tokens - response, lengths)),
            [[*_ids(draw, vocab, _length(draw, response, lengths) - 1), EOS] for _ in range(k)],
            [1 - index / k for index in range(k)],
            [False] * k,
            [1.0, *[0.0] * (k - 1)],
        )
        for number in range(count)
    ]


def _ids(draw: random.Random, vocab: int, count: int) -> list[int]:
    return [draw.randrange(FIRST, vocab) for _ in range(count)]


def _length(draw: random.Random, mean: int, lengths: Lengths) -> int:
    if lengths != "ragged":
        return mean
    return max(4, min(3 * mean, round(mean * draw.lognormvariate(-SPREAD * SPREAD / 2, SPREAD))))
