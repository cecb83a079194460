"""What each `loss:` section computes on a micro-batch: the loss, its named parts, and figures to log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import StageError
from ..loss.logprob import sum_by
from ..loss.preference import dpo_loss, loss_without_ratio
from ..loss.ranked import best_weights, ordered_pairs, rrhf_loss, rrtf_loss, sft_term
from ..text.collate import GroupBatch
from .policy import Output
from .settings import Dpo, Rrhf, Rrtf

SAME_TOLERANCE = 1e-5
"""How far DPO may start from its value at equal policy and reference."""


class Figure(NamedTuple):
    """A mean to log, as a sum and a weight, so that micro-batches and ranks add up."""

    total: Tensor
    weight: Tensor


@dataclass
class Step:
    """One micro-batch's share of an optimizer step."""

    loss: Tensor
    """Already divided by the step's denominators."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """The loss's named terms, divided likewise."""
    figures: dict[str, Figure] = field(default_factory=dict)
    """Means over pairs or groups."""


Objective = Callable[[Output, GroupBatch], Step]


def objective(loss: Rrtf | Rrhf | Dpo | None) -> Objective:
    """The function of a `loss:` section; None is supervised training."""
    if loss is None:
        return _sft
    if isinstance(loss, Dpo):
        return lambda output, batch: _dpo(loss, output, batch)
    return lambda output, batch: _ranked(loss, output, batch)


def check_start(loss: Dpo, step: Step, batch: GroupBatch) -> None:
    """Before the first update the policy is its reference: DPO's loss is ln 2.

    Raises:
        StageError: it is not, so the two do not see the same weights, tokens or dropout.
    """
    pairs = len(ordered_pairs(batch["scores_R"], batch["group_R"])[0])
    if not pairs:
        return
    found = float(step.parts["preference"].detach() * batch["pairs"]) / pairs
    expected = loss_without_ratio(loss.beta, loss.loss_type)
    if abs(found - expected) > SAME_TOLERANCE * max(1.0, expected):
        raise StageError(
            f"loss: {loss.loss_type} starts at {found:.6f}, not {expected:.6f}: the policy differs from its reference "
            "before the first update (dropout, or a reference of other weights)"
        )


def _sft(output: Output, batch: GroupBatch) -> Step:
    logp = output.logp
    return Step(sft_term(logp.sum, logp.length, batch["sft_weights_R"], batch["tokens"]))


def _ranked(loss: Rrtf | Rrhf, output: Output, batch: GroupBatch) -> Step:
    logp, scores, group = output.logp, batch["scores_R"], batch["group_R"]
    teacher = batch["teacher_R"] if isinstance(loss, Rrtf) and loss.teacher_student else None
    if isinstance(loss, Rrtf):
        found = rrtf_loss(
            logp.sum,
            logp.length,
            scores,
            group,
            rank_weight=loss.rank_weight,
            sft_weight=loss.sft_weight,
            sft_weights_R=batch["sft_weights_R"],
            teacher_R=teacher,
            sft_reduction="groups" if loss.mode == "paper" else "tokens",
            groups=batch["groups"],
            tokens=batch["tokens"],
        )
    else:
        found = rrhf_loss(
            logp.sum,
            logp.length,
            scores,
            group,
            rank_weight=loss.rank_weight,
            sft_weight=loss.sft_weight,
            sft_weights_R=batch["sft_weights_R"],
            groups=batch["groups"],
            tokens=batch["tokens"],
        )
    return Step(found.total, {"rank": found.rank, "sft": found.sft}, _ranked_figures(output, batch, teacher))


def _ranked_figures(output: Output, batch: GroupBatch, teacher: Tensor | None) -> dict[str, Figure]:
    mean = (output.logp.sum / output.logp.length).detach()
    scores, group = batch["scores_R"], batch["group_R"]
    better, worse = ordered_pairs(scores, group, teacher)
    ordered = torch.zeros_like(mean).index_fill(0, torch.cat([better, worse]), 1.0)
    best, worst = best_weights(scores, group) * ordered, best_weights(-scores, group) * ordered
    return {
        "rank/accuracies": _mean((mean[better] > mean[worse]).to(mean.dtype)),
        "logps/best": Figure((best * mean).sum(), best.sum()),
        "logps/worst": Figure((worst * mean).sum(), worst.sum()),
    }


def _dpo(loss: Dpo, output: Output, batch: GroupBatch) -> Step:
    logp, scores, group = output.logp, batch["scores_R"], batch["group_R"]
    reference = output.reference_N if output.reference_N is not None else batch["reference_N"]
    # by token before the sum: the difference of two long sums loses what the loss is made of
    log_ratio = sum_by(logp.token - reference, batch["response_N"], len(scores))
    found = dpo_loss(
        logp.sum,
        log_ratio,
        logp.length,
        scores,
        group,
        beta=loss.beta,
        loss_type=loss.loss_type,
        label_smoothing=loss.label_smoothing,
        sft_weight=loss.sft_weight,
        sft_weights_R=batch["sft_weights_R"],
        pairs=batch["pairs"],
        tokens=batch["tokens"],
    )
    better, worse = ordered_pairs(scores, group)
    rewards, sums = (loss.beta * log_ratio).detach(), logp.sum.detach()
    figures = {
        "rewards/chosen": _mean(rewards[better]),
        "rewards/rejected": _mean(rewards[worse]),
        "rewards/accuracies": _mean((rewards[better] > rewards[worse]).to(rewards.dtype)),
        "rewards/margins": _mean(rewards[better] - rewards[worse]),
        "logps/chosen": _mean(sums[better]),
        "logps/rejected": _mean(sums[worse]),
    }
    return Step(found.total, {"preference": found.preference, "sft": found.sft}, figures)


def _mean(values: Tensor) -> Figure:
    return Figure(values.sum(), values.new_tensor(float(len(values))))
