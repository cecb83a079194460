import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.errors import ConfigError
from align.text.plan import Size, plan_batches


def plan(sizes, **options):
    given = {"global_batch_size": 4, "max_tokens_per_batch": 10**6, "world_size": 1, "seed": 0, "epochs": 1}
    return plan_batches(sizes, **(given | options))


sizes = st.lists(
    st.builds(Size, rows=st.integers(1, 6), length=st.integers(2, 40), packed=st.integers(2, 240)),
    min_size=1,
    max_size=60,
)


def laid_out(part, layout):
    if layout == "grouped":
        return sum(size.packed for size in part)
    return sum(size.rows for size in part) * max(size.length for size in part)


@given(
    sizes,
    st.integers(1, 9),
    st.integers(240, 600),
    st.integers(1, 3),
    st.integers(0, 5),
    st.sampled_from(["plain", "grouped"]),
)
def test_a_step_is_the_same_groups_however_it_is_cut(rows, batch, budget, world, seed, layout):
    whole = plan(rows, global_batch_size=batch, seed=seed, epochs=2)
    options = {"max_tokens_per_batch": budget, "world_size": world, "layout": layout}
    cut = plan(rows, global_batch_size=batch, seed=seed, epochs=2, **options)
    assert cut.steps == whole.steps
    assert len(cut.micro_batches) == len(cut.steps) * cut.accumulation * world
    for number, step in enumerate(cut.steps):
        parts = [part for at, part in cut.micro_batches if at == number]
        assert len(parts) == cut.accumulation * world
        assert sorted(i for part in parts for i in part) == sorted(step)
        for part in filter(None, parts):
            assert laid_out([rows[i] for i in part], layout) <= budget


@given(st.integers(1, 30), st.integers(1, 8))
def test_an_epoch_draws_every_group_once(count, batch):
    found = plan([Size(1, 5, 5)] * count, global_batch_size=batch, epochs=3).steps
    per_epoch = -(-count // batch)
    assert len(found) == 3 * per_epoch
    for epoch in range(3):
        drawn = [i for step in found[epoch * per_epoch : (epoch + 1) * per_epoch] for i in step]
        assert sorted(drawn) == list(range(count))


def test_every_rank_works_before_one_gets_nothing():
    parts = plan([Size(1, 5, 5)] * 4, world_size=2).micro_batches
    assert all(groups for _, groups in parts)


def test_max_steps_runs_over_epochs():
    assert len(plan([Size(1, 5, 5)] * 6, max_steps=7).steps) == 7


@pytest.mark.parametrize(("layout", "needed"), [("plain", 180), ("grouped", 110)])
def test_a_group_that_does_not_fit_is_refused_with_the_budget_it_needs(layout, needed):
    with pytest.raises(ConfigError, match=f"at least {needed}"):
        plan([Size(6, 30, 110)], max_tokens_per_batch=100, layout=layout)
