"""Asserts are counted one by one, and a test source passes exactly if it passes as it was written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.execute.sandbox.counting import TALLY, prepare


class Seen:
    """A tally that remembers which asserts failed."""

    def __init__(self):
        self.failed = set()

    def begin(self, index):
        return index

    def judge(self, index, value):
        if not value:
            self.failed.add(index)

    def raised(self, index):
        self.failed.add(index)


def passes_as_written(source, **names):
    try:
        exec(source, dict(names))
    except BaseException:
        return False
    return True


def passes_rewritten(source, **names):
    seen = Seen()
    try:
        exec(prepare(source, "<tests>").code, {TALLY: seen, **names})
    except BaseException:
        return False
    return not seen.failed


def test_every_assert_has_an_index_wherever_it_stands():
    tests = prepare("def check(f):\n    for x in 1, 2:\n        assert f(x)\n    assert f(3), 'no'\nassert 1", "t")
    assert (tests.total, tests.whole) == (3, False)
    assert tests.lines == ("assert f(x)", "assert f(3), 'no'", "assert 1")


@pytest.mark.parametrize(
    "source",
    [
        "pass",
        "try:\n    assert f(1)\nexcept AssertionError:\n    pass",
        "try:\n    assert f(1)\nexcept:\n    pass",
        "try:\n    assert f(1)\nexcept (ValueError, Exception):\n    pass",
        "import contextlib\nwith contextlib.suppress(AssertionError):\n    assert f(1)",
        "from unittest import TestCase\nassert f(1)",
        "import pytest\nwith pytest.raises(AssertionError):\n    assert f(1)",
    ],
)
def test_tests_that_handle_failures_themselves_count_as_one(source):
    assert (prepare(source, "t").total, prepare(source, "t").whole) == (1, True)


def test_waiting_for_another_exception_does_not_stop_the_counting():
    source = "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass\nassert f(1)"
    assert prepare(source, "t").total == 2


ASSERTS = st.sampled_from(
    ["assert True", "assert False", "assert f(0)", "assert f(1), f(0)", "assert [] or f(1)", "x = f(0)", "x = f(1)"]
)
HANDLERS = st.sampled_from(["ValueError", "AssertionError", "Exception", "(KeyError, ZeroDivisionError)", ""])


@st.composite
def sources(draw):
    lines = []
    for statement in draw(st.lists(ASSERTS, min_size=1, max_size=4)):
        match draw(st.sampled_from(["plain", "loop", "helper", "try"])):
            case "plain":
                lines.append(statement)
            case "loop":
                lines.append(f"for y in range({draw(st.integers(0, 2))}):\n    {statement}")
            case "helper":
                lines.append(f"def helper():\n    {statement}\nhelper()")
            case "try":
                lines.append(f"try:\n    {statement}\nexcept {draw(HANDLERS)}:\n    pass")
    return "\n".join(lines)


@settings(max_examples=300, deadline=None)
@given(sources())
def test_passing_is_the_same_with_and_without_rewriting(source):
    names = {"f": lambda x: 1 // x}
    assert passes_rewritten(source, **names) == passes_as_written(source, **names)
