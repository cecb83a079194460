"""Sets of solved problems."""

from hypothesis import given
from hypothesis import strategies as st

from align.report.solved import EXAMPLES, solved

from .conftest import sample


def scored(passes: dict[str, list[list[bool]]]):
    """Samples of each model: problem × sample."""
    answers = [
        sample(model, f"p{number}", passed, index=index)
        for model, problems in passes.items()
        for number, samples in enumerate(problems)
        for index, passed in enumerate(samples)
    ]
    return solved(list(passes), answers)


def test_fixed_and_broken_show_a_program_that_fails_beside_one_that_passes():
    found = scored({"a": [[False], [True], [True]], "b": [[True], [False], [True]]})
    (change,) = found.changes
    assert (change.fixed, change.broken) == (1, 1)
    (fixed,), (broken,) = change.fixed_examples, change.broken_examples
    assert (fixed.problem_id, fixed.before.passed, fixed.after.passed) == ("p0", False, True)
    assert (broken.problem_id, broken.before.passed, broken.after.passed) == ("p1", True, False)
    assert found.shown == {"p0", "p1"}


def test_with_several_samples_a_problem_is_solved_if_more_than_half_pass():
    found = scored({"a": [[True, True, False], [True, False]]})
    assert found.by["a"] == {"p0"}
    assert found.by_any == 1


def test_only_the_first_examples_are_kept_but_all_are_counted():
    found = scored({"a": [[False]] * 30, "b": [[True]] * 30})
    assert found.changes[0].fixed == 30
    assert [example.problem_id for example in found.changes[0].fixed_examples] == [f"p{i}" for i in range(EXAMPLES)]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_what_was_fixed_and_broken_accounts_for_the_difference_of_the_sets(pairs):
    found = scored({"a": [[one] for one, _ in pairs], "b": [[other] for _, other in pairs]})
    (change,) = found.changes
    assert change.fixed + found.both("a", "b") == len(found.by["b"])
    assert change.broken + found.both("a", "b") == len(found.by["a"])
    assert found.both("a", "b") == found.both("b", "a")
