"""Objects that a set-up makes in the program's process, and functions that asserts do not only call."""

import pytest

from align.execute import program_for
from align.io import read
from align.schema import Problem

NODE = "class Node:\n    def __init__(self, data):\n        self.data, self.left = data, None\n"
HEIGHT = NODE + "def f(root):\n    return 0 if root is None else f(root.left) + 1\n"
SETUP = "root = Node(1)\nroot.left = Node(2)\nleaf = Node(3)"
TESTS = ("assert f(root) == 2", "assert f(leaf) == 1", "assert f(None) == 0")


@pytest.fixture
def tree(run):
    """Run a program on nodes that the set-up makes."""
    return lambda code, *tests: run(code, *(tests or TESTS), test_setup=SETUP, reference=HEIGHT)


def test_a_set_up_gives_a_program_objects_of_its_own_class(tree):
    assert tree(HEIGHT).outcome == "passed"
    assert tree(HEIGHT.replace("+ 1", "+ 2")).failed_tests == [0, 1]
    assert (
        tree(HEIGHT, "assert [f(x) for x in range(0)] == []", "assert f(root=root) == f(leaf) + 1").outcome == "passed"
    )
    assert tree("def f(root): return 0").outcome == "runtime_error"


def test_objects_are_passed_in_lists_too_and_keep_what_the_program_does_to_them(tree):
    code = NODE + "def f(nodes):\n    nodes[0].data += 1\n    return [node.data for node in nodes]\n"
    tests = ["assert f([root, leaf]) == [2, 3]", "assert f((root, leaf)) == [3, 3]"]
    assert tree(code, *tests).outcome == "passed"
    # and where calls depend on answers
    assert tree(code, "assert f([root, *[leaf][:len(f([leaf]))]]) == [2, 4]").outcome == "unsupported"
    assert tree(code, "x = f([leaf])[0]", "assert f([root, leaf]) == [2, x]", "assert x == 4").outcome == "passed"


@pytest.mark.parametrize("value", ["root", "Always()", "[root]", "leaf"])
def test_an_object_that_is_given_equals_nothing(tree, value):
    code = f"{NODE}class Always:\n    __eq__ = lambda *_: True\ndef f(_): return {value}\n"
    found = tree(code, "assert f(root) == 2", "assert f(leaf) in [1, [1]]", "assert f(root) == f(root)")
    assert found.tests_passed == 0


def test_a_program_that_takes_the_objects_away_fails(tree):
    assert tree(f"{HEIGHT}def take():\n    global root\n    del root\n").outcome == "passed"
    gone = NODE + "def f(node):\n    globals().clear()\n    return 2\n"
    assert tree(gone).outcome in ("wrong_answer", "runtime_error")


@pytest.mark.parametrize(
    "assertion",
    [
        "assert root.left.data == 2 and f(root) == 2",
        "assert f(root.left) == 1",
        "assert f(Node(1)) == 1",
        "assert f(root) == root",
        "assert len(str(root)) > 0",
        "assert sorted([root, leaf], key=f) == [leaf, root]",
        "assert root",
    ],
)
def test_asserts_that_do_more_with_given_objects_than_pass_them_are_not_supported(tree, assertion):
    assert tree(HEIGHT, assertion, "assert f(leaf) == 1").outcome == "unsupported"


def test_all_of_mbpps_set_ups_work_and_only_asserts_that_build_objects_do_not(shared, pool):
    problems = [one for one in read(shared / "data/eval/mbpp.jsonl", Problem) if one.meta["task_id"] in (367, 601, 927)]
    found = pool.run([program_for(problem, solution=problem.reference) for problem in problems])
    assert [execution.outcome for execution in found] == ["passed", "unsupported", "passed"]
    wrong = [problem.reference.replace("+1", "+2").replace("+ 1", "+ 2") for problem in problems]
    found = pool.run([program_for(one, solution=code) for one, code in zip(problems, wrong, strict=True)])
    assert [execution.outcome for execution in found] == ["wrong_answer", "unsupported", "wrong_answer"]


# ---- functions that are not only called

BARE = ["f", "f is not None", "callable(f)", "f != 3", "f == f", "f.__name__ == 'f'", "str(f)", "[f]"]


@pytest.mark.parametrize("test", BARE)
def test_a_function_that_the_program_lacks_is_nothing_to_the_asserts(run, test):
    assert run("def g(): pass", f"assert {test}").tests_passed == 0
    assert run("def f(): pass", f"assert {test}").outcome == "passed"


@pytest.mark.parametrize(
    "test", ["f == 3", "f in [1]", "not f", "f is None", "f < 3", "f + 1", "len(f)", "abs(f) == 0"]
)
def test_a_function_equals_nothing_whatever_the_program_makes_of_it(run, test):
    liar = "class F:\n    __eq__ = __lt__ = __call__ = lambda *_: True\n    __bool__ = lambda _: False\n"
    liar += "    __add__ = __len__ = __abs__ = lambda *_: 0\nf = F()\n"
    for program in (liar, "f = 3", "f = None", "def f(): pass"):
        assert run(program, f"assert {test}").tests_passed == 0


def test_functions_that_are_handed_on_are_called_all_the_same(run):
    tests = ["assert list(map(f, [1, 2])) == [2, 3]", "assert f(1) == 2"]
    assert run("def f(x): return x + 1", *tests).outcome == "passed"
    assert run("class Solution:\n    def f(self, x): return x + 1", *tests).outcome == "passed"
    assert run("def f(x): return x + 2", *tests).tests_passed == 0
    found = run("import os\ndef f(x): os._exit(0)", *tests)
    assert (found.outcome, found.tests_passed) == ("runtime_error", 0)


@pytest.mark.parametrize("test", ["____, 'message'", "nothing", "nothing != f(1)", "f(nothing) == 1", "[nothing]"])
def test_a_name_that_nobody_defines_stays_undefined(run, test):
    found = run("nothing = ____ = 1\ndef f(x): return 1", f"assert {test}", "assert f(1) == 1")
    assert (found.tests_passed, found.failed_tests) == (1, [0])
