"""What the losses share: pairs, default targets, the likelihood term. Pure functions of tensors; no loss of its own.

Shape suffixes: R responses of a batch, P ordered pairs of one group. `group_R` says which prompt a response answers;
a group may have any number of them. Every term is a sum over a denominator: by default it counts the batch at hand, and
where the batch is one of several micro-batches the caller passes the count of the whole, so that the micro-batches'
losses add up to the whole's.
"""

import torch
from torch import Tensor

Count = int | float | Tensor
"""A denominator."""


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


def better_weights(scores_R: Tensor, group_R: Tensor) -> Tensor:
    """(R,) 1 for every response that some other one of its group is worse than, else 0."""
    better_P, _ = ordered_pairs(scores_R, group_R)
    return torch.zeros(scores_R.shape, device=scores_R.device).index_fill(0, better_P, 1.0)


def sft_term(logp_sum_R: Tensor, length_R: Tensor, weights_R: Tensor, tokens: Count | None) -> Tensor:
    """Σ w·(−Σ log P) ÷ Σ w·length: the mean over target tokens; 0 where nothing is a target."""
    whole = (weights_R * length_R).sum() if tokens is None else tokens
    return -(weights_R * logp_sum_R).sum() / torch.as_tensor(whole, device=logp_sum_R.device).clamp(min=1e-9)


def over_groups(terms: Tensor, group_R: Tensor, groups: Count | None) -> Tensor:
    """Σ terms ÷ groups."""
    return terms.sum() / (len(torch.unique(group_R)) if groups is None else groups)


def over_pairs(terms_P: Tensor, pairs: Count | None) -> Tensor:
    """Σ terms ÷ pairs; 0 where there is none."""
    return terms_P.sum() / (max(len(terms_P), 1) if pairs is None else pairs)
