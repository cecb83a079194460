import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.errors import ConfigError
from align.text.collate import Group, Size, Totals, collate, plan_batches

EOS = 1


def group(prompt, *responses, scores=None):
    k = len(responses)
    return Group("p", prompt, list(responses), scores or [0.0] * k, [False] * k, [1 / k] * k)


def plan(sizes, **options):
    given = {"global_batch_size": 4, "max_tokens_per_batch": 10**6, "world_size": 1, "seed": 0, "epochs": 1}
    return plan_batches(sizes, **(given | options))


sizes = st.lists(st.builds(Size, rows=st.integers(1, 6), length=st.integers(2, 40)), min_size=1, max_size=60)


@given(sizes, st.integers(1, 9), st.integers(240, 600), st.integers(1, 3), st.integers(0, 5))
def test_a_step_is_the_same_groups_however_it_is_cut(rows, batch, budget, world, seed):
    whole = plan(rows, global_batch_size=batch, seed=seed, epochs=2)
    cut = plan(rows, global_batch_size=batch, seed=seed, epochs=2, max_tokens_per_batch=budget, world_size=world)
    assert cut.steps == whole.steps
    assert len(cut.micro_batches) == len(cut.steps) * cut.accumulation * world
    for number, step in enumerate(cut.steps):
        parts = [part for at, part in cut.micro_batches if at == number]
        assert len(parts) == cut.accumulation * world
        assert sorted(i for part in parts for i in part) == sorted(step)
        for part in filter(None, parts):
            assert sum(rows[i].rows for i in part) * max(rows[i].length for i in part) <= budget


@given(st.integers(1, 30), st.integers(1, 8))
def test_an_epoch_draws_every_group_once(count, batch):
    found = plan([Size(1, 5)] * count, global_batch_size=batch, epochs=3).steps
    per_epoch = -(-count // batch)
    assert len(found) == 3 * per_epoch
    for epoch in range(3):
        drawn = [i for step in found[epoch * per_epoch : (epoch + 1) * per_epoch] for i in step]
        assert sorted(drawn) == list(range(count))


def test_every_rank_works_before_one_gets_nothing():
    parts = plan([Size(1, 5)] * 4, world_size=2).micro_batches
    assert all(groups for _, groups in parts)


def test_max_steps_runs_over_epochs():
    assert len(plan([Size(1, 5)] * 6, max_steps=7).steps) == 7


def test_a_group_that_does_not_fit_is_refused_with_the_budget_it_needs():
    with pytest.raises(ConfigError, match="at least 180"):
        plan([Size(6, 30)], max_tokens_per_batch=100)


def test_pad_may_be_the_eos_and_the_eos_stays_a_target():
    batch = collate([group([5, 6], [7, EOS]), group([5], [7, 8, 9, EOS])], Totals(2, 1, 1), pad_id=EOS)
    assert batch["targets_N"].tolist() == [7, EOS, 7, 8, 9, EOS]
    assert batch["attention_mask"].sum(1).tolist() == [3, 4]


def test_each_target_is_predicted_from_the_token_before_it():
    groups = [group([5, 6], [7, EOS], [8, 9, EOS]), group([4], [3, EOS])]
    batch = collate(groups, Totals(2, 1, 1), pad_id=0)
    before = batch["input_ids"].flatten()[batch["predict_N"]].tolist()
    assert before == [6, 7, 6, 8, 9, 4, 3]
    assert batch["response_N"].tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert batch["group_R"].tolist() == [0, 0, 1]


def test_denominators_count_the_whole_step():
    groups = [group([5], [7, EOS], [8, 9, EOS], scores=[1.0, 0.0]), group([4], [3, EOS], [4, EOS], scores=[1.0, 1.0])]
    assert Totals.of(groups) == Totals(groups=2, pairs=1, tokens=2.5 + 2)


def test_an_empty_micro_batch_orders_nothing_and_targets_nothing():
    batch = collate([], Totals(1, 1, 1), pad_id=0)
    assert not batch["sft_weights_R"].any()
    assert len(batch["scores_R"]) == 1
