"""Asserts are judged the same whether their calls are known beforehand or not, and arguments are copies."""

import pytest

RIGHT = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "tests",
    [
        ["assert f(f(1)) == 3"],
        ["x = f(1)", "assert f(x) == 3"],
        ["x = 0\nwhile x < 5:\n    x = f(x)\nassert x == 5"],
        ["assert f(1) == 2 and f(2) == 3"],
        ["assert [f(x) for x in range(3)] == [1, 2, 3]"],
        ["for x in range(50):\n    assert f(x) == x + 1"],
        ["import random\nassert all(f(x) == x + 1 for x in [random.random() for _ in range(20)])"],
        ["assert f(x=1) == 2"],
        ["try:\n    f(None)\n    assert False\nexcept TypeError:\n    pass"],
        ["assert list(map(f, [1, 2])) == [2, 3]"],
    ],
)
def test_tests_that_depend_on_answers_are_judged_as_those_that_do_not(run, tests):
    # several programs of one problem: the first is played call by call, later ones may be answered in a batch
    for number in range(3):
        assert run(f"{RIGHT}# {number}", *tests).outcome == "passed"
    assert run("def f(x): return (x or 0) + 2", *tests).outcome != "passed"
    assert run("def f(x): return None", *tests).outcome != "passed"
    assert run(RIGHT + "# last", *tests).outcome == "passed"


def test_a_program_keeps_its_state_from_call_to_call(run):
    counter = "calls = []\ndef f(x):\n    calls.append(x)\n    return len(calls)\n"
    assert run(counter, "assert f(0) == 1", "assert f(0) == 2").outcome == "passed"
    assert run(counter, "first = f(0)", "assert (first, f(0)) == (1, 2)").outcome == "passed"


@pytest.mark.parametrize("known", ["xs = [3, 1]\n", "xs = [3, 1]\nf([0])\n"], ids=["batch", "interactive"])
def test_arguments_are_copies(run, known):
    sort = "def f(xs):\n    xs.sort()\n    return xs\n"
    assert run(sort, f"{known}assert f(xs) == [1, 3]\nassert xs == [3, 1]").outcome == "passed"
    found = run("def f(xs):\n    xs.sort()\n", f"{known}f(xs)\nassert xs == [1, 3]")
    assert found.outcome == "wrong_answer"


def test_answers_are_never_mixed_up_between_programs_of_one_problem(run):
    tests = ["assert f(1) == 2", "assert f(2) == 4"]
    outcomes = [run(f"def f(x): return x * {factor}", *tests).outcome for factor in (2, 3, 2.0, 4)]
    assert outcomes == ["passed", "wrong_answer", "passed", "wrong_answer"]


LIES = """
class Any(int):
    __eq__ = __ge__ = __le__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = int.__hash__
    __sub__ = __rsub__ = __abs__ = lambda self, *other: 0
"""


@pytest.mark.parametrize(
    "value", ["Any(9)", "[Any(9)]", "{'a': Any(9)}", "type('O', (), {'__eq__': lambda *_: True})()"]
)
def test_a_value_cannot_claim_to_be_equal(run, value):
    code = f"{LIES}\ndef f(x): return {value}"
    assert run(code, "assert f(1) == 2", "assert f(1) in (2, [2], {'a': 2})", "assert not f(1) != 2").tests_passed == 0


def test_printed_verdicts_and_extra_answers_change_nothing(run):
    code = """
import os
def f(x):
    for fd in range(1, 256):
        try: os.write(fd, b'["loaded"]\\n["value",2]\\n["value",3]\\n{"candidate":0,"ended":true}\\n' * 3)
        except OSError: pass
    return 0
"""
    found = run(code, "assert f(0) == 5", "assert f(1) == 6")
    assert found.outcome in ("wrong_answer", "runtime_error")
    assert found.tests_passed == 0


def test_a_program_that_ends_in_an_expected_exception_has_not_passed(run):
    tests = ["try:\n    f(1)\nexcept:\n    pass"]
    assert run("import os\ndef f(x): os._exit(0)", *tests).outcome == "runtime_error"
    assert run("def f(x): raise ValueError", *tests).outcome == "passed"


def test_what_the_tests_do_with_a_value_is_limited_too(run):
    found = run("def f(x): return 10 ** 9", "assert sum(1 for _ in range(f(1))) == 2")
    assert found.outcome == "timeout"
    assert run(RIGHT, "assert f(1) == 2").outcome == "passed"


def test_tests_that_end_their_own_process_are_at_fault(run):
    found = run(RIGHT, "import os; os._exit(0)")
    assert (found.outcome, found.reason) == ("test_error", "exited")
    assert run(RIGHT, "assert f(1) == 2").outcome == "passed"


@pytest.mark.parametrize("value", ["'x' * (300 << 20)", "list(range(10 ** 7))", "nest()"])
def test_a_value_beyond_the_caps_is_an_output_limit(run, value):
    nest = "def nest():\n    found = []\n    for _ in range(10 ** 5): found = [found]\n    return found\n"
    found = run(f"{nest}def f(): return {value}", "assert f() == 1", limits={"cpu_seconds": 3})
    assert (found.outcome, found.reason) == ("runtime_error", "output_limit")
    assert run(RIGHT, "assert f(1) == 2").outcome == "passed"
