"""Losses over pairs of responses: DPO and its relatives, against a reference model; SimPO and ORPO, without one.

Pure functions of tensors. A batch with two responses a prompt is the usual one; with more, every ordered pair of a
group counts. Denominators, shapes and what the losses share: `terms`. Not here: trl's `aot` (it sorts the whole batch,
so micro-batches do not add up) and `discopop`.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .terms import Count, better_weights, ordered_pairs, over_pairs, sft_term

LossType = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
]
"""trl's names."""
SMOOTHED = ("sigmoid", "robust", "exo_pair")
"""The loss types that `label_smoothing` has a meaning for; `exo_pair` needs it."""
PER_TOKEN = ("sigmoid_norm", "ipo")
"""The loss types that compare means over tokens."""


class PreferenceLoss(NamedTuple):
    """A loss and its parts, before their weights."""

    total: Tensor
    """The weighted sum of the parts."""
    preference: Tensor
    """Mean over pairs; for KTO over responses."""
    sft: Tensor
    """Negative log-likelihood of the chosen responses, per token."""


def dpo_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    log_ratio_R: Tensor,
    beta: float = 0.1,
    loss_type: LossType = "sigmoid",
    label_smoothing: float = 0.0,
    sft_weight: float = 0.0,
    sft_weights_R: Tensor | None = None,
    pairs: Count | None = None,
    tokens: Count | None = None,
) -> PreferenceLoss:
    """DPO (arXiv 2305.18290) and its relatives; d is the log-ratio of policy to reference, d̄ its mean over tokens.

    With m = β(d_w − d_l), w the chosen and l the rejected response, ε = label_smoothing:

    - sigmoid: −log σ(m), or with ε (1−ε)·(−log σ(m)) − ε·log σ(−m) (cDPO); sigmoid_norm: −log σ(β(d̄_w − d̄_l))
    - hinge (SLiC, arXiv 2305.10425): max(0, 1 − m); ipo (2310.12036): (d̄_w − d̄_l − 1/(2β))²
    - robust (2403.00409): ((1−ε)·(−log σ(m)) + ε·log σ(−m)) / (1 − 2ε)
    - exo_pair (2402.00856): σ(m)·log(σ(m)/(1−ε)) + σ(−m)·log(σ(−m)/ε)
    - nca_pair (2402.05369): −log σ(βd_w) − ½·log σ(−βd_w) − ½·log σ(−βd_l)
    - bco_pair (2404.04656): −log σ(βd_w) − log σ(−βd_l), without its running mean of rewards
    - sppo_hard (2405.00675): (d_w − 1/(2β))² + (d_l + 1/(2β))²
    - apo_zero, apo_down (2408.06266): σ(−βd_w) + σ(βd_l); σ(βd_w) + σ(−m)

    Args:
        logp_sum_R: summed log-probabilities under the policy; only the SFT term uses them.
        length_R: lengths in tokens.
        scores_R: any scores that order the responses of a group.
        group_R: index of the prompt that each one answers.
        log_ratio_R: d = Σ_t (policy − reference): take the difference by token, then sum.
        beta: strength of the reference.
        loss_type: one of `LossType`.
        label_smoothing: probability that a pair is labelled the wrong way round, for the loss types in `SMOOTHED`.
        sft_weight: weight of the likelihood term.
        sft_weights_R: its targets; by default the better response of every pair.
        pairs: pairs of the whole batch, where this is one of its micro-batches.
        tokens: Σ w·length of the whole batch.

    Raises:
        ValueError: label_smoothing with a loss type that has none, or none with one that needs it.
    """
    if label_smoothing and loss_type not in SMOOTHED:
        raise ValueError(f"label_smoothing has no meaning for loss_type {loss_type!r}")
    if not label_smoothing and loss_type == "exo_pair":
        raise ValueError("label_smoothing must be above 0 for loss_type 'exo_pair'")
    if loss_type in PER_TOKEN:
        log_ratio_R = log_ratio_R / length_R
    better_P, worse_P = ordered_pairs(scores_R, group_R)
    terms_P = _pair_terms(log_ratio_R[better_P], log_ratio_R[worse_P], beta, loss_type, label_smoothing)
    preference = over_pairs(terms_P, pairs)
    sft = sft_term(logp_sum_R, length_R, _targets(sft_weights_R, scores_R, group_R), tokens)
    return PreferenceLoss(preference + sft_weight * sft, preference, sft)


def simpo_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    beta: float = 2.0,
    simpo_gamma: float = 1.0,
    sft_weight: float = 0.0,
    sft_weights_R: Tensor | None = None,
    pairs: Count | None = None,
    tokens: Count | None = None,
) -> PreferenceLoss:
    """SimPO (arXiv 2405.14734): −log σ(β(p_w − p_l) − γ), p the mean log-probability of a response's tokens.

    Args, as in `dpo_loss`, and:
        beta: scale of the means; much larger than DPO's.
        simpo_gamma: γ, the margin of the scaled means; the paper tunes γ/β between 0 and 1.
    """
    better_P, worse_P = ordered_pairs(scores_R, group_R)
    mean_R = logp_sum_R / length_R
    preference = over_pairs(-F.logsigmoid(beta * (mean_R[better_P] - mean_R[worse_P]) - simpo_gamma), pairs)
    sft = sft_term(logp_sum_R, length_R, _targets(sft_weights_R, scores_R, group_R), tokens)
    return PreferenceLoss(preference + sft_weight * sft, preference, sft)


def orpo_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    beta: float = 0.1,
    sft_weight: float = 1.0,
    sft_weights_R: Tensor | None = None,
    pairs: Count | None = None,
    tokens: Count | None = None,
) -> PreferenceLoss:
    """ORPO (arXiv 2403.07691): likelihood of the chosen, plus β times −log σ of the log odds ratio.

    odds(y) = P̄/(1 − P̄) with log P̄ the mean log-probability of the tokens. The likelihood is of the response, where
    trl's and the authors' code take the prompt's too.

    Args, as in `dpo_loss`, and:
        beta: the paper's λ, as trl calls it: weight of the odds ratio.
    """
    better_P, worse_P = ordered_pairs(scores_R, group_R)
    odds_R = _log_odds(logp_sum_R / length_R)
    preference = over_pairs(-F.logsigmoid(odds_R[better_P] - odds_R[worse_P]), pairs)
    sft = sft_term(logp_sum_R, length_R, _targets(sft_weights_R, scores_R, group_R), tokens)
    return PreferenceLoss(beta * preference + sft_weight * sft, preference, sft)


def _pair_terms(chosen_P: Tensor, rejected_P: Tensor, beta: float, loss_type: LossType, smoothing: float) -> Tensor:
    """(P,) the loss of each pair, from d_w and d_l (d̄ for the types in `PER_TOKEN`)."""
    chosen_P, rejected_P = beta * chosen_P, beta * rejected_P
    margin_P = chosen_P - rejected_P
    right_P, wrong_P = -F.logsigmoid(margin_P), -F.logsigmoid(-margin_P)
    match loss_type:
        case "sigmoid" | "sigmoid_norm":
            return (1 - smoothing) * right_P + smoothing * wrong_P
        case "robust":
            return ((1 - smoothing) * right_P - smoothing * wrong_P) / (1 - 2 * smoothing)
        case "exo_pair":
            agreed_P = margin_P.sigmoid() * (-right_P - math.log1p(-smoothing))
            return agreed_P + (-margin_P).sigmoid() * (-wrong_P - math.log(smoothing))
        case "hinge":
            return (1 - margin_P).clamp(min=0)
        case "ipo":
            return ((margin_P - 0.5) / beta).square()
        case "sppo_hard":
            return ((chosen_P - 0.5) / beta).square() + ((rejected_P + 0.5) / beta).square()
        case "nca_pair":
            return -F.logsigmoid(chosen_P) - 0.5 * (F.logsigmoid(-chosen_P) + F.logsigmoid(-rejected_P))
        case "bco_pair":
            return -F.logsigmoid(chosen_P) - F.logsigmoid(-rejected_P)
        case "apo_zero":
            return (-chosen_P).sigmoid() + rejected_P.sigmoid()
        case "apo_down":
            return chosen_P.sigmoid() + (-margin_P).sigmoid()


def _log_odds(logp_R: Tensor) -> Tensor:
    """log(P/(1 − P)) from log P."""
    # a response that is certain to rounding has no finite odds
    logp_R = logp_R.clamp(max=-torch.finfo(logp_R.dtype).eps)
    return logp_R - torch.log(-torch.expm1(logp_R))


def _targets(sft_weights_R: Tensor | None, scores_R: Tensor, group_R: Tensor) -> Tensor:
    return better_weights(scores_R, group_R) if sft_weights_R is None else sft_weights_R
