import math
from typing import get_args

import pytest
import torch

from align.loss import dpo_loss, orpo_loss, simpo_loss
from align.loss.preference import SMOOTHED, LossType
from align.train.settings import Dpo

LENGTH, SCORES, GROUP = (
    torch.tensor([4, 2, 7, 3, 5]),
    torch.tensor([1.0, 0.0, 1.0, 0.0, 0.5]),
    torch.tensor([0, 0, 1, 1, 1]),
)
PAIRS = [(0, 1), (2, 3), (2, 4), (4, 3)]
"""(better, worse)."""
BETA = 0.3
CASES = [(name, 0.2 if name == "exo_pair" else 0.0) for name in get_args(LossType)] + [
    ("sigmoid", 0.2),
    ("robust", 0.2),
]


@pytest.fixture
def sums():
    torch.manual_seed(0)
    return (-torch.rand(5, dtype=torch.float64) * 4 * LENGTH).requires_grad_()


@pytest.fixture
def ratio():
    torch.manual_seed(0)
    return torch.randn(5, dtype=torch.float64, requires_grad=True)


def dpo(sums, ratio, **options):
    return dpo_loss(sums, LENGTH, SCORES, GROUP, log_ratio_R=ratio, **options)


def sigma(x):
    return 1 / (1 + math.exp(-x))


def pair(name, w, lo, mean_w, mean_l, e):
    """A pair's loss in plain numbers, as its paper has it; `w`, `lo` are the log-ratios."""
    m = BETA * (w - lo)
    return {
        "sigmoid": lambda: -(1 - e) * math.log(sigma(m)) - e * math.log(sigma(-m)),
        "sigmoid_norm": lambda: -math.log(sigma(BETA * (mean_w - mean_l))),
        "hinge": lambda: max(0.0, 1 - m),
        "ipo": lambda: (mean_w - mean_l - 1 / (2 * BETA)) ** 2,
        "robust": lambda: (-(1 - e) * math.log(sigma(m)) + e * math.log(sigma(-m))) / (1 - 2 * e),
        "exo_pair": lambda: sigma(m) * math.log(sigma(m) / (1 - e)) + sigma(-m) * math.log(sigma(-m) / e),
        "nca_pair": lambda: (
            -math.log(sigma(BETA * w)) - 0.5 * math.log(sigma(-BETA * w)) - 0.5 * math.log(sigma(-BETA * lo))
        ),
        "bco_pair": lambda: -math.log(sigma(BETA * w)) - math.log(sigma(-BETA * lo)),
        "sppo_hard": lambda: (w - 0.5 / BETA) ** 2 + (lo + 0.5 / BETA) ** 2,
        "apo_zero": lambda: 1 - sigma(BETA * w) + sigma(BETA * lo),
        "apo_down": lambda: sigma(BETA * w) + 1 - sigma(m),
    }[name]()


@pytest.mark.parametrize(("loss_type", "smoothing"), CASES)
def test_every_loss_type_equals_a_loop(sums, ratio, loss_type, smoothing):
    d, mean = ratio.tolist(), (ratio / LENGTH).tolist()
    expected = sum(pair(loss_type, d[w], d[lo], mean[w], mean[lo], smoothing) for w, lo in PAIRS) / len(PAIRS)
    found = dpo(sums, ratio, beta=BETA, loss_type=loss_type, label_smoothing=smoothing)
    assert math.isclose(found.preference, expected, rel_tol=1e-12)


def test_simpo_equals_a_loop(sums):
    mean = (sums / LENGTH).tolist()
    expected = sum(-math.log(sigma(2.5 * (mean[w] - mean[lo]) - 0.7)) for w, lo in PAIRS) / len(PAIRS)
    found = simpo_loss(sums, LENGTH, SCORES, GROUP, beta=2.5, simpo_gamma=0.7)
    assert math.isclose(found.preference, expected, rel_tol=1e-12)


def test_orpo_equals_a_loop(sums):
    odds = [math.log(p / (1 - p)) for p in (sums / LENGTH).exp().tolist()]
    expected = sum(-math.log(sigma(odds[w] - odds[lo])) for w, lo in PAIRS) / len(PAIRS)
    found = orpo_loss(sums, LENGTH, SCORES, GROUP, beta=0.4)
    assert math.isclose(found.preference, expected, rel_tol=1e-12)
    assert math.isclose(found.total, found.sft + 0.4 * expected, rel_tol=1e-12)


def test_a_response_that_is_certain_has_finite_odds():
    sums = torch.tensor([0.0, -3.0], requires_grad=True)
    orpo_loss(sums, torch.tensor([4, 3]), SCORES[:2], GROUP[:2]).total.backward()
    assert torch.isfinite(sums.grad).all()


@pytest.mark.parametrize("loss_type", [name for name in get_args(LossType) if name not in SMOOTHED])
def test_label_smoothing_is_refused_where_it_would_be_ignored(sums, ratio, loss_type):
    with pytest.raises(ValueError, match="label_smoothing has no meaning"):
        dpo(sums, ratio, loss_type=loss_type, label_smoothing=0.1)


def test_exo_without_label_smoothing_is_refused(sums, ratio):
    with pytest.raises(ValueError, match="label_smoothing must be above 0"):
        dpo(sums, ratio, loss_type="exo_pair")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_policy_that_is_its_reference_has_loss_ln_2(sums, ratio, smoothing):
    found = dpo(sums, 0 * ratio, label_smoothing=smoothing)
    assert math.isclose(found.preference, math.log(2), rel_tol=1e-12)


def test_the_sft_term_is_the_mean_over_the_better_responses_tokens(sums, ratio):
    found = dpo(sums, ratio, sft_weight=0.2)
    assert math.isclose(found.sft, -float(sums[0] + sums[2] + sums[4]) / (4 + 7 + 5), rel_tol=1e-12)
    assert math.isclose(found.total, found.preference + 0.2 * found.sft, rel_tol=1e-12)


LOSSES = [
    *[
        lambda s, n, r, g, d, name=name, e=e, **o: dpo_loss(
            s, n, r, g, log_ratio_R=d, loss_type=name, label_smoothing=e, beta=BETA, **o
        )
        for name, e in CASES
    ],
    lambda s, n, r, g, d, **o: simpo_loss(s, n, r, g, **o),
    lambda s, n, r, g, d, **o: orpo_loss(s, n, r, g, **o),
]
NAMES = [f"{name}-{e}" for name, e in CASES] + ["simpo", "orpo"]


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_micro_batches_add_up_to_the_whole(sums, ratio, loss):
    whole = loss(sums, LENGTH, SCORES, GROUP, ratio, sft_weight=1.0).total
    parts = sum(
        loss(sums[m], LENGTH[m], SCORES[m], GROUP[m], ratio[m], sft_weight=1.0, pairs=4, tokens=16).total
        for m in (GROUP == 0, GROUP == 1)
    )
    assert math.isclose(parts, whole, rel_tol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_ties_give_no_gradient(sums, ratio, loss):
    total = loss(sums, LENGTH, torch.ones(5), GROUP, ratio).total
    found = torch.autograd.grad(total, (sums, ratio), allow_unused=True)
    assert not any(gradient.any() for gradient in found if gradient is not None)


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_gradients_pass_gradcheck(sums, ratio, loss):
    assert torch.autograd.gradcheck(lambda s, d: loss(s, LENGTH, SCORES, GROUP, d, sft_weight=0.5).total, (sums, ratio))


def test_recipes_know_the_loss_types_that_there_are():
    assert get_args(Dpo.model_fields["loss_type"].annotation) == get_args(LossType)
    for name in get_args(LossType):
        found = {"name": "dpo", "loss_type": name, "label_smoothing": 0.1}
        if name in SMOOTHED:
            Dpo(**found)
        else:
            with pytest.raises(ValueError, match="no meaning"):
                Dpo(**found)
