"""The memory of a training step, on one device: what is alive at its worst moment. Torch-free; counts, never measures.

Counted is what the trainer's allocator hands out: weights, gradients, the optimizer's state, what the forward pass
saves for the backward one, and the buffers of the head, which sees chunks of response tokens only. Not counted: what a
GPU keeps for itself (`CONTEXT`), what the allocator holds beyond what it has handed out, and the host's memory.
`scripts/bench/memory.py` holds these counts against measured peaks. Those of FSDP2 and ZeRO are of their published
rules, and were not measured.

Shape suffixes of the comments: T tokens of a micro-batch, H hidden size, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import Literal

from .activations import FLOAT, HALF, Copies, Training, block_bytes, saved_bytes, weight_copies

Strategy = Literal["single", "ddp", "fsdp2", "zero2", "zero3"]
STRATEGIES: tuple[Strategy, ...] = ("single", "ddp", "fsdp2", "zero2", "zero3")
GIB = 2**30
CONTEXT = 0.6 * GIB
"""What CUDA and its libraries keep on a GPU, about; in no total."""
CHUNK = {"cpu": 128, "cuda": 1024}
"""Response tokens whose logits exist at once: those of `align.loss.logprob`."""
HEAD_ROWS = 2**14
"""Rows of a trained head whose gradient is in half precision at once: those of `align.loss.logprob`."""
QUANT_BLOCK, QUANT_NESTED = 64, 256
"""Weights that share a scale in 4 bits, and scales that share one with double quantisation."""
BUCKET = 500_000_000
"""DeepSpeed's default elements of a bucket of gradients."""
LIVE = 1_000_000_000
"""DeepSpeed's default parameters that ZeRO-3 keeps gathered."""
BACKWARD_INNER = {"bloom": 5, "gpt_bigcode": 1, "starcoder2": 1, "llama": 2}
"""Copies of the feed-forward part's width that its backward pass holds beyond what was saved; BLOOM's activation is
made of single operations."""

STATE_BYTES = {
    "adafactor": 0.1,
    "sgd": 0.0,
    "lion": 4.0,
    "lion_8bit": 1.0,
    "paged_lion_8bit": 1.0,
    "rmsprop": 4.0,
}
"""Bytes of an optimizer's state for a trained parameter; of those not named here by `state_bytes`."""


@dataclass(frozen=True)
class Memory:
    """Bytes on a device at the worst moment of a step."""

    weights: float
    """Those of the model, adapters among them, and what it keeps beside them."""
    gradients: float
    optimizer: float
    activations: float
    """Saved for the backward pass, or alive while a layer is in it."""
    head: float
    """Logits of a chunk, and copies and gradients of the head and the embedding."""
    exchange: float = 0.0
    """Buffers between devices, and gathered layers."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.head + self.exchange


def memory(training: Training, strategy: Strategy = "single", devices: int = 1) -> Memory:
    """The peak of one device.

    Args:
        training: what is trained, and how.
        strategy: how weights, gradients and state are divided.
        devices: over how many.
    """
    # where weights are cut, they are gathered in half precision, and autocast makes no copies
    alone = _alone(training, casts=strategy in ("single", "ddp"))
    if strategy == "single":
        return alone
    trained, frozen = training.trained * FLOAT, _frozen(training)
    if strategy == "ddp":
        # the reducer's buckets are a second copy of the gradients
        return replace(alone, exchange=trained)
    shape, unit = training.shape, HALF if training.half else FLOAT
    if strategy == "fsdp2":
        # two blocks at a time, and what stands outside of them all the while; gradients of a block before they are cut
        gathered = _gathered_bytes(training, unit) * 2 + shape.outside * unit
        cut = (trained / shape.layers) * 2 if training.whole else 0.0
        return _divided(alone, devices, weights=(trained + frozen) / devices, exchange=gathered + cut)
    own = training.trained * unit
    bucket = 2 * min(training.trained, BUCKET) * unit
    # masters in float32 beside weights in half precision
    master = trained / devices if training.half else 0.0
    if strategy == "zero2":
        weights = own + _frozen(training, half=training.half)
        return _divided(alone, devices, weights=weights + master, exchange=bucket)
    weights = (own + _frozen(training, half=training.half)) / devices + master
    return _divided(alone, devices, weights=weights, exchange=bucket + min(shape.parameters, LIVE) * unit)


def state_bytes(optimizer: str) -> float:
    """Bytes of the state of one parameter under an optimizer of `args.optim`: two moments in float32, if not known."""
    if optimizer in STATE_BYTES:
        return STATE_BYTES[optimizer]
    return 2.0 if optimizer.endswith("8bit") else 8.0


def flops(training: Training, *, reference: bool = False) -> float:
    """Operations a token costs: 2 a weight forward and 2 backward, 2 more where its gradient is needed.

    Args:
        training: what is trained, and how.
        reference: whether each step also goes forward with the adapters off.
    """
    weights = training.shape.layers * training.shape.matrices + training.shape.embedding
    forwards = 1 + training.checkpointing + reference
    return 2.0 * weights * (forwards + (2 if training.whole else 1))


def _alone(training: Training, *, casts: bool) -> Memory:
    """The worst of the moments that may be it.

    Args:
        training: what is trained, and how.
        casts: with the copies that autocast makes of whole weights.
    """
    weights = _frozen(training) + training.trained * FLOAT + training.shape.tables
    optimizer = training.trained * training.state
    made = weight_copies(training)
    moments = _moments(training, made if casts else made._replace(forward=0.0, graph=0.0))
    found = [Memory(weights, gradients, optimizer, activations, head) for gradients, activations, head in moments]
    return max(found, key=lambda memory: memory.total)


def _moments(training: Training, casts: Copies) -> list[tuple[float, float, float]]:
    """(gradients, activations, head): in the head forward and backward, in the last block backward, and at the end."""
    shape, rows = training.shape, training.rows
    gradients = training.trained * FLOAT
    before = gradients if training.accumulated else 0.0
    layer, saved = block_bytes(training), saved_bytes(training)
    embedding = shape.embedding * FLOAT if training.whole else 0
    copy = shape.embedding * HALF if training.half and (training.whole or training.dtype_bytes == FLOAT) else 0
    chunk = min(CHUNK[training.device], rows.targets) * shape.vocab * (FLOAT + (HALF if training.half else 0)) + copy
    # what the head saves: its inputs where it is trained, else the slope that its backward pass scales
    kept = rows.targets * shape.hidden * (training.stream if training.whole else FLOAT)
    inner = rows.tokens * training.unit * (BACKWARD_INNER[shape.family] * shape.inner + 2 * shape.hidden)
    again = layer if training.checkpointing else 0.0
    # a tied gradient waits for both of its parts, beside that of the micro-batches before
    waiting = embedding if shape.tied and training.accumulated else 0
    last = rows.tokens * shape.hidden * training.stream
    return [
        (before, saved + casts.forward, chunk + kept + rows.targets * shape.hidden * training.stream),
        (before, saved + casts.graph, chunk + kept + embedding + _slice(training)),
        (before, saved + casts.graph + again + inner + casts.block, kept + embedding),
        (gradients, layer + inner + casts.block, waiting),
        (gradients, last, embedding * (shape.tied + training.accumulated)),
    ]


def _slice(training: Training) -> int:
    """Bytes of the part of a trained head's gradient that is in half precision; a CPU widens it before it is added."""
    if not training.whole or not training.half:
        return 0
    return (
        min(training.shape.vocab, HEAD_ROWS)
        * training.shape.hidden
        * (HALF + (FLOAT if training.device == "cpu" else 0))
    )


def _frozen(training: Training, *, half: bool = False) -> float:
    """Bytes of the weights that are not trained; none where all are.

    Args:
        training: what is trained.
        half: they are made half precision.
    """
    if training.whole:
        return 0.0
    shape, unit = training.shape, min(training.dtype_bytes, HALF if half else FLOAT)
    if not training.bits:
        return float(shape.parameters * unit)
    matrices = shape.layers * shape.matrices
    rest = (shape.parameters - matrices) * unit
    if training.bits == 8:
        return matrices + shape.layers * sum(out for _, _, out in shape.linear) * FLOAT + rest
    scales = 1 / QUANT_BLOCK + FLOAT / (QUANT_BLOCK * QUANT_NESTED) if training.double else FLOAT / QUANT_BLOCK
    return matrices * (0.5 + scales) + rest


def _gathered_bytes(training: Training, unit: int) -> float:
    """Bytes of a gathered block."""
    if training.bits:
        return (_frozen(training) - (training.shape.outside * training.dtype_bytes)) / training.shape.layers
    return float(training.shape.block * unit)


def _divided(alone: Memory, devices: int, *, weights: float, exchange: float) -> Memory:
    return replace(
        alone,
        weights=weights,
        gradients=alone.gradients / devices,
        optimizer=alone.optimizer / devices,
        exchange=exchange,
    )
