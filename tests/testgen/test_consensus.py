"""Agreement of programs and cases."""

import importlib
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.execute import Pool, program_for
from align.testgen.consensus import consensus, expected, normal_form, with_cases, with_programs
from align.testgen.matrix import OutcomeMatrix

REPO = Path(__file__).parents[2]


def made(*outcomes: str, counts: tuple[int, ...] = (), case_counts: tuple[int, ...] = ()) -> OutcomeMatrix:
    width = len(outcomes[0]) if outcomes else 0
    return OutcomeMatrix(
        problem_id="p",
        cases=tuple(f"c{number}" for number in range(width)),
        case_counts=case_counts or (1,) * width,
        programs=tuple(f"x = {number}" for number in range(len(outcomes))),
        program_counts=counts or (1,) * len(outcomes),
        outcomes=outcomes,
    )


def test_a_group_scores_its_cases_times_the_root_of_its_size() -> None:
    found = consensus(made("110", "110", "0AE", "TA1", counts=(3, 1, 5, 1), case_counts=(2, 4, 7)), "codet")
    assert found.scores == (6 * sqrt(4), 6 * sqrt(4), 0.0, 7.0)
    assert [group.programs for group in found.groups] == [(0, 1), (3,)]
    assert found.best == (0, 1)


def test_distinct_counts_one_syntax_tree_and_one_case_once() -> None:
    found = made("11", "11", "10", counts=(50, 1, 1), case_counts=(9, 1))
    same = OutcomeMatrix(**{**vars(found), "programs": ("x=1", "x = 1  # the same", "y")})
    assert consensus(same).scores == (2.0, 2.0, 1.0)
    assert consensus(found).scores == (2 * sqrt(2), 2 * sqrt(2), 1.0)


def test_groups_that_tie_are_all_best() -> None:
    assert consensus(made("10", "01", "00")).best == (0, 1)


def test_groups_that_tie_but_for_the_last_digit_are_all_best() -> None:
    # 3 cases and 2 programs, 1 case and 18 programs: 3·√2 = √18
    found = made("1110", "0001", counts=(2, 18))
    assert 3 * sqrt(2) != sqrt(18)
    assert consensus(found, "codet").best == (0, 1)


def test_nothing_known_chooses_nothing_and_counts_at_random() -> None:
    matrix = made("A0", "EE", counts=(3, 1))
    assert consensus(matrix).best == ()
    assert expected(matrix, consensus(matrix).best, [1.0, 0.0]) == 0.75
    assert consensus(made()).best == ()
    assert expected(made(), (), ()) == 0.0


def test_the_answer_is_drawn_in_proportion_to_frequency() -> None:
    assert expected(made("1", "1", "A", counts=(3, 1, 9)), (0, 1), [1.0, 0.0, 1.0]) == 0.75


def test_a_matrix_is_cut_down_with_its_digests() -> None:
    whole = OutcomeMatrix(**{**vars(made("10", "01")), "returned": ("a" * 8 + "b" * 8, "c" * 8 + "d" * 8)})
    assert with_cases(whole, {"c1": 2}).returned == ("b" * 8, "d" * 8)
    assert with_programs(whole, {"x = 1": 4}).returned == ("c" * 8 + "d" * 8,)
    assert with_programs(whole, {"x = 1": 4}).program_counts == (4,)


def test_layout_comments_and_docstrings_make_no_other_program() -> None:
    plain = "def f(x):\n    return x\n"
    assert normal_form(plain) == normal_form('def f( x ):\n    """Says."""\n    # so\n    return (x)')
    assert normal_form(plain) != normal_form(plain.replace("x", "y"))


@given(st.text())
def test_any_text_has_a_normal_form(text: str) -> None:
    assert normal_form(text) or not text


@given(st.lists(st.text("1AET0", min_size=4, max_size=4), min_size=1, max_size=6))
def test_only_passed_cases_count_and_better_programs_never_score_less(outcomes: list[str]) -> None:
    scores = consensus(made(*outcomes)).scores
    assert [score > 0 for score in scores] == ["1" in row for row in outcomes]
    other = [row.translate(str.maketrans("AET", "000")) for row in outcomes]
    assert consensus(made(*other)).scores == scores


@pytest.mark.slow
def test_codets_figure_comes_from_its_matrix(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """37.243: METHODS, point 6. The programs that are drawn, or may be, are run on the problems' own tests."""
    monkeypatch.syspath_prepend(str(REPO / "scripts" / "bench"))
    codet = importlib.import_module("codet")
    settings = codet.load(shared)
    found = [(matrix, consensus(matrix, "codet").best) for matrix in codet.stored(shared, settings)]
    drawn = [[matrix.programs[row] for row in best or range(len(matrix.programs))] for matrix, best in found]
    programs = [
        program_for(setting.problem, solution=source)
        for setting, sources in zip(settings, drawn, strict=True)
        for source in sources
    ]
    with Pool() as pool:
        passed = iter([execution.outcome == "passed" for execution in pool.run(programs)])
    total = 0.0
    for (matrix, best), sources in zip(found, drawn, strict=True):
        right = dict(zip(sources, passed, strict=False))
        total += expected(matrix, best, [float(right.get(source, False)) for source in matrix.programs])
    assert round(100 * total / len(found), 3) == 37.243
    assert sum(not best for _, best in found) == 18
