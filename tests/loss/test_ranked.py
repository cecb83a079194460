import math

import pytest
import torch

from align.loss import rrhf_loss, rrtf_loss

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


def test_equal_scores_give_no_gradient(batch):
    sums, lengths, _, group = batch
    found = rrtf_loss(sums, lengths, torch.ones(9, dtype=torch.float64), group, sft_weight=0.0)
    (gradient,) = torch.autograd.grad(found.total, sums)
    assert not gradient.any()


def test_no_target_means_no_sft_term(batch):
    found = rrtf_loss(*batch, sft_weights_R=torch.zeros(9, dtype=torch.float64))
    assert found.sft == 0
    assert torch.isfinite(found.total)


@pytest.mark.parametrize("loss", [rrtf_loss, rrhf_loss])
def test_micro_batches_add_up_to_the_whole(batch, loss):
    sums, lengths, scores, group = batch
    whole = loss(*batch).total
    weights = torch.tensor([1, 0, 0, 0, 1, 0.25, 0.25, 0.25, 0.25], dtype=torch.float64)
    tokens = float((weights * lengths).sum())
    parts = sum(
        loss(sums[m], lengths[m], scores[m], group[m], sft_weights_R=weights[m], groups=3, tokens=tokens).total
        for m in (group == 0, group > 0)
    )
    assert math.isclose(parts, whole, rel_tol=1e-12)


@pytest.mark.parametrize("loss", [rrtf_loss, rrhf_loss])
def test_the_order_of_responses_does_not_matter(batch, loss):
    order = torch.randperm(9)
    assert math.isclose(loss(*(part[order] for part in batch)).total, loss(*batch).total, rel_tol=1e-12)


@pytest.mark.parametrize("loss", [rrtf_loss, rrhf_loss])
def test_gradients_pass_gradcheck(batch, loss):
    sums, *rest = batch
    assert torch.autograd.gradcheck(lambda s: loss(s, *rest).total, (sums,))
