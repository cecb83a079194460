"""What asserts take from a program, told by reading them; nothing runs here."""

import pytest

from align.execute.exports import taken_by_asserts

REFERENCE = "class Node: pass\nclass Bad(ValueError): pass\nLIMIT = 3\ndef f(x): return x\ndef g(x): return x\n"


def taken(tests, setup="", reference=REFERENCE, entry_point="f"):
    return taken_by_asserts("", setup, tests, reference, entry_point)


def test_a_name_is_the_programs_if_the_tests_call_it_or_the_reference_has_it():
    tests = "assert f(a) == b\nassert helper(1)\nassert ____, 'x'\nassert sorted([1], key=g)\nassert Other != TOTAL"
    assert taken(tests).exports == {"f": "function", "g": "function", "helper": "function"}
    assert taken(tests, reference=None).exports == {"f": "function", "helper": "function"}


def test_names_are_bare_where_they_are_not_only_called():
    assert taken("assert f(g(1)) == f(2)").bare == ()
    assert taken("assert f(g)").bare == ("g",)
    assert taken("assert f and f(1)").bare == ("f",)
    assert taken("def check(f): return f\nassert f(1)").bare == ("f",)


@pytest.mark.parametrize(
    ("test", "obstacle"),
    [
        ("assert f(Node())", "objects of the program's class Node"),
        ("assert isinstance(f(1), Node)", "objects of the program's class Node"),
        ("assert f(1) == LIMIT", "the program's data LIMIT"),
        ("try: f(1)\nexcept Bad: pass", "the program's exception Bad"),
        ("assert f(1).size", "objects of the program's class Node"),
    ],
)
def test_only_functions_can_be_taken_from_another_process(test, obstacle):
    assert taken(test).obstacle == f"the tests use {obstacle}"


def test_a_value_that_is_called_is_a_function():
    assert taken("assert f(1)", reference="import operator\nf = operator.neg").exports == {"f": "function"}
    assert taken("assert f(1)", reference="import operator\nf = operator.neg").obstacle is None


def test_what_a_set_up_makes_of_the_programs_classes_is_given():
    found = taken("assert f(a) == g([b, (a,)])\nassert f(x=b)", "a = Node()\nb = c = Node()\na.next = b")
    assert (found.given, found.obstacle, found.exports) == (("a", "b"), None, {"f": "function", "g": "function"})
    # without classes, it is the tests' own
    assert taken("assert f(a)", "a = [1]").given == ()
    assert taken("assert f(a)", "a = g(1)").given == ()


@pytest.mark.parametrize(
    ("setup", "test"),
    [
        ("a = Node()", "assert f(a.next)"),
        ("a = Node()", "assert f(a) == a"),
        ("a = Node()", "assert f(lambda: a)"),
        ("a = Node()", "assert len([a])"),
        ("a = Node()", "assert f(a, Node)"),
        ("a, b = Node(), 3", "assert f(a) == b"),
        ("a = Node()\nassert a", "assert f(a)"),
        ("import math\na = Node()", "assert f(a) == math.pi"),
        ("def make(): return Node()", "assert f(make())"),
        ("for a in [Node()]: pass\nwith open('x') as b: pass", "assert f(a, *b, a.x)"),
    ],
)
def test_a_set_up_is_the_tests_own_where_they_do_more_with_it_than_pass_it(setup, test):
    found = taken(test, setup)
    assert (found.given, found.obstacle) == ((), "the tests use objects of the program's class Node")
