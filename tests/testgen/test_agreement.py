"""Agreement among few programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.testgen.agreement import Agreement, agreement, call_of
from align.testgen.consensus import top
from align.testgen.matrix import OutcomeMatrix


def made(outcomes: list[str], returned: list[str] | None = None, counts: tuple[int, ...] = ()) -> OutcomeMatrix:
    """A matrix whose digests are given by a letter each, `-` for none."""
    width = len(outcomes[0]) if outcomes else 0
    return OutcomeMatrix(
        problem_id="p",
        cases=tuple(f"assert f({number}) == 0" for number in range(width)),
        case_counts=(1,) * width,
        programs=tuple(f"x = {number}" for number in range(len(outcomes))),
        program_counts=counts or (1,) * len(outcomes),
        outcomes=tuple(outcomes),
        returned=tuple("".join(letter * 8 for letter in row) for row in returned or []),
    )


def test_programs_that_return_alike_win_where_nobody_passes() -> None:
    assert top(agreement(made(["AA", "AA", "AA"], ["ab", "ab", "cd"]))) == (0, 1)


def test_near_programs_vote_for_each_other() -> None:
    """CodeT's groups are all of size one here, and would take any that passes three."""
    assert top(agreement(made(["1110000A", "11101A0A", "A0A01A11"]), Agreement(prior=0))) == (1,)
    assert top(agreement(made(["111A", "11A1", "A111"], ["abcd", "abcx", "zbyw"]))) == (0, 1)


def test_one_call_counts_once_however_often_it_is_tested() -> None:
    found = made(["AAA", "AAA", "AAA", "AAA"], ["aab", "aab", "ccd", "eed"])
    repeated = OutcomeMatrix(**{**vars(found), "cases": ("assert f(1) == 1", "assert f(1) == 2", "assert f(2) == 3")})
    assert agreement(repeated) == agreement(made(["AA"] * 4, ["ab", "ab", "cd", "ed"]))


def test_errors_agree_with_nobody() -> None:
    assert top(agreement(made(["EE", "EE", "AA"], ["--", "--", "ab"]))) == (2,)


def test_what_does_not_load_is_never_chosen() -> None:
    assert agreement(made(["00", "00"])) == (0.0, 0.0)
    assert top((0.0, 0.0)) == top(()) == ()
    assert agreement(made([])) == ()
    assert top(agreement(made(["00", "A0"], ["--", "--"]))) == (1,)


def test_votes_count_with_frequency() -> None:
    assert top(agreement(made(["1A", "A1"], ["ab", "cd"], counts=(1, 3)))) == (1,)


def test_the_order_of_programs_changes_nothing() -> None:
    rows, returned = ["11A0", "1A1E", "AAAA", "11A0"], ["abc-", "abd-", "xxxx", "abc-"]
    forward = agreement(made(rows, returned))
    backward = agreement(made(rows[::-1], returned[::-1]))
    assert forward == pytest.approx(backward[::-1])


@given(st.lists(st.text("1AET0", min_size=3, max_size=3), max_size=5), st.data())
def test_every_matrix_has_finite_scores(outcomes: list[str], data: st.DataObject) -> None:
    returned = [data.draw(st.text("ab-", min_size=3, max_size=3)) for _ in outcomes]
    for matrix in (made(outcomes), made(outcomes, returned)):
        scores = agreement(matrix)
        assert len(scores) == len(outcomes)
        assert [score > 0 for score in scores] == [row != "000" for row in outcomes]


@given(st.text())
def test_any_text_has_a_call(text: str) -> None:
    assert call_of(f"assert {text}") is not None


def test_the_call_is_told_from_what_is_expected() -> None:
    assert call_of("assert f([1,2]) == 3") == call_of("assert 4 == f([1, 2]), 'message'")
    assert call_of("assert f(1)") != call_of("assert f(2)")
