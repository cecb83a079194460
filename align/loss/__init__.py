"""Alignment losses as pure functions of tensors. Importing this package loads torch and nothing else of weight."""

from .logprob import ResponseLogprobs, response_logprobs
from .preference import PreferenceLoss, dpo_loss
from .ranked import RankedLoss, rrhf_loss, rrtf_loss

__all__ = [
    "PreferenceLoss",
    "RankedLoss",
    "ResponseLogprobs",
    "dpo_loss",
    "response_logprobs",
    "rrhf_loss",
    "rrtf_loss",
]
