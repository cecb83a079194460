"""Votes on what programs return. On made-up digests: nothing runs."""

from align.execute.sandbox.matrix import NOTHING
from align.testgen.differential import Vote, telling, votes
from align.testgen.matrix import OutcomeMatrix


def matrix(*rows: str) -> OutcomeMatrix:
    """A letter a call: what is returned; `-` is nothing."""
    width = len(rows[0])
    return OutcomeMatrix(
        problem_id="p",
        cases=tuple(f"case {place}" for place in range(width)),
        case_counts=(1,) * width,
        programs=tuple(f"x = {number}" for number in range(len(rows))),
        program_counts=(1,) * len(rows),
        outcomes=tuple("".join("E" if letter == "-" else "1" for letter in row) for row in rows),
        returned=tuple("".join(NOTHING if letter == "-" else letter * 8 for letter in row) for row in rows),
    )


def models(**programs: list[int]) -> dict[str, set[str]]:
    return {name: {f"x = {number}" for number in own} for name, own in programs.items()}


def test_only_calls_on_which_programs_differ_and_most_agree_are_taken() -> None:
    found = votes(matrix("aab-a", "aab-b", "aabba", "abc-a"), [1] * 4, models(m=[0, 1], n=[2, 3]))
    assert [(one.place, one.confidence, one.dissenting) for one in found] == [
        (1, 0.75, {3}),
        (2, 0.75, {3}),
        (4, 0.75, {1}),
    ]
    assert found[0].agreeing == (0, 1, 2)


def test_a_model_alone_decides_nothing_however_many_programs_it_has() -> None:
    rows = matrix("a", "a", "a", "a", "a", "a", "b")
    assert votes(rows, [1] * 7, models(m=[0, 1, 2, 3, 4, 5], n=[6])) == []
    assert votes(rows, [1] * 7, models(m=[0, 1, 2, 3, 4, 5, 6])) == []
    assert len(votes(rows, [1] * 7, models(m=[0, 1, 2, 3, 4, 5, 6]), least_models=1)) == 1
    assert len(votes(rows, [1] * 7, models(m=[0, 1], n=[2, 3], o=[4, 5, 6]))) == 1


def test_two_thirds_are_enough_however_their_sum_is_rounded() -> None:
    share = sum([1 / 24] * 16)
    assert share < 2 / 3
    (found,) = votes(matrix(*"a" * 16, *"b" * 8), [1] * 24, models(m=list(range(24))), least_models=1)
    assert len(found.dissenting) == 8


def test_programs_of_one_syntax_tree_count_once() -> None:
    rows = matrix("a", "a", "a", "b", "a")
    same = OutcomeMatrix(**{**vars(rows), "programs": ("x = 0", "x  =  0", "x = (0)", "x = 3", "x = 4")})
    own = {"m": {"x = 0", "x  =  0", "x = (0)", "x = 3"}, "n": {"x = 4"}}
    assert [one.confidence for one in votes(same, [1] * 5, own)] == [0.75]


def test_programs_without_a_vote_still_show_a_difference() -> None:
    (found,) = votes(matrix("a", "a", "b"), [1, 1, 0], models(m=[0], n=[1, 2]))
    assert (found.confidence, found.dissenting) == (1.0, {2})
    assert votes(matrix("a", "a", "b"), [0, 0, 0], models(m=[0], n=[1, 2])) == []


def test_raising_is_no_value() -> None:
    assert votes(matrix("-", "-", "a"), [1] * 3, models(m=[0, 2], n=[1])) == []


def test_the_surest_of_those_that_catch_another_program_come_first() -> None:
    given = [
        Vote(0, 0.7, (), frozenset({1, 2, 3})),
        Vote(1, 0.9, (), frozenset({1})),
        Vote(2, 0.8, (), frozenset({1})),
        Vote(3, 0.7, (), frozenset({4})),
    ]
    assert [one.place for one in telling(given, most=4)] == [1, 0, 3, 2]
