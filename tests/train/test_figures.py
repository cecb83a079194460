import math

import pytest
import torch

from align.loss import ResponseLogprobs
from align.loss.terms import ordered_pairs
from align.train.figures import (
    end_figures,
    label_figures,
    length_figures,
    likelihood_figures,
    rank_figures,
    reward_figures,
)

GROUP = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
SCORES = torch.tensor([1.0, 0.5, 0.5, 0.0, 0.0, 1.0, 0.3, 0.3, 0.3])
IMPLICIT = torch.tensor([0.9, 0.2, 0.7, 0.2, 0.1, -0.4, 0.5, 0.1, 0.3])
LENGTH = torch.tensor([3, 2, 2, 4, 1, 2, 2, 5, 1])
GROUPS = [[0, 1, 2, 3], [4, 5], [6, 7, 8]]


@pytest.fixture
def logp():
    torch.manual_seed(0)
    token = -torch.rand(int(LENGTH.sum())) * 3
    response = torch.arange(9).repeat_interleave(LENGTH)
    return ResponseLogprobs(torch.zeros(9).index_add(0, response, token), LENGTH, token)


def means(figures):
    return {name: float(total / weight) for name, (total, weight) in figures.items()}


def sign(x):
    return (x > 0) - (x < 0)


def tau_by_loops(members):
    agreed = ordered = told = 0
    for i in members:
        for j in members:
            a, b = sign(float(SCORES[i] - SCORES[j])), sign(float(IMPLICIT[i] - IMPLICIT[j]))
            agreed, ordered, told = agreed + a * b, ordered + abs(a), told + abs(b)
    return agreed / math.sqrt(ordered * told) if ordered else None


def test_kendalls_tau_is_the_mean_over_groups_with_an_order():
    taus = [tau for members in GROUPS if (tau := tau_by_loops(members)) is not None]
    found = means(rank_figures(IMPLICIT, SCORES, GROUP, *ordered_pairs(SCORES, GROUP)))
    assert len(taus) == 2
    assert found["rank/kendall_tau"] == pytest.approx(sum(taus) / 2)
    assert found["rank/accuracies"] == pytest.approx(4 / 6)


def test_a_model_that_tells_nothing_apart_has_tau_0():
    found = means(rank_figures(torch.zeros(9), SCORES, GROUP, *ordered_pairs(SCORES, GROUP)))
    assert found == {"rank/accuracies": 0, "rank/kendall_tau": 0}


@pytest.mark.parametrize(("implicit", "expected"), [(LENGTH, 1), (-LENGTH, -1), (torch.zeros(9), 0)])
def test_length_correlation_shows_what_follows_length(implicit, expected):
    assert means(length_figures(implicit.float(), LENGTH, GROUP)) == {"length_correlation": expected}


def test_length_correlation_equals_a_loop():
    found = []
    for members in GROUPS:
        pairs = [(i, j) for i in members for j in members if LENGTH[i] > LENGTH[j]]
        found += [sign(float(IMPLICIT[i] - IMPLICIT[j])) for i, j in pairs]
    assert means(length_figures(IMPLICIT, LENGTH, GROUP))["length_correlation"] == pytest.approx(
        sum(found) / len(found)
    )


def test_best_and_worst_are_means_a_token_of_groups_with_an_order(logp):
    mean = (logp.sum / LENGTH).tolist()
    found = means(likelihood_figures(logp, SCORES, GROUP))
    assert found["logps/best"] == pytest.approx((mean[0] + mean[5]) / 2)
    assert found["logps/worst"] == pytest.approx((mean[3] + mean[4]) / 2)
    assert found["logps/margins"] == pytest.approx(found["logps/best"] - found["logps/worst"])


def test_eos_is_its_probability_at_the_end_of_the_targets(logp):
    targets = torch.tensor([0.5, 0.0, 0, 0, 0, 1.0, 0, 0, 0])
    ends = [LENGTH[: i + 1].sum() - 1 for i in (0, 5)]
    expected = sum(float(logp.token[end].exp()) for end in ends) / 2
    assert means(end_figures(logp, targets)) == {"eos": pytest.approx(expected)}


def test_labels_are_told_apart(logp):
    labels = torch.tensor([1.0, 0.0] * 4 + [1.0])
    found = means(label_figures(IMPLICIT, logp, labels, torch.tensor(0.2)))
    assert found["rewards/chosen"] == pytest.approx(float(IMPLICIT[::2].mean()))
    assert found["logps/rejected"] == pytest.approx(float(logp.sum[1::2].mean()))
    assert found["kl"] == pytest.approx(0.2)


def test_every_figure_adds_up_over_micro_batches(logp):
    def everything(keep):
        token = torch.cat([logp.token[LENGTH[:i].sum() : LENGTH[: i + 1].sum()] for i in keep.nonzero()[:, 0]])
        part = ResponseLogprobs(logp.sum[keep], LENGTH[keep], token)
        scores, group, implicit = SCORES[keep], GROUP[keep], IMPLICIT[keep]
        group = group - group.min()
        pairs = ordered_pairs(scores, group)
        return (
            end_figures(part, scores)
            | reward_figures(implicit, part, *pairs)
            | likelihood_figures(part, scores, group)
            | rank_figures(implicit, scores, group, *pairs)
            | length_figures(implicit, part.length, group)
        )

    whole = everything(GROUP >= 0)
    first, second = everything(GROUP == 0), everything(GROUP > 0)
    assert whole.keys() == first.keys() == second.keys()
    for name, (total, weight) in whole.items():
        assert float(first[name].total + second[name].total) == pytest.approx(float(total), rel=1e-5, abs=1e-6), name
        assert float(first[name].weight + second[name].weight) == pytest.approx(float(weight), abs=1e-6), name
