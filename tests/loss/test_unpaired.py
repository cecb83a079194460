import math

import pytest
import torch

from align.loss import kto_loss

LENGTH, SCORES, GROUP = torch.tensor([4, 2, 7]), torch.tensor([1.0, 0.0, 1.0]), torch.arange(3)
KL = torch.tensor(0.3, dtype=torch.float64)
OPTIONS = {"beta": 0.4, "desirable_weight": 1.3, "undesirable_weight": 0.7}


@pytest.fixture
def ratio():
    torch.manual_seed(0)
    return torch.randn(3, dtype=torch.float64, requires_grad=True)


def kto(ratio, keep=slice(None), **options):
    logp = -LENGTH[keep].double()
    return kto_loss(logp, LENGTH[keep], SCORES[keep], GROUP[keep], log_ratio_R=ratio[keep], kl=KL, **OPTIONS, **options)


def test_kto_equals_a_loop(ratio):
    expected = 0.0
    for d, label in zip(ratio.tolist(), SCORES.tolist(), strict=True):
        value = 1 / (1 + math.exp(-0.4 * (d - 0.3 if label else 0.3 - d)))
        expected += (1.3 if label else 0.7) * (1 - value)
    found = kto(ratio, sft_weight=0.5)
    assert math.isclose(found.preference, expected / 3, rel_tol=1e-12)
    assert math.isclose(found.sft, 1.0, rel_tol=1e-12)
    assert math.isclose(found.total, expected / 3 + 0.5, rel_tol=1e-12)


def test_micro_batches_add_up_to_the_whole(ratio):
    parts = sum(kto(ratio, keep, groups=3, tokens=11, sft_weight=1.0).total for keep in ([0, 1], [2]))
    assert math.isclose(parts, kto(ratio, sft_weight=1.0).total, rel_tol=1e-12)


def test_gradients_pass_gradcheck(ratio):
    assert torch.autograd.gradcheck(lambda r: kto(r).total, (ratio,))


def test_desirable_responses_rise_and_others_fall(ratio):
    (slope,) = torch.autograd.grad(kto(ratio).total, ratio)
    assert (slope < 0).tolist() == [True, False, True]
