"""What training is watched by: means over pairs, groups or responses, as sums that micro-batches and ranks add up to.

Names are trl's where it has them. "Implicit score" is what a loss orders responses by: β·log-ratio where there is a
reference, else the (scaled) mean log-probability of a response's tokens. Shape suffixes as in `loss`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..loss import ResponseLogprobs
from ..loss.terms import best_weights, ordered_pairs


class Figure(NamedTuple):
    """A mean to log, as a sum and a weight."""

    total: Tensor
    weight: Tensor


Figures = dict[str, Figure]


def end_figures(logp: ResponseLogprobs, targets_R: Tensor) -> Figures:
    """`eos`: the probability of the EOS at its place, a mean over the responses that are a target of the SFT term."""
    last_R = logp.token.detach()[logp.length.cumsum(0) - 1]
    return {"eos": _weighted(last_R.exp(), (targets_R > 0).to(last_R.dtype))}


def reward_figures(implicit_R: Tensor, logp: ResponseLogprobs, better_P: Tensor, worse_P: Tensor) -> Figures:
    """trl's figures of pairs: implicit scores ("rewards") and summed log-probabilities."""
    chosen_P, rejected_P, sum_R = implicit_R[better_P], implicit_R[worse_P], logp.sum.detach()
    return {
        "rewards/chosen": _mean(chosen_P),
        "rewards/rejected": _mean(rejected_P),
        "rewards/accuracies": _mean((chosen_P > rejected_P).to(chosen_P.dtype)),
        "rewards/margins": _mean(chosen_P - rejected_P),
        "logps/chosen": _mean(sum_R[better_P]),
        "logps/rejected": _mean(sum_R[worse_P]),
    }


def label_figures(implicit_R: Tensor, logp: ResponseLogprobs, scores_R: Tensor, kl: Tensor) -> Figures:
    """trl's figures of labelled responses: chosen are the desirable ones; `kl` is KTO's estimate."""
    chosen_R = (scores_R > 0).to(implicit_R.dtype)
    rejected_R, sum_R = 1 - chosen_R, logp.sum.detach()
    return {
        "rewards/chosen": _weighted(implicit_R, chosen_R),
        "rewards/rejected": _weighted(implicit_R, rejected_R),
        "logps/chosen": _weighted(sum_R, chosen_R),
        "logps/rejected": _weighted(sum_R, rejected_R),
        "kl": Figure(kl, torch.ones_like(kl)),
    }


def likelihood_figures(logp: ResponseLogprobs, scores_R: Tensor, group_R: Tensor) -> Figures:
    """Mean log-probability of a token of the best and the worst responses of each group that has an order."""
    mean_R = (logp.sum / logp.length).detach()
    ordered_R = torch.zeros_like(mean_R).index_fill(0, torch.cat(ordered_pairs(scores_R, group_R)), 1.0)
    best = _weighted(mean_R, best_weights(scores_R, group_R) * ordered_R)
    worst = _weighted(mean_R, best_weights(-scores_R, group_R) * ordered_R)
    return {"logps/best": best, "logps/worst": worst, "logps/margins": Figure(best.total - worst.total, best.weight)}


def rank_figures(implicit_R: Tensor, scores_R: Tensor, group_R: Tensor, better_P: Tensor, worse_P: Tensor) -> Figures:
    """How far the implicit scores keep to the order of the scores.

    `rank/accuracies`: share of the compared pairs in order. `rank/kendall_tau`: τ-b within each group, a mean over the
    groups that have an order; 0 where the implicit scores have none.
    """
    sign_RR, implicit_RR = _signs(scores_R, group_R), _signs(implicit_R, group_R)
    # a response belongs to one group: sums over a group's rows, each at its group's number
    sums_3G = torch.stack([sign_RR * implicit_RR, sign_RR.abs(), implicit_RR.abs()]).sum(2)
    agreed_G, ordered_G, told_G = torch.zeros_like(sums_3G).index_add(1, group_R, sums_3G)
    tau_G = agreed_G / (ordered_G * told_G).sqrt().clamp(min=1)
    return {
        "rank/accuracies": _mean((implicit_R[better_P] > implicit_R[worse_P]).to(implicit_R.dtype)),
        "rank/kendall_tau": _weighted(tau_G, (ordered_G > 0).to(tau_G.dtype)),
    }


def length_figures(implicit_R: Tensor, length_R: Tensor, group_R: Tensor) -> Figures:
    """`length_correlation`: whether the implicit score favours long responses.

    Of the pairs of one group that differ in length, the share in which the longer one scores higher, less the share in
    which it scores lower: −1 to 1 (Goodman and Kruskal's γ, with ties of the implicit score as 0). Within groups, since
    prompts differ in what lengths they ask for; over pairs, so that it adds up.
    """
    length_RR = _signs(length_R.to(implicit_R.dtype), group_R)
    total = (length_RR * _signs(implicit_R, group_R)).sum() / 2
    return {"length_correlation": Figure(total, length_RR.abs().sum() / 2)}


def _signs(values_R: Tensor, group_R: Tensor) -> Tensor:
    """(R, R) 1 where the row's value is above the column's, −1 below, 0 for ties and across groups."""
    return torch.sign(values_R[:, None] - values_R[None, :]) * (group_R[:, None] == group_R[None, :])


def _mean(values: Tensor) -> Figure:
    return Figure(values.sum(), values.new_tensor(float(len(values))))


def _weighted(values: Tensor, weights: Tensor) -> Figure:
    return Figure((values * weights).sum(), weights.sum())
