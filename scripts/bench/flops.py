"""The matrix products that no implementation of a training step can do without, and the machine's rate of them.

Counted are 2 operations a multiplication and addition: of the frozen layers forward and backward to the activations, of
the adapters also to their weights, of causal attention over the pairs of tokens that see each other, and of the head at
the tokens that predict a target. Each prompt is counted once, every token goes through every layer, and nothing is
recomputed. Softmax, norms and activations are not counted.
"""

import statistics
import time
from collections.abc import Sequence

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from align.text.collate import Group

MATMUL_SIDE = {"cpu": 1024, "cuda": 8192}
MATMUL_ROUNDS = 7


def step_flops(model: PeftModel, groups: Sequence[Group], *, reference: bool) -> float:
    """The floor of one step on frozen weights with adapters.

    Args:
        model: as `shapes.build` gives it.
        groups: the step's.
        reference: whether it also runs forward with the adapters off.
    """
    config, layers = model.config, [module for module in model.modules() if isinstance(module, LoraLayer)]
    tokens = sum(group.size.packed for group in groups)
    targets = sum(len(response) for group in groups for response in group.responses)
    frozen = [module.in_features * module.out_features for module in layers]
    adapters = sum(value.numel() for value in model.parameters() if value.requires_grad)
    head = config.vocab_size * config.hidden_size * targets
    attention = 2 * config.num_hidden_layers * config.hidden_size * sum(map(_seen, groups))
    forward = sum(frozen) * tokens + attention + head
    # nothing below the first adapted layer needs a gradient
    backward = (sum(frozen) - frozen[0]) * tokens + 2 * attention + head
    return 2.0 * (forward * (2 if reference else 1) + backward + 3 * adapters * tokens)


def matmul_rate(device: torch.device) -> float:
    """Operations a second of a large square product, in the type that training runs in: the median of some."""
    side = MATMUL_SIDE[device.type]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left = torch.randn(side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(MATMUL_ROUNDS + 1):
        start = _now(device)
        left @ left
        seconds.append(_now(device) - start)
    # the first one warms up
    return 2.0 * side**3 / statistics.median(seconds[1:])


def _seen(group: Group) -> int:
    """Pairs of a token and one that it sees; the last token of a response is no input."""
    prompt, total = len(group.prompt), len(group.prompt) * (len(group.prompt) + 1) // 2
    for response in group.responses:
        own = len(response) - 1
        total += own * prompt + own * (own + 1) // 2
    return total


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()
