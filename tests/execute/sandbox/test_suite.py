"""Test files run against a program in another process as they would in one, and a lying object passes nothing."""

import json
import os
import signal
import socket
import sys
from collections import Counter
from textwrap import dedent
from types import ModuleType

import pytest

from align.execute.sandbox.remote import Gone, Line, Remote, serve
from align.execute.sandbox.suite import Result, count_tests, imported_names, run_suite, why_not
from align.execute.sandbox.survey import test_names as names_of

UNSUPPORTED = {
    "clock": "combine an object of the program with plain data",
    "complex-numbers": "assertAlmostEqual",
    "error-handling": "import test_utils",
    "grep": "patch grep.open",
    "paasio": "import test_utils",
    "rational-numbers": "assertAlmostEqual",
    "sublist": "a list of 1,000,100 items",
}


def candidate(source, descriptor):
    """Run the program as the module `solution`, and serve it."""
    sys.modules["solution"] = module = ModuleType("solution")
    exec(source, vars(module))
    serve(Line(descriptor), vars(module))


def run(solution, tests, module="solution", exports=None):
    """The report of a test file on a solution."""
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            ours.close()
            candidate(dedent(solution), theirs.fileno())
        finally:
            os._exit(0)
    theirs.close()
    try:
        return run_suite(dedent(tests), module, exports, Remote(Line(ours.fileno())), lambda result: None)
    finally:
        ours.close()
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def statuses(report):
    assert report.fault is None
    assert report.unsupported is None
    return {result.name.split(".")[-1]: result.status for result in report.results}


def unittests(*lines, imports="f"):
    body = "\n".join(f"    def test_{number}(self):\n        {line}" for number, line in enumerate(lines))
    return f"import unittest\nfrom solution import {imports}\nclass T(unittest.TestCase):\n{body}\n"


def outcomes(solution, *lines, imports="f"):
    return [*statuses(run(solution, unittests(*lines, imports=imports))).values()]


@pytest.fixture
def exercism(shared):
    path = shared / "data/tasks/exercism_python_practice.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_exercises_that_can_be_expressed_pass_with_their_own_example(exercism):
    """One in four; `test_suites` has all."""
    for row in exercism[::4]:
        if row["slug"] in UNSUPPORTED:
            continue
        report = run(row["example"], row["test"], row["module"])
        bad = [result for result in report.results if result.status != "passed"]
        assert (row["slug"], bad, report.fault, report.unsupported) == (row["slug"], [], None, None)
        assert len(report.results) == count_tests(row["test"]), row["slug"]


def test_the_exercises_that_cannot_be_expressed_are_known_beforehand(exercism):
    found = {row["slug"]: reason for row in exercism if (reason := why_not(row["test"], row["module"])) is not None}
    assert found.keys() == UNSUPPORTED.keys()
    assert all(words in found[slug] for slug, words in UNSUPPORTED.items())


@pytest.mark.parametrize(
    ("slug", "right", "wrong"),
    [
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
    ],
)
def test_a_wrong_solution_fails(exercism, slug, right, wrong):
    row = next(row for row in exercism if row["slug"] == slug)
    assert right in row["example"]
    report = run(row["example"].replace(right, wrong), row["test"], row["module"])
    assert any(result.status != "passed" for result in report.results)


# ---- unittest and pytest


def test_results_come_in_the_order_of_definition_one_a_method():
    tests = """
        import unittest
        from solution import f
        class Second(unittest.TestCase):
            def test_b(self): self.assertEqual(f(1), 1)
            def test_a(self): self.assertEqual(f(1), 2, "not two")
        class First(unittest.TestCase):
            def test_c(self): f()
        def test_d(): assert f(1) == 1
        """
    report = run("def f(x): return x", tests)
    names = ["Second.test_b", "Second.test_a", "First.test_c", "test_d"]
    assert [result.name for result in report.results] == names
    assert [result.status for result in report.results] == ["passed", "failed", "error", "passed"]
    assert "not two" in report.results[1].reason
    assert names_of(dedent(tests)) == names


def test_set_up_sub_tests_skips_and_expected_failures_are_unittests_own():
    tests = """
        import unittest
        from solution import f
        class T(unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.one = 1
            def setUp(self): self.two = f(2)
            def test_set_up(self): self.assertEqual((self.one, self.two), (1, 2))
            def test_sub(self):
                for x in (1, 2):
                    with self.subTest(x=x): self.assertEqual(f(x), 1)
            @unittest.skip("slow")
            def test_skipped(self): raise ValueError
            def test_skips_itself(self): self.skipTest("no")
            @unittest.expectedFailure
            def test_expected(self): self.assertEqual(f(1), 2)
            @unittest.expectedFailure
            def test_unexpected(self): self.assertEqual(f(1), 1)
        """
    assert statuses(run("def f(x): return x", tests)) == {
        "test_set_up": "passed",
        "test_sub": "failed",
        "test_skips_itself": "failed",
        "test_expected": "passed",
        "test_unexpected": "failed",
    }
    assert count_tests(dedent(tests)) == 5


def test_pytests_raises_approx_parameters_and_fixtures_work():
    tests = """
        import pytest
        import solution as s
        @pytest.fixture
        def base(): return 2
        @pytest.fixture
        def made(base):
            yield base + 1
        @pytest.mark.parametrize("x, y", [(1, 1), (2, 2)])
        def test_rows(x, y): assert s.f(x) == y
        @pytest.mark.parametrize("x", [1, 2])
        def test_one_row_fails(x): assert s.f(x) == 1
        def test_fixture(made): assert s.f(made) == 3
        def test_raises():
            with pytest.raises(TypeError, match="argument") as info: s.f()
            assert info.type is TypeError
        def test_raises_not():
            with pytest.raises(TypeError): s.f(1)
        def test_approx(): assert s.f(0.1 + 0.2) == pytest.approx(0.3)
        @pytest.mark.skip(reason="slow")
        def test_skipped(): raise ValueError
        class TestGroup:
            def setup_method(self): self.x = 1
            def test_method(self): assert s.f(self.x) == 1
        """
    found = statuses(run("def f(x): return x", tests))
    assert [name for name, status in found.items() if status != "passed"] == ["test_one_row_fails", "test_raises_not"]
    assert len(found) == count_tests(dedent(tests)) == 7


@pytest.mark.parametrize(
    "body",
    [
        "def test(): assert pytest.warns(UserWarning)",
        "def test(capsys): pass",
        "def test(monkeypatch): pass",
        "class Own(C): pass",
        "def test():\n    with C(1) as c: pass",
        "def test(): assert C(1) + 1",
        "def test(): assert abs(C(1) - C(2)) < 1",
        "from unittest.mock import patch\n@patch('solution.open')\ndef test(mock): pass",
        "from elsewhere import helper",
        "def test(): assert C([0] * 1_000_001)",
        "def test(): assert C(list(range(3, 500_004)) * 2)",
        "import unittest\n@unittest.skipIf(C.old, 'old')\nclass T(unittest.TestCase): pass",
        "from .solution import D",
        "def test(:",
    ],
)
def test_what_cannot_be_run_is_known_beforehand(body):
    assert why_not(f"import pytest\nfrom solution import C\n{body}\n", "solution") is not None


def test_what_turns_out_unsupported_is_reported_as_that():
    tests = "from solution import f\nclass Own: pass\ndef test(): f(Own())\ndef test_more(): assert f(1) == 1\n"
    report = run("def f(x): return x", tests)
    assert "Own" in report.unsupported


def test_an_error_of_the_test_file_itself_is_no_failure_of_the_program():
    assert "KeyError" in run("def f(): pass", "from solution import f\n{}['key']\n").fault
    assert "compile" in run("def f(): pass", "def test(:").fault


def test_a_program_that_lacks_a_name_fails():
    report = run("def g(): pass", unittests("f()"))
    assert [result.status for result in report.results] == ["error"]
    assert "f" in report.results[0].reason


def test_the_imported_names_are_found_however_they_are_imported():
    source = "import a\nimport a as b\nfrom a import (c, d as e)\nimport z\na.f(b.g, z.h)\n"
    assert imported_names(source, "a") == ["c", "d", "f", "g"]


def test_modules_are_put_back():
    before = sys.modules.get("solution"), sys.modules["pytest"]
    run("def f(): return 1", unittests("self.assertEqual(f(), 1)"))
    assert (sys.modules.get("solution"), sys.modules["pytest"]) == before


# ---- what a program gives


def test_exception_classes_of_the_program_have_their_bases():
    solution = """
        class Base(BufferError): pass
        class Full(Base): pass
        Alias = Full
        def f(): raise Full("full")
        """
    lines = [f"with self.assertRaises({name}) as error: f()" for name in ("Full", "Base", "BufferError", "Alias")]
    lines += ["with self.assertRaises(ValueError): f()", "with self.assertRaisesRegex(Full, '^full$'): f()"]
    assert outcomes(solution, *lines, imports="f, Base, Full, Alias") == [*["passed"] * 4, "error", "passed"]


def test_objects_of_an_imported_class_have_its_methods_attributes_and_operators():
    solution = """
        class C:
            made = 0
            def __init__(self, *xs):
                self.xs = list(xs)
                C.made += 1
            @classmethod
            def empty(cls): return cls()
            @property
            def size(self): return len(self.xs)
            def add(self, x):
                self.xs.append(x)
                return self
            def __eq__(self, other): return self.xs == other.xs
            def __lt__(self, other): return self.xs < other.xs
            def __add__(self, other): return C(*self.xs, *other.xs)
            def __len__(self): return len(self.xs)
            def __iter__(self): return iter(self.xs)
            def __contains__(self, x): return x in self.xs
            def __getitem__(self, index): return self.xs[index]
            def __str__(self): return "C" + str(self.xs)
            def pair(self): return self, [C(1)]
        """
    lines = [
        "self.assertEqual(C(1, 2), C(1, 2))",
        "self.assertNotEqual(C(1), C(2))",
        "self.assertTrue(C(1) < C(2))",
        "self.assertEqual(C(1) + C(2), C(1, 2))",
        "self.assertEqual((len(C(1)), list(C(1, 2)), C(5)[0], str(C(1))), (1, [1, 2], 5, 'C[1]'))",
        "self.assertIn(1, C(1))",
        "self.assertFalse(C())",
        "self.assertEqual(C.empty().add(3).size, 1)",
        "c = C(1); c.xs = [7]; self.assertEqual(c.xs, [7])",
        "c = C(1); self.assertIs(c.pair()[0], c)",
        "self.assertEqual(C(1).pair(), (C(1), [C(1)]))",
        "self.assertIsInstance(C(1), C)",
        "self.assertRaises(AttributeError, lambda: C(1).nothing)",
        "self.assertGreater(C.made, 0)",
        "self.assertRaises(IndexError, lambda: C(1)[4])",
    ]
    assert outcomes(solution, *lines, imports="C") == ["passed"] * len(lines)


def test_callbacks_get_objects_and_keep_what_they_collect():
    solution = """
        class C:
            def __init__(self, x): self.x = x
            def tell(self, callback): callback(self, self.x)
        """
    line = "seen = []; c = C(3); c.tell(lambda *args: seen.append(args)); self.assertEqual(seen, [(c, 3)])"
    assert outcomes(solution, line, imports="C") == ["passed"]


LIAR = """
class C:
    def __init__(self, *args): pass
    def yes(self, *args): return True
    def zero(self, *args): return 0
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = yes
    def __ne__(self, other): return False
    __add__ = __sub__ = __radd__ = __rsub__ = __abs__ = __neg__ = __round__ = __float__ = __int__ = __index__ = zero
    __hash__ = zero
    year = 2000
    def count(self, x): return 3
    def startswith(self, x): return True
def f(*args): return C()
g = C()
"""

LIES = [
    "self.assertEqual({}, 3)",
    "self.assertEqual(3, {})",
    "self.assertAlmostEqual({}, 3.0)",
    "self.assertAlmostEqual(3.0, {})",
    "self.assertAlmostEqual({}, 3.0, delta=1)",
    "self.assertLess({}, 3)",
    "self.assertGreaterEqual(3, {})",
    "self.assertIn({}, [1, 2])",
    "self.assertIn({}, {{0: 1}})",
    "self.assertEqual([1, {}], [1, 2])",
    "self.assertCountEqual([{}], [2])",
    "self.assertTrue(abs({} - 3) < 1e-6)",
    "self.assertTrue(abs(3 - {}) < 1e-6)",
    "self.assertTrue(abs({}) < 1e-6)",
    "self.assertEqual(round({}), 0)",
    "self.assertEqual(float({}), 0)",
    "self.assertEqual(int({}), 0)",
    "self.assertEqual([7][{}], 7)",
    "self.assertEqual(sum([{}]), 0)",
]


@pytest.mark.parametrize("value", ["f()", "g", "C(1)"])
def test_an_object_that_lies_passes_no_comparison_with_plain_data(value):
    lies = [line.format(value) for line in LIES]
    assert "passed" not in outcomes(LIAR, *lies, imports="C, f, g")


def test_an_object_of_a_class_that_the_tests_do_not_import_lies_less():
    lines = [
        "self.assertTrue(f() == f())",
        "self.assertIn(1, f())",
        "self.assertEqual(f().count(1), 3)",
        "self.assertEqual(f().year, 2000)",
        "self.assertTrue(f().startswith('x'))",
    ]
    solution = LIAR + "\nclass D: pass\n"
    assert set(outcomes(solution, *lines, imports="D, f")) <= {"failed", "error"}
    assert set(outcomes(LIAR, *lines, imports="f")) <= {"failed", "error"}


def test_a_function_that_claims_to_be_a_class_is_a_function_where_the_reference_says_so():
    tests = unittests("self.assertIn(3, solve(1))", imports="solve")
    liar = "class solve:\n  def __init__(self, x): pass\n  def __contains__(self, x): return True\n"
    assert statuses(run(liar, tests)) == {"test_0": "error"}
    named = tests.replace("solve", "Solve")
    assert statuses(run(liar.replace("solve", "Solve"), named, exports={"Solve": ["function"]})) == {"test_0": "error"}


def test_a_program_that_exits_passes_no_test_that_expects_anything():
    tests = """
        import unittest
        from solution import f
        class T(unittest.TestCase):
            def test_a(self):
                with self.assertRaises(Exception): f()
            def test_b(self):
                try: f()
                except: pass
        def test_c(): pass
        """
    assert Counter(statuses(run("import os\ndef f(): os._exit(0)", tests)).values()) == {"error": 3}


@pytest.mark.parametrize(
    "exports",
    [
        "[1]",
        "{'f': 1}",
        "{'f': []}",
        "{'f': ['verdict']}",
        "{'g': ['function']}",
        "{'f': ['class', [1]]}",
        "{'f': ['class', ['__eq__'] * 1000]}",
    ],
)
def test_a_program_that_lies_about_what_it_has_is_cut_off(exports):
    solution = f"""
        import sys
        for module in list(sys.modules.values()):
            if hasattr(module, "Keeper"):
                module.Keeper.exports = lambda self, names: {exports}
        def f(): return 1
        """
    with pytest.raises(Gone):
        run(solution, unittests("self.assertEqual(f(), 1)"))


def test_each_result_is_told_at_once():
    told = []
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process == 0:
        try:
            ours.close()
            candidate("def f(): return 1", theirs.fileno())
        finally:
            os._exit(0)
    theirs.close()
    tests = unittests("self.assertEqual(f(), 1)", "self.assertEqual(f(), 2)")
    report = run_suite(tests, "solution", None, Remote(Line(ours.fileno())), told.append)
    ours.close()
    os.waitpid(process, 0)
    assert told == report.results
    assert told[0] == Result("T.test_0", "passed")
