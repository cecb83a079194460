"""Every section on micro-batches of made-up log-probabilities; the losses themselves are tested in tests/loss."""

import inspect
import math

import pytest
import torch

from align.errors import StageError
from align.loss import LOSSES as FUNCTIONS
from align.loss import ResponseLogprobs
from align.text.collate import Group, Totals, collate
from align.train.objective import check_start, objective
from align.train.policy import Output
from align.train.settings import LOSSES, Dpo, ListMle, Rrtf, figure_names

SECTIONS = [section(name=name) for name, section in LOSSES.items()]
SECTIONS += [Rrtf(name="rrtf", mode="paper"), ListMle(name="listmle", reference_free=True), None]
IDS = [*LOSSES, "rrtf paper", "listmle free", "sft"]


def groups(reads):
    torch.manual_seed(0)

    def group(number, scores):
        responses = [torch.randint(1, 9, (2 + (number + i) % 3,)).tolist() for i in range(len(scores))]
        weights = [float(score == max(scores) > 0) for score in scores]
        return Group(f"p{number}", [1, 2], responses, scores, [i == 0 for i in range(len(scores))], weights)

    if reads == "unpaired":
        return [group(n, [float(n % 2)]) for n in range(6)]
    return [group(n, [1.0, 0.0] if reads == "pairs" else [1.0, 0.5, 0.5, 0.0][: 2 + n % 3]) for n in range(6)]


def said(group, reference=False):
    """(tokens,) log-probabilities that depend on nothing but the group."""
    count = sum(map(len, group.responses))
    generator = torch.Generator().manual_seed(int(group.problem_id[1:]) + 100 * reference)
    return -3 * torch.rand(count, generator=generator)


def step(section, members, totals, same=False):
    """The objective on one micro-batch; `same`: the policy is its reference."""
    reference = [said(group, reference=not same) for group in members] if section and section.needs_reference else None
    batch = collate(members, totals, pad_id=0, indices=range(len(members)), reference=reference)
    token = torch.cat([said(group) for group in members]) if members else torch.zeros(1)
    token.requires_grad_()
    length = torch.bincount(batch["response_N"])
    sums = torch.zeros(len(length)).index_add(0, batch["response_N"], token)
    if section and section.name == "kto":
        batch["kl"] = torch.tensor(0.1)
    return objective(section)(Output(ResponseLogprobs(sums, length, token), None), batch), token


@pytest.mark.parametrize("section", SECTIONS, ids=IDS)
def test_a_step_may_be_cut_anywhere(section):
    rows = groups(section.reads if section else "groups")
    totals = Totals.of(rows)
    whole, _ = step(section, rows, totals)
    parts = [step(section, part, totals)[0] for part in (rows[:1], rows[1:4], rows[4:], [])]
    assert sum(float(part.loss) for part in parts) == pytest.approx(float(whole.loss), rel=1e-5)
    for name, part in whole.parts.items():
        assert sum(float(p.parts[name]) for p in parts) == pytest.approx(float(part), rel=1e-5), name
    for name, (total, weight) in whole.figures.items():
        if name != "kl":
            assert sum(float(p.figures[name].total) for p in parts) == pytest.approx(float(total), rel=1e-4, abs=1e-5)
            assert sum(float(p.figures[name].weight) for p in parts) == pytest.approx(float(weight)), name


@pytest.mark.parametrize("section", SECTIONS, ids=IDS)
def test_the_names_of_what_is_measured_are_known_beforehand(section):
    rows = groups(section.reads if section else "groups")
    found, _ = step(section, rows, Totals.of(rows))
    assert {"loss", *found.figures, *(f"loss/{name}" for name in found.parts)} == set(figure_names(section))


@pytest.mark.parametrize("section", SECTIONS, ids=IDS)
def test_an_empty_micro_batch_has_no_loss_and_yet_a_gradient(section):
    found, token = step(section, [], Totals.of(groups(section.reads if section else "groups")))
    found.loss.backward()
    assert float(found.loss) == 0
    assert not token.grad.any()
    assert not any(float(weight) for name, (_, weight) in found.figures.items())


@pytest.mark.parametrize("section", SECTIONS[:-1], ids=IDS[:-1])
def test_only_a_policy_that_is_its_reference_may_start(section):
    rows = groups(section.reads)
    check_start(section, step(section, rows, Totals.of(rows), same=True)[0])
    apart, _ = step(section, rows, Totals.of(rows))
    if section.needs_reference:
        with pytest.raises(StageError, match="differs from its reference"):
            check_start(section, apart)
    else:
        check_start(section, apart)


def test_dpo_starts_at_ln_2():
    rows = groups("pairs")
    found, _ = step(Dpo(name="dpo"), rows, Totals.of(rows), same=True)
    assert math.isclose(found.parts["preference"], math.log(2), rel_tol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_section_sets_what_its_function_takes(name):
    """Every keyword is a setting or comes from the batch, never both, and the defaults are the same."""
    section, entry = LOSSES[name](name=name), FUNCTIONS[name]
    keywords = {key: p for key, p in inspect.signature(entry.function).parameters.items() if p.kind == p.KEYWORD_ONLY}
    options = section.options()
    assert not options.keys() & set(entry.takes)
    assert options.keys() | set(entry.takes) <= keywords.keys()
    unset = keywords.keys() - options.keys() - set(entry.takes) - {"teacher_R", "log_ratio_R", "weighted"}
    assert unset == ({"pair_loss", "margin", "sft_reduction"} if name == "rrhf" else set())
    assert options == {key: keywords[key].default for key in options}
    assert entry.reference is (section.needs_reference and name != "listmle")


def test_paper_mode_is_a_teacher_above_a_student_and_a_plain_sum():
    rows = groups("groups")
    found, _ = step(Rrtf(name="rrtf", mode="paper"), rows, Totals.of(rows))
    expected = 0.0
    for group in rows:
        sums = [part.sum() for part in said(group).split([len(r) for r in group.responses])]
        mean = [float(s) / len(r) for s, r in zip(sums, group.responses, strict=True)]
        expected += sum((1 - group.scores[j]) * max(0.0, mean[j] - mean[0]) for j in range(1, len(mean))) / 6
        expected -= float(sums[0]) / 6
    assert float(found.loss) == pytest.approx(expected, rel=1e-5)
