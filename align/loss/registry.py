"""The losses by name, and what each takes beside log-probabilities, lengths, scores and groups. Holds no defaults."""

from collections.abc import Callable
from dataclasses import dataclass

from .preference import PreferenceLoss, dpo_loss, orpo_loss, simpo_loss
from .ranked import RankedLoss, lipo_loss, listmle_loss, rrhf_loss, rrtf_loss
from .unpaired import kto_loss


@dataclass(frozen=True)
class Entry:
    """A loss: `function(logp_sum_R, length_R, scores_R, group_R, **…)`."""

    function: Callable[..., RankedLoss | PreferenceLoss]
    takes: tuple[str, ...]
    """The keywords that a batch gives, its target weights and denominators first; all others are settings."""

    @property
    def reference(self) -> bool:
        """Whether it can do nothing without the log-ratio to a reference model."""
        return "log_ratio_R" in self.takes


_GROUPS, _PAIRS = ("sft_weights_R", "tokens", "groups"), ("sft_weights_R", "tokens", "pairs")

LOSSES: dict[str, Entry] = {
    "rrtf": Entry(rrtf_loss, _GROUPS),
    "rrhf": Entry(rrhf_loss, _GROUPS),
    "listmle": Entry(listmle_loss, _GROUPS),
    "lipo": Entry(lipo_loss, (*_GROUPS, "log_ratio_R")),
    "dpo": Entry(dpo_loss, (*_PAIRS, "log_ratio_R")),
    "simpo": Entry(simpo_loss, _PAIRS),
    "orpo": Entry(orpo_loss, _PAIRS),
    "kto": Entry(kto_loss, (*_GROUPS, "log_ratio_R", "kl")),
}
"""Name in recipes → loss."""
