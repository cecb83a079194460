"""Alignment losses as pure functions of tensors. Importing this package loads torch and nothing else of weight."""

from .logprob import ResponseLogprobs, response_logprobs
from .preference import PreferenceLoss, dpo_loss, orpo_loss, simpo_loss
from .ranked import RankedLoss, lipo_loss, listmle_loss, rrhf_loss, rrtf_loss
from .registry import LOSSES
from .unpaired import kto_loss

__all__ = [
    "LOSSES",
    "PreferenceLoss",
    "RankedLoss",
    "ResponseLogprobs",
    "dpo_loss",
    "kto_loss",
    "lipo_loss",
    "listmle_loss",
    "orpo_loss",
    "response_logprobs",
    "rrhf_loss",
    "rrtf_loss",
    "simpo_loss",
]
