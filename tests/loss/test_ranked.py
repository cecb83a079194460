import math
from functools import partial

import pytest
import torch

from align.loss import lipo_loss, listmle_loss, rrhf_loss, rrtf_loss

GROUP = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
SCORES = torch.tensor([1.0, 0.5, 0.5, 0.0, 1.0, 0.3, 0.3, 0.3, 0.3], dtype=torch.float64)
TEACHER = torch.tensor([True, False, False, True, False, False, False, True, False])


@pytest.fixture
def batch():
    torch.manual_seed(0)
    lengths = torch.tensor([4, 2, 7, 3, 3, 5, 1, 2, 2])
    sums = -torch.rand(9, dtype=torch.float64) * 5 * lengths
    return sums.requires_grad_(), lengths, SCORES, GROUP


def rank_by_loops(sums, lengths, scores, group, *, weighted, teacher=None):
    total = 0.0
    for i in range(len(sums)):
        for j in range(len(sums)):
            allowed = teacher is None or (bool(teacher[i]) and not teacher[j])
            if group[i] == group[j] and scores[i] > scores[j] and allowed:
                weight = float(scores[i] - scores[j]) if weighted else 1.0
                total += weight * max(0.0, float(sums[j] / lengths[j] - sums[i] / lengths[i]))
    return total


def sft_by_loops(sums, lengths, scores, group):
    loss = tokens = 0.0
    for g in range(3):
        members = [i for i in range(len(sums)) if group[i] == g]
        best = [i for i in members if scores[i] == max(scores[k] for k in members)]
        loss -= sum(float(sums[i]) for i in best) / len(best)
        tokens += sum(float(lengths[i]) for i in best) / len(best)
    return loss / tokens


def test_the_papers_vector():
    sums = torch.tensor([-0.5 * 4, -0.8 * 2])
    found = rrtf_loss(sums, torch.tensor([4, 2]), torch.tensor([1.0, 3.0]), torch.tensor([0, 0]))
    assert math.isclose(found.rank, 0.6, rel_tol=1e-6)


def test_rrtf_equals_a_double_loop(batch):
    found = rrtf_loss(*batch, rank_weight=0.7, sft_weight=0.2)
    assert math.isclose(found.rank, rank_by_loops(*batch, weighted=True) / 3, rel_tol=1e-12)
    assert math.isclose(found.sft, sft_by_loops(*batch), rel_tol=1e-12)
    assert math.isclose(found.total, 0.7 * found.rank + 0.2 * found.sft, rel_tol=1e-12)


def test_rrhf_equals_a_double_loop(batch):
    found = rrhf_loss(*batch)
    assert math.isclose(found.rank, rank_by_loops(*batch, weighted=False) / 3, rel_tol=1e-12)
    assert math.isclose(found.sft, sft_by_loops(*batch), rel_tol=1e-12)


def test_the_papers_pairs_are_a_teacher_above_a_student(batch):
    found = rrtf_loss(*batch, teacher_R=TEACHER)
    assert math.isclose(found.rank, rank_by_loops(*batch, weighted=True, teacher=TEACHER) / 3, rel_tol=1e-12)


def test_the_papers_sft_term_is_a_plain_sum_over_the_target(batch):
    sums, lengths, scores, group = batch
    targets = torch.zeros(9, dtype=torch.float64).index_fill(0, torch.tensor([0, 4, 7]), 1.0)
    found = rrtf_loss(sums, lengths, scores, group, sft_weights_R=targets, sft_reduction="groups")
    assert math.isclose(found.sft, -float(sums[[0, 4, 7]].sum()) / 3, rel_tol=1e-12)


def test_no_target_means_no_sft_term(batch):
    found = rrtf_loss(*batch, sft_weights_R=torch.zeros(9, dtype=torch.float64))
    assert found.sft == 0
    assert torch.isfinite(found.total)


def pairs_by_loops(scores, group):
    k = len(scores)
    return [(i, j) for i in range(k) for j in range(k) if group[i] == group[j] and scores[i] > scores[j]]


@pytest.mark.parametrize("pair_loss", ["hinge", "logistic"])
def test_a_margin_asks_for_distance(batch, pair_loss):
    sums, lengths, scores, group = batch
    mean = (sums / lengths).tolist()
    expected = 0.0
    for i, j in pairs_by_loops(scores, group):
        short = 0.4 - (mean[i] - mean[j])
        cost = max(0.0, short) if pair_loss == "hinge" else math.log(1 + math.exp(short))
        expected += float(scores[i] - scores[j]) * cost
    found = rrtf_loss(*batch, pair_loss=pair_loss, margin=0.4)
    assert math.isclose(found.rank, expected / 3, rel_tol=1e-12)


def test_a_hinge_ends_where_a_logistic_goes_on():
    lengths, scores, group = torch.tensor([4, 2]), torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    for pair_loss, going_on in (("hinge", False), ("logistic", True)):
        sums = torch.tensor([-1.0, -9.0], requires_grad=True)
        rrtf_loss(sums, lengths, scores, group, sft_weight=0.0, pair_loss=pair_loss).total.backward()
        assert bool(sums.grad.any()) is going_on


def test_the_padded_length_would_silence_the_papers_vector():
    sums, scores, group = torch.tensor([-0.5 * 4, -0.8 * 2]), torch.tensor([1.0, 3.0]), torch.tensor([0, 0])
    assert rrtf_loss(sums, torch.tensor([4, 4]), scores, group).rank == 0
    assert rrtf_loss(sums, torch.tensor([4, 2]), scores, group).rank > 0


@pytest.fixture
def ratio():
    torch.manual_seed(1)
    return torch.randn(9, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("reference", [True, False])
def test_listmle_equals_a_loop(batch, ratio, reference):
    sums, lengths, scores, group = batch
    implicit = [0.7 * float(x) for x in (ratio if reference else sums / lengths)]
    expected = 0.0
    for i in range(9):
        worse = [math.exp(implicit[j]) for j in range(9) if group[j] == group[i] and scores[j] < scores[i]]
        expected -= math.log(math.exp(implicit[i]) / (math.exp(implicit[i]) + sum(worse)))
    found = listmle_loss(*batch, log_ratio_R=ratio if reference else None, beta=0.7, sft_weight=0.3)
    assert math.isclose(found.rank, expected / 3, rel_tol=1e-12)
    assert math.isclose(found.total, found.rank + 0.3 * sft_by_loops(*batch), rel_tol=1e-12)


def test_listmle_is_the_plackett_luce_likelihood_where_all_scores_differ(ratio):
    """The probability of drawing the best first, then the next best of what is left, and so on."""
    weights = (0.5 * ratio[:4]).exp().tolist()
    likelihood = 1.0
    for k in range(4):
        likelihood *= weights[k] / sum(weights[k:])
    scores, zero = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.zeros(4, dtype=torch.long)
    found = listmle_loss(ratio[:4], zero + 1, scores, zero, log_ratio_R=ratio[:4], beta=0.5)
    assert math.isclose(found.rank, -math.log(likelihood), rel_tol=1e-12)


def test_two_responses_make_listmle_dpo(ratio):
    scores, zero = torch.tensor([1.0, 0.0]), torch.zeros(2, dtype=torch.long)
    found = listmle_loss(ratio[:2], zero + 1, scores, zero, log_ratio_R=ratio[:2], beta=0.5)
    assert math.isclose(found.rank, math.log(1 + math.exp(-0.5 * float(ratio[0] - ratio[1]))), rel_tol=1e-12)


def lipo_by_loops(ratio, scores, group, beta):
    implicit, total = [beta * float(x) for x in ratio], 0.0
    place = {}
    for g in range(3):
        members = [i for i in range(9) if group[i] == g]
        for at, i in enumerate(sorted(members, key=lambda i: (-implicit[i], -float(scores[i]))), 1):
            place[i] = at
    for i, j in pairs_by_loops(scores, group):
        gain = 2 ** float(scores[i]) - 2 ** float(scores[j])
        discount = abs(1 / math.log2(1 + place[i]) - 1 / math.log2(1 + place[j]))
        total += gain * discount * math.log(1 + math.exp(implicit[j] - implicit[i]))
    return total / 3


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["ordered", "all tied, as before the first update"])
def test_lipo_equals_a_loop(batch, ratio, scale):
    found = lipo_loss(*batch, log_ratio_R=scale * ratio, beta=0.7, sft_weight=0.3)
    assert math.isclose(found.rank, lipo_by_loops(scale * ratio, SCORES, GROUP, 0.7), rel_tol=1e-12)
    assert found.rank > 0
    assert math.isclose(found.total, found.rank + 0.3 * sft_by_loops(*batch), rel_tol=1e-12)


LISTWISE = [rrtf_loss, rrhf_loss, listmle_loss, lipo_loss]


def called(loss, batch, ratio, **options):
    """A loss on a batch, with the log-ratio where it takes one."""
    return loss(*batch, **options, **({"log_ratio_R": ratio} if loss in (listmle_loss, lipo_loss) else {}))


@pytest.mark.parametrize("loss", LISTWISE)
def test_ties_give_no_gradient(batch, ratio, loss):
    sums, lengths, _, group = batch
    tied = (sums, lengths, torch.ones(9, dtype=torch.float64), group)
    total = called(loss, tied, ratio, sft_weight=0.0).total
    found = torch.autograd.grad(total, (sums, ratio), allow_unused=True)
    assert not any(gradient.any() for gradient in found if gradient is not None)


@pytest.mark.parametrize("loss", LISTWISE)
def test_micro_batches_add_up_to_the_whole(batch, ratio, loss):
    whole = called(loss, batch, ratio, sft_weight=1.0).total
    weights = torch.tensor([1, 0, 0, 0, 1, 0.25, 0.25, 0.25, 0.25], dtype=torch.float64)
    tokens = float((weights * batch[1]).sum())
    parts = sum(
        called(
            loss,
            [part[m] for part in batch],
            ratio[m],
            sft_weight=1.0,
            sft_weights_R=weights[m],
            groups=3,
            tokens=tokens,
        ).total
        for m in (GROUP == 0, GROUP > 0)
    )
    assert math.isclose(parts, whole, rel_tol=1e-12)


@pytest.mark.parametrize("loss", LISTWISE)
@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_the_order_of_responses_does_not_matter(batch, ratio, loss, scale):
    order, ratio = torch.randperm(9), scale * ratio
    turned = called(loss, [part[order] for part in batch], ratio[order]).total
    assert math.isclose(turned, called(loss, batch, ratio).total, rel_tol=1e-12)


@pytest.mark.parametrize("loss", [*LISTWISE, partial(rrtf_loss, pair_loss="logistic", margin=0.3)])
def test_gradients_pass_gradcheck(batch, ratio, loss):
    sums, *rest = batch
    assert torch.autograd.gradcheck(lambda s, r: called(loss, (s, *rest), r).total, (sums, ratio))
