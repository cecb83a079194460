"""Losses over k ranked responses of a prompt: RRTF, RRHF, ListMLE, LiPO-λ. Pure functions of tensors.

RRTF and RRHF compare mean log-probabilities and need no reference model; LiPO-λ compares log-ratios to one, ListMLE
either. Denominators, shapes and what the losses share: `terms`.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .terms import Count, best_weights, ordered_pairs, over_groups, sft_term

PairLoss = Literal["hinge", "logistic"]


class RankedLoss(NamedTuple):
    """A loss and its parts, before their weights."""

    total: Tensor
    """The weighted sum of the parts."""
    rank: Tensor
    """The ranking term, a mean over groups."""
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
    weighted: bool = True,
    pair_loss: PairLoss = "hinge",
    margin: float = 0.0,
    teacher_R: Tensor | None = None,
    sft_reduction: Literal["tokens", "groups"] = "tokens",
    groups: Count | None = None,
    tokens: Count | None = None,
) -> RankedLoss:
    """RRTF (PanGu-Coder2, arXiv 2307.14936): the ranking term plus the likelihood of the best response.

    rank = Σ_{r_i > r_j} (r_i − r_j) · f(margin − (p_i − p_j)), with p the mean log-probability of a response's tokens
    and f(x) = max(0, x). Equal scores give no pair. The paper's margin is 0: a pair once in order has no gradient.

    Args:
        logp_sum_R: summed log-probabilities of the responses.
        length_R: their lengths in tokens; never the padded length.
        scores_R: their scores r.
        group_R: index of the prompt that each one answers.
        rank_weight: weight of the rank term.
        sft_weight: weight of the likelihood term.
        sft_weights_R: how much each response is a target; by default the best of each group share weight 1.
        weighted: weigh each pair by its score gap; false: by 1 (RRHF).
        pair_loss: f: `hinge`, or `logistic`, log(1 + eˣ), whose gradient never ends.
        margin: how far apart, in nats a token, a pair should be.
        teacher_R: true for a teacher's responses: only pairs of a teacher above a student count (the paper).
            None: all pairs.
        sft_reduction: `tokens`: Σ w·nll ÷ Σ w·length; `groups`: Σ w·nll ÷ groups (the paper's plain sum).
        groups: groups of the whole batch.
        tokens: Σ w·length of the whole batch.
    """
    better_P, worse_P = ordered_pairs(scores_R, group_R, teacher_R)
    mean_R = logp_sum_R / length_R
    short_P = margin - (mean_R[better_P] - mean_R[worse_P])
    terms_P = short_P.clamp(min=0) if pair_loss == "hinge" else F.softplus(short_P)
    if weighted:
        terms_P = (scores_R[better_P] - scores_R[worse_P]) * terms_P
    rank = over_groups(terms_P, group_R, groups)
    weights_R = _targets(sft_weights_R, scores_R, group_R)
    if sft_reduction == "groups":
        sft = over_groups(-weights_R * logp_sum_R, group_R, groups)
    else:
        sft = sft_term(logp_sum_R, length_R, weights_R, tokens)
    return RankedLoss(rank_weight * rank + sft_weight * sft, rank, sft)


rrhf_loss = partial(rrtf_loss, weighted=False)
"""RRHF (arXiv 2304.05302): `rrtf_loss` with every pair of weight 1. Without its likelihood term it degenerates into
repetition."""


def listmle_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    log_ratio_R: Tensor | None = None,
    beta: float = 0.1,
    sft_weight: float = 0.0,
    sft_weights_R: Tensor | None = None,
    groups: Count | None = None,
    tokens: Count | None = None,
) -> RankedLoss:
    """ListMLE, the Plackett–Luce likelihood of a ranking (Xia et al. 2008; of policies arXiv 2305.18290, app. A.3).

    rank = −Σ_i log[e^{z_i} / (e^{z_i} + Σ_{r_j < r_i} e^{z_j})] with z = β·d, or β times the mean log-probability where
    there is no reference. Without ties this is the likelihood of the order. A response is never weighed against one of
    the same score: ties carry no order, while the exact likelihood, averaged over the orders of a tie, would pull its
    members together.

    Args, as in `rrtf_loss`, and:
        log_ratio_R: d = Σ_t (policy − reference); None: no reference.
        beta: scale of z.
    """
    implicit_R = beta * (logp_sum_R / length_R if log_ratio_R is None else log_ratio_R)
    rivals_RR = (scores_R[:, None] > scores_R[None, :]) & (group_R[:, None] == group_R[None, :])
    rivals_RR = rivals_RR | torch.eye(len(scores_R), dtype=torch.bool, device=scores_R.device)
    norm_R = implicit_R.expand(len(scores_R), -1).masked_fill(~rivals_RR, -torch.inf).logsumexp(1)
    rank = over_groups(norm_R - implicit_R, group_R, groups)
    sft = sft_term(logp_sum_R, length_R, _targets(sft_weights_R, scores_R, group_R), tokens)
    return RankedLoss(rank + sft_weight * sft, rank, sft)


def lipo_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    log_ratio_R: Tensor,
    beta: float = 0.1,
    sft_weight: float = 0.0,
    sft_weights_R: Tensor | None = None,
    groups: Count | None = None,
    tokens: Count | None = None,
) -> RankedLoss:
    """LiPO-λ (arXiv 2402.01878): DPO on every pair, weighted by what swapping it would change in the ranking's DCG.

    rank = Σ_{r_i > r_j} Δ_ij · log(1 + e^{−(z_i − z_j)}), z = β·d, Δ_ij = |2^{r_i} − 2^{r_j}| · |1/D(i) − 1/D(j)|, with
    D = log₂(1 + place of the response in the order of z), the usual DCG; the paper's log has another base, a constant
    factor. Responses of the same z, as all are before the first update, are placed by their scores.

    Args: as in `listmle_loss`; scores are the paper's labels, of the order of 1.
    """
    implicit_R = beta * log_ratio_R
    place_R = _places(implicit_R.detach(), scores_R, group_R)
    better_P, worse_P = ordered_pairs(scores_R, group_R)
    gain_R, discount_R = scores_R.exp2(), (1 + place_R).to(implicit_R.dtype).log2().reciprocal()
    delta_P = (gain_R[better_P] - gain_R[worse_P]) * (discount_R[better_P] - discount_R[worse_P]).abs()
    terms_P = -delta_P * F.logsigmoid(implicit_R[better_P] - implicit_R[worse_P])
    rank = over_groups(terms_P, group_R, groups)
    sft = sft_term(logp_sum_R, length_R, _targets(sft_weights_R, scores_R, group_R), tokens)
    return RankedLoss(rank + sft_weight * sft, rank, sft)


def _places(implicit_R: Tensor, scores_R: Tensor, group_R: Tensor) -> Tensor:
    """(R,) places from 1 in the order of the implicit scores; of equal ones the better response comes first."""
    order_R = torch.arange(len(scores_R), device=scores_R.device)
    ahead_RR = torch.zeros(len(scores_R), len(scores_R), dtype=torch.bool, device=scores_R.device)
    for key_R in (-order_R, scores_R, implicit_R):
        ahead_RR = (key_R[None, :] > key_R[:, None]) | ((key_R[None, :] == key_R[:, None]) & ahead_RR)
    return 1 + (ahead_RR & (group_R[:, None] == group_R[None, :])).sum(1)


def _targets(sft_weights_R: Tensor | None, scores_R: Tensor, group_R: Tensor) -> Tensor:
    return best_weights(scores_R, group_R) if sft_weights_R is None else sft_weights_R
