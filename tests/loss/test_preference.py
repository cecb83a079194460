import math

import pytest
import torch

from align.loss import dpo_loss

LENGTH, SCORES, GROUP = torch.tensor([4, 2, 7, 3]), torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0, 0, 1, 1])


@pytest.fixture
def ratio():
    torch.manual_seed(0)
    return torch.randn(4, dtype=torch.float64, requires_grad=True)


def loss(ratio, **options):
    return dpo_loss(-ratio.detach().abs() - 1, ratio, LENGTH, SCORES, GROUP, **options)


def by_loop(ratio, beta, loss_type, smoothing):
    total = 0.0
    for w, lo in ((0, 1), (2, 3)):
        if loss_type == "ipo":
            total += float(ratio[w] / LENGTH[w] - ratio[lo] / LENGTH[lo] - 1 / (2 * beta)) ** 2
            continue
        x = beta * float(ratio[w] - ratio[lo])
        if loss_type == "hinge":
            total += max(0.0, 1 - x)
        else:
            total += (1 - smoothing) * math.log1p(math.exp(-x)) + smoothing * math.log1p(math.exp(x))
    return total / 2


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo", "hinge"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_every_loss_equals_a_loop(ratio, loss_type, smoothing):
    if smoothing and loss_type != "sigmoid":
        with pytest.raises(ValueError, match="label_smoothing"):
            loss(ratio, loss_type=loss_type, label_smoothing=smoothing)
        return
    found = loss(ratio, beta=0.3, loss_type=loss_type, label_smoothing=smoothing)
    assert math.isclose(found.preference, by_loop(ratio, 0.3, loss_type, smoothing), rel_tol=1e-12)


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo", "hinge"])
def test_gradients_pass_gradcheck(ratio, loss_type):
    assert torch.autograd.gradcheck(lambda r: loss(r, loss_type=loss_type).preference, (ratio,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_policy_that_is_its_reference_has_loss_ln_2(smoothing):
    found = loss(torch.zeros(4, dtype=torch.float64), label_smoothing=smoothing)
    assert math.isclose(found.preference, math.log(2), rel_tol=1e-12)


def test_the_sft_term_is_the_mean_over_the_chosen_tokens(ratio):
    found = loss(ratio, sft_weight=0.2)
    sums = -ratio.detach().abs() - 1
    assert math.isclose(found.sft, -float(sums[0] + sums[2]) / 11, rel_tol=1e-12)
    assert math.isclose(found.total, found.preference + 0.2 * found.sft, rel_tol=1e-12)


def test_micro_batches_add_up_to_the_whole(ratio):
    whole = loss(ratio, sft_weight=1.0).total
    sums = -ratio.detach().abs() - 1
    parts = sum(
        dpo_loss(sums[m], ratio[m], LENGTH[m], SCORES[m], GROUP[m], sft_weight=1.0, pairs=2, tokens=11).total
        for m in (GROUP == 0, GROUP == 1)
    )
    assert math.isclose(parts, whole, rel_tol=1e-12)
