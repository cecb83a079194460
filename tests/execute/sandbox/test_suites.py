"""Programs are judged by unittest and pytest files as by asserts: in counts, and never by their own word."""

from textwrap import dedent

import pytest

from align.execute import Pool, program_for
from align.io import read
from align.schema import Problem

UNSUPPORTED = {"clock", "complex-numbers", "error-handling", "grep", "paasio", "rational-numbers", "sublist"}

RIGHT = "def f(x):\n    return x + 1\n"
TESTS = """
import unittest
from answer import f

class T(unittest.TestCase):
    def test_one(self):
        self.assertEqual(f(1), 2)

    def test_two(self):
        self.assertEqual(f(2), 3)

def test_three():
    assert f(3) == 4
"""


@pytest.fixture
def judged(run):
    """Run a program on a test file, with a reference unless that is None."""

    def run_one(code, tests=TESTS, reference=RIGHT):
        return run(dedent(code), dedent(tests), test_kind="unittest", reference=reference)

    return run_one


def seen(found):
    return found.outcome, found.reason, found.tests_passed, found.tests_total


def test_each_test_counts_once(judged):
    for reference in (RIGHT, None):
        assert seen(judged(RIGHT, reference=reference)) == ("passed", None, 3, 3)
        wrong = judged("def f(x): return 3", reference=reference)
        assert seen(wrong) == ("wrong_answer", None, 1, 3)
        assert wrong.failed_tests == [0, 2]
        assert "T.test_one: AssertionError: 3 != 2" in wrong.stderr_tail


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(x): return", ("wrong_answer", None, 0, 3)),
        ("def f(x): raise KeyError(x)", ("runtime_error", "KeyError", 0, 3)),
        ("def f(x):\n    if x > 1: raise KeyError(x)\n    return 2", ("wrong_answer", "KeyError", 1, 3)),
        ("def f(x): raise AssertionError", ("runtime_error", "AssertionError", 0, 3)),
        ("def g(x): return x + 1", ("runtime_error", "ImportError", 0, 3)),
        ("raise ValueError", ("runtime_error", "ValueError", 0, 3)),
        ("def f(", ("compile_error", "SyntaxError", 0, 3)),
        ("import os; os._exit(0)", ("runtime_error", "exited", 0, 3)),
        ("def f(x):\n    import os; os._exit(0)", ("runtime_error", "exited", 0, 3)),
        ("def f(x):\n    import os\n    if x > 1: os._exit(0)\n    return 2", ("wrong_answer", "exited", 1, 3)),
        ("def f(x):\n    while x > 1: pass\n    return 2", ("timeout", None, 1, 3)),
        ("while True: pass", ("timeout", None, 0, 3)),
        ("def f(x): return [0] * 1_000_001", ("wrong_answer", None, 0, 3)),
    ],
)
def test_outcomes_are_those_of_asserts(judged, code, expected):
    assert seen(judged(code)) == expected
    assert judged(RIGHT).outcome == "passed"


def test_a_program_finds_itself_under_the_name_that_the_tests_import(judged):
    code = """
        import sys
        def f(x): return sys.modules["answer"].g(x)
        def g(x):
            import answer
            return answer.step + x
        step = 1
        """
    assert judged(code).outcome == "passed"


def test_drawn_inputs_are_the_same_for_every_program(judged):
    tests = "import random\nfrom answer import f\ndef test():\n    assert f(random.random()) == {}\n"
    known = judged("def f(x): raise ValueError(repr(x))", tests.format(0)).stderr_tail
    drawn = float(known.partition("ValueError: ")[2].split()[0])
    assert judged("def f(x): return x", tests.format(drawn)).outcome == "passed"


def test_skipped_tests_do_not_count_and_cannot_be_brought_about(judged):
    tests = """
        import sys, unittest
        from answer import f, LEVEL
        class T(unittest.TestCase):
            def test_one(self): self.assertEqual(f(1), 2)
            @unittest.skip("slow")
            def test_slow(self): self.assertEqual(f(1), 5)
            @unittest.skipIf({condition}, "elsewhere")
            def test_elsewhere(self): self.assertEqual(f(1), 5)
        """
    reference = RIGHT + "LEVEL = 3\n"
    assert judged(reference, tests.format(condition="sys.platform == 'linux'"), reference).outcome == "passed"
    assert judged(reference, tests.format(condition="sys.platform == 'none'"), reference).tests_passed == 1
    assert judged(reference, tests.format(condition="LEVEL > 2"), reference).outcome == "unsupported"


def test_a_file_without_tests_or_that_does_not_compile_is_at_fault(judged):
    assert seen(judged(RIGHT, "from answer import f\nassert f(1) == 2"))[:2] == ("test_error", "no tests")
    assert judged(RIGHT, "from answer import f\ndef test(:").outcome in ("test_error", "unsupported")
    assert judged(RIGHT, TESTS + "\n{}['key']").outcome == "test_error"
    assert judged("def f(x): return 7", TESTS + "\n{}['key']", None).outcome == "test_error"


TROUBLE = """
    from answer import f
    class Own: pass
    def test():
        value = f(1)
        if value != 2: f(Own())
        assert value == 2
    def test_more(): assert f(2) == 3
    """


@pytest.mark.parametrize("code", ["def f(x): return 7", "def f(x): raise ValueError", "def f(x): return x"])
def test_no_program_can_bring_about_that_its_tests_cannot_be_run(judged, code):
    top = "from answer import f\nLIMIT = {2: 3}[f(1)]\ndef test(): assert f(2) == LIMIT\n"
    for tests in (TROUBLE, top):
        assert judged(RIGHT, tests).outcome == "passed"
        found = judged(code, tests)
        assert (found.outcome in ("wrong_answer", "runtime_error"), found.tests_passed) == (True, 0)
        assert judged(RIGHT, tests).outcome == "passed"


def test_what_no_program_could_be_run_on_is_the_tests_fault(judged):
    tests = "from answer import f\nclass Own: pass\ndef test(): f(Own())\n"
    for reference in (RIGHT, None):
        assert "object of Own" in judged(RIGHT, tests, reference).reason
        assert judged("def f(x): return 7", tests, reference).outcome == "test_error"


def test_tests_that_end_themselves_pass_nobody(judged):
    tests = TESTS + "\ndef test_ends():\n    raise KeyboardInterrupt\n"
    assert judged(RIGHT, tests).outcome != "passed"
    assert judged(RIGHT, tests).tests_passed < 4


def test_the_reference_tells_what_is_imported_and_not_the_program(judged):
    tests = "from answer import f\ndef test(): assert 3 in f(1)\ndef test_more(): assert len(f(1)) == 1\n"
    liar = "class f:\n    __init__ = lambda *_: None\n    __contains__ = __len__ = lambda *_: True\n"
    assert judged("def f(x): return [3]", tests, "def f(x): return [3]").outcome == "passed"
    assert judged(liar, tests, "def f(x): return [3]").tests_passed == 0


def test_printed_verdicts_and_extra_answers_change_nothing(judged):
    code = """
        import os
        def f(x):
            for fd in range(256):
                try: os.write(fd, b'["loaded"]\\n["value",2]\\n["value",3]\\n{"candidate":0,"ended":true}\\n' * 3)
                except OSError: pass
            return 0
        """
    found = judged(code)
    assert found.outcome in ("wrong_answer", "runtime_error")
    assert found.tests_passed <= 1  # the tests got the value that the program sent in place of its answer


# ---- Exercism


@pytest.fixture
def exercises(shared):
    return list(read(shared / "data/tasks/exercism_python_practice.jsonl", Problem))


def outcomes(problems, level):
    with Pool(2, isolation=level, timeout=10) as pool:
        found = list(pool.run([program_for(problem, solution=problem.reference) for problem in problems]))
    for problem, execution in zip(problems, found, strict=True):
        if execution.outcome == "passed":
            assert execution.tests_passed == execution.tests_total > 0, problem.meta["slug"]
    return {problem.meta["slug"]: execution.outcome for problem, execution in zip(problems, found, strict=True)}


def test_exercises_pass_with_their_own_example(exercises, level):
    """One in eight, the last among them."""
    found = outcomes(exercises[3::8], level)
    assert {slug: outcome for slug, outcome in found.items() if outcome != "passed"}.keys() <= UNSUPPORTED
    assert len(found) > 15


@pytest.mark.slow
def test_every_exercise_passes_with_its_own_example_or_is_unsupported(exercises, level):
    found = outcomes(exercises, level)
    assert {slug: outcome for slug, outcome in found.items() if outcome != "passed"} == dict.fromkeys(
        UNSUPPORTED, "unsupported"
    )
    assert list(found.values()).count("passed") == 133


WRONG = [
    ("two-fer", "One for", "Two for"),
    ("leap", "400", "300"),
    ("hamming", "!=", "=="),
    ("linked-list", "self.length += 1", "self.length += 2"),
    ("bank-account", "self.balance += amount", "self.balance += amount + 1"),
    ("custom-set", "def __eq__(self, other):", "def __eq__(self, other):\n        return True"),
    ("circular-buffer", "Circular buffer is full", "Full"),
    ("forth", "StackUnderflowError(", "ValueError("),
    ("react", "cb(new_val)", "cb(new_val + 1)"),
    ("yacht", "50", "49"),
]


def test_wrong_solutions_of_exercises_fail(exercises):
    problems = {problem.meta["slug"]: problem for problem in exercises}
    programs = []
    for slug, right, wrong in WRONG:
        assert right in problems[slug].reference
        programs.append(program_for(problems[slug], solution=problems[slug].reference.replace(right, wrong)))
    with Pool(2, isolation="none", timeout=10) as pool:
        found = list(pool.run(programs))
    assert {execution.outcome for execution in found} <= {"wrong_answer", "runtime_error"}
    assert all(execution.tests_passed < execution.tests_total for execution in found)
