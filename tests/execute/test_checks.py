"""What tests take from the program they judge; nothing of a program runs here."""

import json
import sys
import warnings
from types import ModuleType

import pytest

from align.execute.checks import checks_for
from align.io import read
from align.schema import Problem


def asserts(*tests, reference=None, **fields):
    return checks_for(Problem(prompt="", tests=list(tests), reference=reference, **fields))


def suite(source, reference=None):
    return checks_for(Problem(prompt="", tests=[source], test_kind="unittest", reference=reference))


def test_asserts_take_the_names_that_nobody_else_defines():
    tests = "expected = [helper(x) for x in range(3)]\nassert sorted(add(*expected)) == sorted(expected)"
    checks, why = asserts(tests, "assert (lambda y: y)(add(1, 2)) == total", test_setup="total = 3")
    assert (checks.exports, why) == ({"add": "function", "helper": "function"}, None)


def test_the_entry_point_is_taken_though_a_builtin_has_its_name():
    assert asserts("assert sum(1, 2) == 3")[0].exports == {}
    assert asserts("assert sum(1, 2) == 3", reference="def sum(a, b): return a + b")[0].exports == {"sum": "function"}
    assert asserts("assert sum(1, 2) == 3", entry_point="sum")[0].exports == {"sum": "function"}


def test_modules_that_asserts_borrow_from_the_program_are_imported_for_the_tests_alone():
    reference = "import math as m\nfrom collections import Counter\ndef f(x): return x"
    checks, why = asserts("assert m.isclose(f(1), 1)", "assert Counter(f('a')) == {'a': 1}", reference=reference)
    assert checks.prelude == "from collections import Counter\nimport math as m"
    assert (checks.exports, checks.imports, why) == ({"f": "function"}, "", None)
    assert asserts("assert math.isclose(f(1), 1)")[0].prelude == "import math"
    assert asserts("assert math.isclose(f(1), 1)", test_imports=["import math"])[0].prelude is None


def test_asserts_over_objects_of_the_programs_are_not_supported_whatever_the_program():
    told = "the tests use objects of the program's class Pair"
    assert asserts("assert chain([Pair(1, 2)]) == 1")[1] == told
    assert asserts("assert chain([Pair(1, 2)]) == 1", reference="class Pair: pass\ndef chain(x): pass")[1] == told
    assert asserts("assert make(1).first == 1", reference="class Pair: pass\ndef make(x): pass")[1] == told
    assert asserts("assert f(1) == 1", reference="class Pair: pass\ndef f(x): pass")[1] is None
    assert asserts("assert f(1).strip() == 'a'", reference="class Pair: pass\ndef f(x): pass")[1] is None


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ("def it(): pass", "function"),
        ("async def it(): pass", "function"),
        ("it = lambda: 1", "function"),
        ("it = len", "function"),
        ("it = 3", "data"),
        ("it: int = 3", "data"),
        ("first, it = 1, 2", "data"),
        ("if True:\n    it = 3", "data"),
        ("class it: pass", "class"),
        ("from collections import namedtuple\nit = namedtuple('it', 'a')", "class"),
        ("class it(ValueError): pass", "exception:ValueError"),
        ("class base(KeyError): pass\nclass it(base): pass", "exception:KeyError"),
    ],
)
def test_a_reference_tells_what_a_name_is(definition, kind):
    checks, why = suite("import unittest\nfrom answer import it\n", definition)
    assert (checks.exports, checks.reference, why) == ({"it": kind}, definition, None)
    assert (asserts("assert it(1)", "assert it", reference=definition)[1] is None) == (kind in ("function", "data"))


def test_without_a_reference_the_way_a_name_is_used_and_written_tells():
    checks, why = suite(
        "import unittest\nfrom answer import f, LIMIT, ParseError, Bad\n"
        "class T(unittest.TestCase):\n    def test(self):\n        with self.assertRaises(Bad): f(LIMIT)\n"
    )
    kinds = {"f": "function", "LIMIT": "data", "ParseError": "exception:Exception", "Bad": "exception:Exception"}
    assert (checks.module, checks.exports, why) == ("answer", kinds, None)
    assert suite("from answer import Robot\nRobot().name")[1] is None
    assert "combine an object" in suite("from answer import Robot\nassert Robot() + 1")[1]


def test_a_module_may_be_imported_whole():
    assert suite("import answer as a\nassert a.f(1) == a.g(2)")[0].exports == {"f": "function", "g": "function"}
    assert suite("from answer import *\nassert f(len('a'))")[0].exports == {"f": "function"}


def test_of_several_modules_the_program_is_the_one_that_the_reference_fits():
    _, why = suite("from helpers import a, b\nfrom answer import f", "def f(): pass")
    assert why == "the tests import helpers, which is not there"


def test_a_check_takes_its_entry_point_and_has_the_prompts_helpers():
    prompt = "def helper(x): return x\n\ndef f(x):\n"
    problem = Problem(
        prompt=prompt, entry_point="f", tests=["def check(c): assert c(1) == helper(1)"], test_kind="check"
    )
    checks, why = checks_for(problem)
    assert (checks.exports, why) == ({"f": "function"}, None)
    space = {}
    exec(checks.prelude, space)
    assert space["helper"](1) == 1


def test_calls_carry_a_reference_only_where_they_expect_nothing():
    def calls(*entries, **fields):
        tests = [json.dumps(entry) for entry in entries]
        return checks_for(Problem(prompt="", tests=tests, test_kind="calls", reference="def f(): pass", **fields))

    told, untold = {"input": [1], "output": None, "compare": "set"}, {"input": [2]}
    checks, why = calls(told, entry_point="f", atol=0.5)
    assert (checks.reference, checks.compare, checks.atol, why) == (None, "set", 0.5, None)
    assert calls(told, untold, entry_point="f")[0].reference == "def f(): pass"
    assert calls(told)[1] == "calls need an entry_point"
    missing = Problem(prompt="", tests=['{"input": []}'], test_kind="calls", entry_point="f")
    assert checks_for(missing)[1] == "a test without an output needs a reference"


@pytest.mark.parametrize("test", ["assert f(", "[" * 3000, "\0"])
@pytest.mark.parametrize("kind", ["asserts", "check", "calls", "io", "unittest"])
def test_tests_that_cannot_be_read_are_left_to_the_tester(test, kind):
    checks, _ = checks_for(Problem(prompt="p q", tests=[test], test_kind=kind, entry_point="f", reference="def f("))
    assert checks.exports in ({}, {"f": "function"})


def test_mbpps_references_pass_with_nothing_but_what_the_asserts_take(shared):
    """Only those that build a class of the program's are left out. One in four is run."""
    left_out = set()
    for index, problem in enumerate(read(shared / "data/eval/mbpp.jsonl", Problem)):
        checks, why = checks_for(problem)
        if why:
            left_out.add(problem.meta["task_id"])
        elif index % 4 == 0 or checks.given:
            passes(checks, problem.reference)
    assert left_out == {601}


def passes(checks, reference):
    """Run asserts beside a reference, with no more of it than they take."""
    program, tests = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(f"{checks.imports}\n{reference}", program)
        exec(f"{checks.imports}\n{checks.prelude or ''}", tests)
        exec(checks.setup, program if checks.given else tests)
        tests |= {taken: program[taken] for taken in (*checks.exports, *checks.given)}
        exec("\n".join(checks.tests), tests)


def test_exercisms_modules_and_kinds_are_those_of_the_examples(shared, monkeypatch):
    supported = 0
    for problem in read(shared / "data/tasks/exercism_python_practice.jsonl", Problem):
        checks, why = checks_for(problem)
        supported += why is None
        assert checks.module == problem.meta["module"]
        assert checks.exports
        if why is None:
            answer = ModuleType("answer")
            monkeypatch.setitem(sys.modules, "answer", answer)
            space = vars(answer)
            exec(problem.reference, space)
            for name, kind in checks.exports.items():
                value = space[name]
                if kind.startswith("exception:"):
                    base = next(one for one in value.__mro__ if one.__module__ == "builtins")
                    assert kind == f"exception:{base.__name__}"
                else:
                    assert kind == ("class" if isinstance(value, type) else "function" if callable(value) else "data")
    assert supported == 133
