"""Losses over pairs of responses and a reference model: DPO, cDPO, IPO, hinge. Pure functions of tensors.

Shape suffixes as in `ranked`: R responses, P pairs. A batch with two responses a prompt is the usual one; with more,
every ordered pair of a group counts.
"""

import math
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from .ranked import Count, ordered_pairs, sft_term

LossType = Literal["sigmoid", "ipo", "hinge"]
"""trl's names."""


class PreferenceLoss(NamedTuple):
    """A loss and its parts, before their weights."""

    total: Tensor
    """preference + sft_weight · sft."""
    preference: Tensor
    """Mean over pairs."""
    sft: Tensor
    """Negative log-likelihood of the chosen responses, per token."""


def dpo_loss(
    logp_sum_R: Tensor,
    log_ratio_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    beta: float = 0.1,
    loss_type: LossType = "sigmoid",
    label_smoothing: float = 0.0,
    sft_weight: float = 0.0,
    sft_weights_R: Tensor | None = None,
    pairs: Count | None = None,
    tokens: Count | None = None,
) -> PreferenceLoss:
    """DPO and its relatives (arXiv 2305.18290), with d the log-ratio of policy to reference.

    sigmoid: −log σ(β(d_w − d_l)), with label_smoothing ε: (1−ε)·(that) + ε·(that with w and l swapped) (cDPO);
    ipo: (d̄_w − d̄_l − 1/(2β))² with d̄ per token; hinge: max(0, 1 − β(d_w − d_l)).

    Args:
        logp_sum_R: summed log-probabilities under the policy; only the SFT term uses them.
        log_ratio_R: Σ_t (policy − reference): take the difference by token, then sum.
        length_R: lengths in tokens.
        scores_R: any scores that order the responses of a group.
        group_R: index of the prompt that each one answers.
        beta: strength of the reference.
        loss_type: one of `LossType`.
        label_smoothing: probability that a pair is labelled the wrong way round; `sigmoid` only.
        sft_weight: weight of the likelihood term.
        sft_weights_R: its targets; by default the better response of every pair.
        pairs: pairs of the whole batch, where this is one of its micro-batches.
        tokens: Σ w·length of the whole batch.

    Raises:
        ValueError: label_smoothing with a loss that has none.
    """
    if label_smoothing and loss_type != "sigmoid":
        raise ValueError(f"label_smoothing has no meaning for loss_type {loss_type!r}")
    better_P, worse_P = ordered_pairs(scores_R, group_R)
    if loss_type == "ipo":
        log_ratio_R = log_ratio_R / length_R
    terms_P = preference_terms(log_ratio_R[better_P] - log_ratio_R[worse_P], beta, loss_type, label_smoothing)
    preference = terms_P.sum() / (max(len(terms_P), 1) if pairs is None else pairs)
    if sft_weights_R is None:
        sft_weights_R = log_ratio_R.new_zeros(len(scores_R)).index_fill(0, better_P, 1.0)
    sft = sft_term(logp_sum_R, length_R, sft_weights_R, tokens)
    return PreferenceLoss(preference + sft_weight * sft, preference, sft)


def preference_terms(margin_P: Tensor, beta: float, loss_type: LossType, label_smoothing: float = 0.0) -> Tensor:
    """(P,) the loss of each pair, given d_w − d_l (IPO: d̄_w − d̄_l)."""
    if loss_type == "ipo":
        return (margin_P - 1 / (2 * beta)).square()
    if loss_type == "hinge":
        return (1 - beta * margin_P).clamp(min=0)
    right_P, wrong_P = -F.logsigmoid(beta * margin_P), -F.logsigmoid(-beta * margin_P)
    return (1 - label_smoothing) * right_P + label_smoothing * wrong_P


def loss_without_ratio(beta: float, loss_type: LossType) -> float:
    """The loss of a pair while the policy equals its reference: ln 2 for DPO and cDPO."""
    return {"sigmoid": math.log(2), "ipo": 1 / (4 * beta * beta), "hinge": 1.0}[loss_type]
