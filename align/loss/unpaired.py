"""The loss over single labelled responses: KTO. Pure functions of tensors; denominators and shapes: `terms`."""

from torch import Tensor

from .preference import PreferenceLoss
from .terms import Count, over_groups, sft_term


def kto_loss(
    logp_sum_R: Tensor,
    length_R: Tensor,
    scores_R: Tensor,
    group_R: Tensor,
    *,
    log_ratio_R: Tensor,
    kl: Tensor,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    sft_weight: float = 0.0,
    sft_weights_R: Tensor | None = None,
    groups: Count | None = None,
    tokens: Count | None = None,
) -> PreferenceLoss:
    """KTO (arXiv 2402.01306): λ_y·(1 − σ(±β(d − z))), + for a desirable response, − for an undesirable one.

    Args, as in `dpo_loss`, and:
        scores_R: 1 for desirable, 0 for not.
        group_R: each row its own group.
        kl: z, a scalar: the mean log-ratio, at least 0 and without gradient, of responses to prompts that they do not
            answer, over the whole optimizer step; as trl takes it, each row's prompt with its neighbour's response.
        desirable_weight: λ of desirable responses; the paper wants λ · number within 1 to 4/3 of the others'.
        undesirable_weight: λ of undesirable ones.
        sft_weights_R: by default the desirable responses.
        groups: rows of the whole batch.
    """
    desirable_R = (scores_R > 0).to(log_ratio_R.dtype)
    sign_R = 2 * desirable_R - 1
    weight_R = desirable_weight * desirable_R + undesirable_weight * (1 - desirable_R)
    # 1 − σ(x) = σ(−x), without the cancellation
    preference = over_groups(weight_R * (-sign_R * beta * (log_ratio_R - kl)).sigmoid(), group_R, groups)
    weights_R = desirable_R if sft_weights_R is None else sft_weights_R
    sft = sft_term(logp_sum_R, length_R, weights_R, tokens)
    return PreferenceLoss(preference + sft_weight * sft, preference, sft)
