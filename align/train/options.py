"""What a training may be asked for, beside its rows and its model. Torch-free; `run` and `trl_engine` read it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ..models.lora import Lora
from .settings import Loss

Backend = Literal["auto", "grouped", "plain", "flex"]
Reference = Literal["auto", "adapter_off", "file"]
Normaliser = Literal["tokens", "targets"]


@dataclass(frozen=True)
class Options:
    """Options of one training run; every default is the stages' own."""

    loss: Loss | None = None
    """A preference loss; None trains on the likelihood of the completions."""
    lora: Lora | None = None
    """Adapters; None trains every weight."""
    global_batch_size: int = 32
    """Rows of an optimizer step, over all ranks and micro-batches."""
    max_tokens_per_batch: int = 16384
    """Tokens laid out in a micro-batch; changes no result."""
    max_length: int | None = None
    """Tokens of a row; longer ones are dropped and counted. None: what the model's positions allow."""
    disable_dropout: bool = True
    """Build the model without any dropout."""
    backend: Backend = "auto"
    """How a micro-batch is laid out; changes no result beyond rounding."""
    reference: Reference = "auto"
    """Where the reference's log-probabilities come from; auto: adapters off with `lora`, else the file."""
    normaliser: Normaliser = "tokens"
    """Of supervised training: the mean over all target tokens, or over rows of each row's mean."""
    target_length_floor: int = 1
    """With `targets`, tokens that a target counts as at least: a shorter one weighs less than the others."""
    args: dict[str, Any] = field(default_factory=dict)
    """Names of transformers.TrainingArguments, checked by `check_arguments`."""
    seed: int = 0
    """Of the order of the data and of all that is random."""
