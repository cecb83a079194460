"""What the forward pass of a training step leaves for the backward one, in bytes. Torch-free; no strategy, no card.

The counts follow the classes of transformers with our attention, term by term: inputs of norms and of adapted layers,
heads before and after attention, both sides of the activation function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..models.shapes import Shape

FLOAT, HALF = 4, 2
FOLD, MULTIPLE = 4, 8
"""Dimensions that BLOOM's fused attention adds to a head, and what it brings their sum up to a multiple of."""


class Rows(NamedTuple):
    """A micro-batch as it is laid out."""

    tokens: int
    """T: inputs of the model, padding included."""
    targets: int
    """Response tokens, which reach the head."""
    joined: int = 0
    """Over the responses that share a prompt: tokens of prompt and response, whose keys and values are copied."""
    masks: int = 0
    """Over the same: response × (prompt + response), the elements of their masks."""
    scores: int = 0
    """Of padded rows: rows × width², the elements of a head's scores, where attention is `eager`."""

    @staticmethod
    def packed(groups: int, prompt: int, response: int, k: int) -> "Rows":
        """Groups of k responses to a prompt, the last token of each being no input."""
        inputs, joined, masks = response - 1, 0, 0
        if k > 1:
            joined = groups * k * (prompt + inputs)
            masks = joined * inputs
        return Rows(groups * (prompt + k * inputs), groups * k * response, joined, masks)

    @staticmethod
    def padded(rows: int, prompt: int, response: int) -> "Rows":
        """A row for each response."""
        width = prompt + response - 1
        return Rows(rows * width, rows * response, scores=rows * width * width)

    def scaled(self, share: float) -> "Rows":
        """So much more, or less, of the same rows."""
        return Rows(*(round(value * share) for value in self))


@dataclass(frozen=True)
class Training:
    """What decides the memory of a training."""

    shape: Shape
    rows: Rows
    rank: int = 0
    """Of the adapters; 0: every weight is trained."""
    targets: Sequence[str] | str = "all-linear"
    """The layers that are adapted."""
    dtype_bytes: int = FLOAT
    """Of the frozen weights."""
    bits: Literal[0, 4, 8] = 0
    """Of the quantised linear layers; 0: none are."""
    double: bool = True
    """Whether the scales of 4 bits are quantised, too."""
    half: bool = False
    """Whether products run in half precision: `args.bf16`."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass."""
    state: float = 8.0
    """Bytes of the optimizer's state for a trained parameter."""
    accumulated: bool = True
    """Whether a step has several micro-batches: gradients are there while the next one goes forward."""
    device: Literal["cpu", "cuda"] = "cuda"

    @property
    def whole(self) -> bool:
        """Whether every weight is trained."""
        return not self.rank

    @property
    def trained(self) -> int:
        """Parameters under training."""
        return self.shape.parameters if self.whole else self.shape.adapters(self.rank, self.adapted)

    @property
    def adapted(self) -> list[str] | str:
        """The layers' names."""
        return self.targets if isinstance(self.targets, str) else list(self.targets)

    @property
    def stream(self) -> int:
        """Bytes of an element between blocks."""
        return FLOAT if self.whole else self.dtype_bytes

    @property
    def unit(self) -> int:
        """Bytes of an element inside them."""
        return HALF if self.half else self.stream

    @property
    def adapter_unit(self) -> int:
        """Bytes of an element of a layer's saved input: adapters are float32 where nothing makes them half."""
        return HALF if self.half else FLOAT


class Copies(NamedTuple):
    """Bytes of weights in half precision that autocast makes of float32 ones."""

    forward: float
    """At the end of the forward pass."""
    graph: float
    """Kept by the graph for the backward pass."""
    block: float
    """Of the block that is in its backward pass, where it is computed again or made whole from 4 or 8 bits."""


def weight_copies(training: Training) -> Copies:
    """What autocast, or the use of quantised weights, makes of the blocks' matrices."""
    shape = training.shape
    if training.bits:
        # one layer at a time is made whole
        largest = max(width * out for _, width, out in shape.linear)
        return Copies(0.0, 0.0, largest * training.unit)
    if not training.half or (not training.whole and training.dtype_bytes != FLOAT):
        return Copies(0.0, 0.0, 0.0)
    every, one = shape.layers * shape.matrices * HALF, shape.matrices * HALF
    if not training.checkpointing:
        return Copies(every, every, 0.0)
    # autocast keeps the copies of trained weights until the forward pass has ended
    return Copies(every if training.whole else 0.0, 0.0, one)


def saved_bytes(training: Training) -> float:
    """Bytes that the whole forward pass saves."""
    shape, rows = training.shape, training.rows
    stream = rows.tokens * shape.hidden * training.stream
    # the norms outside the blocks; the first of a frozen model needs no gradient
    ends = stream * ((2 if shape.family == "bloom" else 1) if training.whole or training.checkpointing else 0)
    if training.checkpointing:
        return shape.layers * stream + ends
    return shape.layers * block_bytes(training) + ends


def block_bytes(training: Training) -> float:
    """Bytes that one block saves: inputs of norms and of adapted layers, heads of attention, the activation."""
    shape, rows, unit = training.shape, training.rows, training.unit
    hidden, query, kv, inner = shape.hidden, shape.query_width, shape.kv_width, shape.inner
    norm = FLOAT if training.half and training.device == "cuda" else training.stream
    # what several layers read is saved once in float32; otherwise each makes a copy in its own type
    gated, copied = shape.family == "llama", training.half or training.unit != training.adapter_unit
    readers = (1 if shape.family in ("bloom", "gpt_bigcode") else 3) + (2 if gated else 1) if copied else 2
    token = 2.0 * hidden * (norm + (training.stream if gated and training.whole else 0))
    token += (readers * hidden + query + inner) * training.adapter_unit
    # a gate keeps both of its factors and what goes into the activation
    token += (3 if gated else 1) * inner * training.unit
    token += training.rank * len(shape.adapted(training.adapted)) * training.adapter_unit
    if rows.scores:
        return rows.tokens * token + _padded(training)
    if shape.family == "bloom":
        head = hidden // shape.heads
        wide = query / head * (head + FOLD + -(head + FOLD) % MULTIPLE) * unit
        # query, key, value and what attention gives; keys and values once more where they follow a shared prompt
        token += 4 * wide
        joined = 2 * wide
    else:
        token += (2 * query + 2 * kv) * unit
        # on CUDA shared keys are repeated for every head
        joined = 2 * (query if training.device == "cuda" else kv) * unit
    return rows.tokens * token + rows.joined * joined + rows.masks * unit


def _padded(training: Training) -> float:
    """Bytes that attention over padded rows saves in one block."""
    shape, rows, unit = training.shape, training.rows, training.unit
    query, kv = shape.query_width, shape.kv_width
    if shape.family == "bloom":
        head = shape.hidden // shape.heads
        return rows.tokens * 4 * query / head * (head + FOLD + -(head + FOLD) % MULTIPLE) * unit
    if training.device == "cuda":
        return rows.tokens * (2 * query + 2 * kv) * unit
    # eager: keys and values repeated for every head, and the soft-max, which is float32
    scores = shape.heads * rows.scores * (FLOAT + (unit if unit != FLOAT else 0))
    return rows.tokens * 3 * query * unit + scores
