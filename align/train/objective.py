"""What each `loss:` section computes on a micro-batch: the loss, its named parts, and figures to log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from ..errors import StageError
from ..loss import LOSSES
from ..loss.logprob import sum_by
from ..loss.terms import ordered_pairs, sft_term
from ..text.collate import GroupBatch
from .figures import (
    Figure,
    Figures,
    end_figures,
    label_figures,
    length_figures,
    likelihood_figures,
    rank_figures,
    reward_figures,
)
from .policy import Output
from .settings import LossSection, Rrtf

SAME_TOLERANCE = 1e-5
"""Nats a token that policy and reference may differ by before the first update."""


@dataclass
class Step:
    """One micro-batch's share of an optimizer step."""

    loss: Tensor
    """Already divided by the step's denominators."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """The loss's named terms, divided likewise."""
    figures: Figures = field(default_factory=dict)
    """Means over pairs, groups or responses."""
    drift: Tensor | None = None
    """Mean over tokens of |policy − reference|, where there is a reference."""


Objective = Callable[[Output, GroupBatch], Step]


def objective(loss: LossSection | None) -> Objective:
    """The function of a `loss:` section; None is supervised training."""
    whole = _sft if loss is None else partial(_aligned, loss)

    def share(output: Output, batch: GroupBatch) -> Step:
        step = whole(output, batch)
        return _silenced(step) if batch["empty"] else step

    return share


def check_start(loss: LossSection, step: Step) -> None:
    """Before the first update the policy is its reference, token by token: DPO's loss is ln 2.

    Raises:
        StageError: it is not, so the two do not see the same weights, tokens or dropout.
    """
    if step.drift is not None and (drift := float(step.drift)) > SAME_TOLERANCE:
        raise StageError(
            f"loss: {loss.name} starts {drift:.2g} nats a token away from its reference: the policy differs from its "
            "reference before the first update (dropout, or a reference of other weights)"
        )


def _sft(output: Output, batch: GroupBatch) -> Step:
    logp, targets_R = output.logp, batch["sft_weights_R"]
    return Step(sft_term(logp.sum, logp.length, targets_R, batch["tokens"]), figures=end_figures(logp, targets_R))


def _aligned(loss: LossSection, output: Output, batch: GroupBatch) -> Step:
    logp, entry, options = output.logp, LOSSES[loss.name], loss.options()
    own = {name: batch[name] for name in entry.takes if name in batch}
    drift = None
    if loss.needs_reference:
        reference_N = output.reference_N if output.reference_N is not None else batch["reference_N"]
        # by token before the sum: the difference of two long sums loses what the loss is made of
        ratio_N = logp.token - reference_N
        own["log_ratio_R"] = sum_by(ratio_N, batch["response_N"], len(batch["scores_R"]))
        drift = ratio_N.detach().abs().mean()
    if isinstance(loss, Rrtf) and loss.teacher_student:
        own["teacher_R"] = batch["teacher_R"]
    found = entry.function(logp.sum, logp.length, batch["scores_R"], batch["group_R"], **options, **own)
    implicit_R = options.get("beta", 1.0) * own.get("log_ratio_R", logp.sum / logp.length).detach()
    parts = found._asdict()
    return Step(parts.pop("total"), parts, _figures(loss, output, batch, implicit_R), drift)


def _silenced(step: Step) -> Step:
    """What an empty micro-batch says: every term, so that ranks agree on their names, and nothing in any."""
    figures = {name: Figure(0 * total, 0 * weight) for name, (total, weight) in step.figures.items()}
    return Step(0 * step.loss, {name: 0 * part for name, part in step.parts.items()}, figures)


def _figures(loss: LossSection, output: Output, batch: GroupBatch, implicit_R: Tensor) -> Figures:
    logp, scores_R, group_R = output.logp, batch["scores_R"], batch["group_R"]
    found = end_figures(logp, batch["sft_weights_R"])
    if loss.reads == "unpaired":
        return found | label_figures(implicit_R, logp, scores_R, batch["kl"])
    teacher_R = batch["teacher_R"] if isinstance(loss, Rrtf) and loss.teacher_student else None
    better_P, worse_P = ordered_pairs(scores_R, group_R, teacher_R)
    if loss.reads == "pairs":
        found |= reward_figures(implicit_R, logp, better_P, worse_P)
    else:
        found |= rank_figures(implicit_R, scores_R, group_R, better_P, worse_P)
    return found | likelihood_figures(logp, scores_R, group_R) | length_figures(implicit_R, logp.length, group_R)
