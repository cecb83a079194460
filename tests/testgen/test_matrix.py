"""The outcome of every case on every program."""

from collections.abc import Sequence

import pytest

from align.errors import DataError
from align.execute import Pool
from align.schema import Limits, Problem
from align.testgen import matrix
from align.testgen.matrix import OutcomeMatrix, run_matrix

PROMPT = 'def half(x):\n    return x / 2\n\n\ndef f(n):\n    """Double n."""\n'
PROBLEM = Problem(prompt=PROMPT, entry_point="f")
RIGHT = "def f(n):\n    return n * 2\n"
FOREVER = """
def f(n):
    while n == 3:
        try:
            pass
        except BaseException:
            pass
    return n * 2
"""


def one(
    programs: Sequence[str], cases: Sequence[str], problem: Problem = PROBLEM, seconds: float = 0.1
) -> OutcomeMatrix:
    (found,) = run_matrix([(problem, programs, cases)], workers=1, timeout=seconds)
    return found


def test_each_case_has_its_own_letter() -> None:
    cases = [
        "assert f(1) == 2",
        "assert f(1) == 3",
        "assert f('a')[9]",
        "assert unknown == f(1)",
        "assert f(",
        "assert True",
    ]
    assert one([RIGHT], cases).outcomes == ("1AEE01",)


def test_a_call_that_does_not_end_costs_no_other_case() -> None:
    assert one([FOREVER], ["assert f(3) == 6", "assert f(2) == 4", "assert f(3)", "assert f(5) == 10"]).outcomes == (
        "T1T1",
    )


def test_time_inside_the_interpreter_is_limited_too() -> None:
    power = "def f(n):\n    return 10 ** 10 ** 9 if n == 3 else n * 2\n"
    assert one([power], ["assert f(3) == 6", "assert f(2) == 4"]).outcomes == ("T1",)


def test_a_program_that_ends_itself_in_a_call_answers_the_others() -> None:
    leaving = "import os\n\ndef f(n):\n    if n == 2:\n        os._exit(0)\n    return n * 2\n"
    assert one([leaving], ["assert f(1) == 2", "assert f(2) == 4", "assert f(3) == 6"]).outcomes == ("1E1",)


def test_a_program_that_never_ends_is_given_up() -> None:
    stuck = "def f(n):\n    while True:\n        pass\n"
    (row,) = one([stuck], [f"assert f({n}) == {2 * n}" for n in range(90)], seconds=0.02).outcomes
    assert set(row) == {"T", "0"}
    assert row.startswith("T" * 10)


def test_a_program_that_does_not_load_shows_nothing() -> None:
    programs = ["def f(n)", "raise ValueError", RIGHT, "\ud800", "a\0b"]
    assert one(programs, ["assert f(1) == 2"]).outcomes == ("0", "0", "1", "0", "0")


def test_a_call_may_depend_on_an_answer() -> None:
    cases = ["assert f(f(f(1))) == 8", "assert f(1) + f(2) == f(3)", "assert half(f(2)) == 2"]
    assert one([RIGHT], cases).outcomes == ("111",)


def test_cases_and_programs_are_counted_and_run_once() -> None:
    found = one(
        [RIGHT, RIGHT, "def f(n):\n    return 2\n"], ["assert f(1) == 2", "assert f(2) == 4", "assert f(1) == 2"]
    )
    assert (found.case_counts, found.program_counts) == ((2, 1), (2, 1))
    assert found.outcomes == ("11", "1A")
    assert found.index[RIGHT] == 0


def test_programs_that_return_the_same_have_the_same_digests() -> None:
    programs = [
        RIGHT,
        "def f(n):\n    return n + n\n",
        "def f(n):\n    return n\n",
        "def f(n):\n    raise ValueError\n",
    ]
    same, also, other, none = one(programs, ["assert f(1) == 9"]).returned
    assert same == also
    assert same != other
    assert none == "-" * 8


def test_what_a_program_forges_is_no_pass() -> None:
    forging = """
import os


def f(n):
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, b'["value",2]\\n1\\n')
        except OSError:
            pass
    return 0
"""
    equal_to_all = "class E(int):\n    def __eq__(self, other):\n        return True\n\ndef f(n):\n    return E(0)\n"
    found = one([forging, equal_to_all], ["assert f(5) == 10", "assert f(7) == 14"])
    assert "1" not in "".join(found.outcomes)


def test_a_case_that_breaks_the_tests_process_is_left_out_alone() -> None:
    cases = ["assert f(1) == 2", "assert __import__('os')._exit(0)", "assert f(2) == 4", "assert exit()"]
    assert one([RIGHT, "def f(n):\n    return 2\n"], cases).outcomes == ("101E", "10AE")


def test_hostile_text_is_a_letter_not_a_crash() -> None:
    cases = [
        "assert f('\ud800')",
        "\0",
        "",
        "assert " + "(" * 500,
        f"assert f({'9' * 5000})",
        "assert f('\\ud800') == '\\ud800' * 2",
    ]
    (row,) = one([RIGHT], cases).outcomes
    assert len(row) == len(cases)
    assert row[-1] == "1"


def test_matrices_come_in_order_also_where_there_is_nothing_to_run() -> None:
    others = [Problem(prompt=f"{PROMPT}# {number}\n", entry_point="f") for number in range(4)]
    items = [
        (others[0], [], ["assert f(1)"]),
        (others[1], [RIGHT], []),
        (others[2], [RIGHT], ["assert f(1)"]),
        (others[3], [], []),
    ]
    found = list(run_matrix(items, workers=1))
    assert [entry.problem_id for entry in found] == [problem.id for problem in others]
    assert [entry.outcomes for entry in found] == [(), ("",), ("1",), ()]


def test_more_cases_than_a_run_takes_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "MOST_CASES", 3)
    cases = [f"assert f({n}) == {2 * n if n % 3 else -1}" for n in range(8)]
    assert one([RIGHT, RIGHT + "#"], cases).outcomes == ("A11A11A1",) * 2


def test_what_ran_once_is_read_from_the_cache(tmp_path) -> None:
    item = (PROBLEM, [RIGHT], ["assert f(1) == 2"])
    first = list(run_matrix([item], workers=1, cache=tmp_path / "c"))
    with Pool(1, cache=tmp_path / "c") as pool:
        plan = matrix._plan(*item, seconds=matrix.CASE_SECONDS)
        assert [execution.cases for execution in pool.run(plan.todo())] == ["1"]
        assert pool.executed == 0
    assert first == list(run_matrix([item], workers=1, cache=tmp_path / "c"))


def test_a_problem_that_cannot_be_run_is_named() -> None:
    with pytest.raises(DataError, match="entry_point"):
        one([RIGHT], ["assert f(1)"], Problem(prompt="x"))
    with pytest.raises(DataError, match="go is not run"):
        one([RIGHT], ["assert f(1)"], Problem(prompt="x", entry_point="f", language="go"))


def test_the_memory_of_a_problem_is_kept() -> None:
    problem = Problem(prompt=PROMPT, entry_point="f", limits=Limits(memory_mb=100))
    hungry = "def f(n):\n    return len(bytearray(n << 20))\n"
    assert one([hungry], ["assert f(500)", "assert f(1)"], problem).outcomes == ("E1",)
