"""Losses over k ranked responses: RRTF (PanGu-Coder2, arXiv 2307.14936) and RRHF. Pure functions of tensors.

Shape suffixes: R responses of a batch, P ordered pairs of one group, G groups. Each term has its own denominator;
by default it counts the batch at hand, and where the batch is one of several micro-batches the caller passes the
count of the whole, so that the micro-batches' losses add up to the whole's.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Count = int | float | Tensor


class RankedLoss(NamedTuple):
    """A loss and its parts, before their weights."""

    total: Tensor
    """rank_weight · rank + sft_weight · sft."""
    rank: Tensor
    """Mean over groups of the hinge on its pairs."""
    sft: Tensor
    """Negative log-likelihood of the targets."""


def rrtf_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    rank_weight: float = 1.0,
    sft_weight: float = 1.0,
    sft_weights_R: Tensor | None = None,
    teacher_R: Tensor | None = None,
    sft_reduction: Literal["tokens", "groups"] = "tokens",
    groups: Count | None = None,
    tokens: Count | None = None,
) -> RankedLoss:
    """RRTF: Σ_{r_i > r_j} (r_i − r_j) · max(0, p_j − p_i) plus the likelihood of the best response.

    p is the mean log-probability of a response's tokens. Equal scores give no pair.

    Args:
        logp_sum_R: summed log-probabilities of the responses.
        length_R: their lengths in tokens; never the padded length.
        scores_R: their scores r.
        group_R: index of the prompt that each one answers.
        rank_weight: weight of the rank term.
        sft_weight: weight of the likelihood term.
        sft_weights_R: how much each response is a target; by default the best of each group share weight 1.
        teacher_R: true for a teacher's responses: only pairs of a teacher above a student count (the paper).
            None: all pairs.
        sft_reduction: `tokens`: Σ w·nll ÷ Σ w·length; `groups`: Σ w·nll ÷ groups (the paper's plain sum).
        groups: groups of the whole batch.
        tokens: Σ w·length of the whole batch.
    """
    groups = _count(group_R) if groups is None else groups
    better_P, worse_P = ordered_pairs(scores_R, group_R, teacher_R)
    gap_P = scores_R[better_P] - scores_R[worse_P]
    rank = _hinge(logp_sum_R / length_R, better_P, worse_P, gap_P) / groups
    weights_R = best_weights(scores_R, group_R) if sft_weights_R is None else sft_weights_R
    sft = sft_term(logp_sum_R, length_R, weights_R, tokens if sft_reduction == "tokens" else groups)
    return RankedLoss(rank_weight * rank + sft_weight * sft, rank, sft)


def rrhf_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    rank_weight: float = 1.0,
    sft_weight: float = 1.0,
    sft_weights_R: Tensor | None = None,
    groups: Count | None = None,
    tokens: Count | None = None,
) -> RankedLoss:
    """RRHF (arXiv 2304.05302): Σ_{r_i > r_j} max(0, p_j − p_i), each pair of weight 1, plus the best's likelihood.

    Arguments as in `rrtf_loss`. Without its likelihood term it degenerates into repetition.
    """
    groups = _count(group_R) if groups is None else groups
    better_P, worse_P = ordered_pairs(scores_R, group_R)
    rank = _hinge(logp_sum_R / length_R, better_P, worse_P, torch.ones_like(scores_R[better_P])) / groups
    weights_R = best_weights(scores_R, group_R) if sft_weights_R is None else sft_weights_R
    sft = sft_term(logp_sum_R, length_R, weights_R, tokens)
    return RankedLoss(rank_weight * rank + sft_weight * sft, rank, sft)


def ordered_pairs(scores_R: Tensor, group_R: Tensor, teacher_R: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Indices (P,), (P,) of better and worse responses of one group; ties carry no order.

    With `teacher_R`, only pairs of a teacher's response above a student's.
    """
    above_RR = (scores_R[:, None] > scores_R[None, :]) & (group_R[:, None] == group_R[None, :])
    if teacher_R is not None:
        above_RR &= teacher_R[:, None] & ~teacher_R[None, :]
    better_P, worse_P = above_RR.nonzero(as_tuple=True)
    return better_P, worse_P


def best_weights(scores_R: Tensor, group_R: Tensor) -> Tensor:
    """(R,) weights that the best-scored responses of each group share: they sum to 1."""
    rivals_RR = group_R[:, None] == group_R[None, :]
    best_R = scores_R >= scores_R.expand(len(scores_R), -1).masked_fill(~rivals_RR, -torch.inf).amax(1)
    return best_R / (rivals_RR & best_R[None, :]).sum(1)


def sft_term(logp_sum_R: Tensor, length_R: Tensor, weights_R: Tensor, tokens: Count | None) -> Tensor:
    """Σ w·(−Σ log P) ÷ Σ w·length: the mean over target tokens; 0 where nothing is a target."""
    whole = (weights_R * length_R).sum() if tokens is None else tokens
    return -(weights_R * logp_sum_R).sum() / torch.as_tensor(whole, device=logp_sum_R.device).clamp(min=1e-9)


def _hinge(mean_R: Tensor, better_P: Tensor, worse_P: Tensor, weight_P: Tensor) -> Tensor:
    return (weight_P * (mean_R[worse_P] - mean_R[better_P]).clamp(min=0)).sum()


def _count(group_R: Tensor) -> int:
    return len(torch.unique(group_R))
