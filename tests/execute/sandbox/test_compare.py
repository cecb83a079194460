"""Comparing values and output with what was expected."""

import math

import pytest

from align.execute.sandbox.compare import COMPARATORS, same, same_output


class Nothing:
    """As the codec gives for an object that it does not know: equal to nothing."""

    def __eq__(self, other):
        return False

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("expected", "got", "atol", "right"),
    [
        (3, 3, None, True),
        (1, True, None, True),
        ([1, 2], (1, 2), None, False),
        (0.3, 0.1 + 0.2, None, False),
        (0.3, 0.1 + 0.2, 0, True),
        ([0.3, 1.0], [0.1 + 0.2, 1.0], 0.0, True),
        ([0.3, 1.0], (0.1 + 0.2, 1.0), 0.0, False),
        ([0.3, 1.0], [0.1 + 0.2], 0.0, False),
        ([[0.3]], [[0.1 + 0.2]], 0.0, False),
        ([[0.3]], [[0.1 + 0.2]], 1e-6, True),
        ([0.3, [1.0]], [0.1 + 0.2, [1.0]], 1e-6, False),
        ([1.0], [[]], 1e-6, False),
        (1.0, 1.000001, 0, True),
        (1.0, 1.000002, 0, False),
        (1.0, 1.01, 0.1, True),
        (1, 1.01, 0.1, False),
        (10, 11, 0, False),
        (math.inf, math.inf, 0, True),
        (math.inf, -math.inf, 0, False),
        (math.inf, 1.0, 0, False),
        (math.nan, math.nan + 1, 1e-6, False),
        (1 + 1j, 1 + 1.00000001j, 1e-6, True),
        ("a", "b", 1e-6, False),
        (None, 0, 1e-6, False),
        (10**400, 10**400 + 1, 1e-6, False),
        (Nothing(), Nothing(), 1e-6, False),
    ],
)
def test_equal_follows_evalplus(expected, got, atol, right):
    assert same("equal", (), expected, got, atol) is right


@pytest.mark.parametrize(
    ("compare", "args", "expected", "got", "right"),
    [
        ("json", (), [[1, 2]], ((1, 2),), True),
        ("json", (), {"a": [1]}, {"a": (1,)}, True),
        ("json", (), [1, 2], iter([1, 2]), True),
        ("json", (), [1, 2], [2, 1], False),
        ("apps", (), [[1, 2]], (1, 2), True),
        ("apps", (), [1, 2], [1, 2], True),
        ("apps", (), [5], 5, True),
        ("apps", (), [5, 6], 6, False),
        ("apps", (), [], 0, False),
        ("set", (), [1, 2], (2, 1, 1), True),
        ("set", (), [1, 2], [1], False),
        ("set", (), [1, 2], 3, False),
        ("not_none", (), "match", True, True),
        ("not_none", (), "match", Nothing(), True),
        ("not_none", (), "match", None, False),
        ("not_none", (), None, None, True),
        ("not_none", (), None, False, True),
        ("not_none", (), "match", False, False),
        ("returns", (1, 2), True, False, True),
        ("or_zero", (8,), 7, 0, True),
        ("or_zero", (8,), 7, 1, False),
        ("surface_area", (3, 4), 33, 33, True),
        ("surface_area", (3, 4), 99, 35, True),
        ("surface_area", (3, 4), 99, 36, False),
        ("digit_distance", (1, 25), 0, 6, True),
        ("digit_distance", (1, 25), 0, 7, False),
        ("find_zero", ([-4, 2],), None, 2.0, True),
        ("find_zero", ([-4, 2],), 2.0, 2.1, False),
        ("find_zero", ([-4, 2],), 2.0, "2", False),
        ("find_zero", ([-4, 2],), 2.0, math.nan, False),
    ],
)
def test_a_named_comparator_decides(compare, args, expected, got, right):
    assert same(compare, args, expected, got, 1e-4) is right


@pytest.mark.parametrize("compare", COMPARATORS)
@pytest.mark.parametrize(
    "got", [None, "x", b"", [[]], {}, Nothing(), pytest.param(10**5000, id="huge"), math.nan, ..., int]
)
def test_nothing_that_a_program_returns_breaks_a_comparator(compare, got):
    assert same(compare, (3, 4), [1.5], got, 1e-6) in (True, False)


def test_an_unknown_comparator_is_no_verdict():
    with pytest.raises(KeyError):
        same("roughly", (), 1, 1, None)


def test_arrays_are_compared_by_shape_and_items():
    numpy = pytest.importorskip("numpy")
    assert same("equal", (), numpy.array([1, 2]), numpy.array([1, 2]), None)
    assert not same("equal", (), numpy.array([1, 2]), numpy.array([[1, 2]]), None)
    assert not same("equal", (), numpy.array([1, 2]), [1, 2], None)
    assert same("equal", (), numpy.array([0.3]), numpy.array([0.1 + 0.2]), 0)
    assert not same("equal", (), numpy.array([0.3]), numpy.array([0.4]), 0)


@pytest.mark.parametrize(
    ("expected", "got", "right"),
    [
        ("1\n2\n", b"1\n2\n", True),
        ("1\n2\n", b"1  \r\n2\n\n\n", True),
        ("1\n2\n", b"1\n", False),
        ("1\n", b"1\n2\n", False),
        ("1\n2", b"\n1\n2", False),
        ("1 2", b"1  2", False),
        ("a", b" a", False),
        ("", b"", True),
        ("", b"\n \n", True),
        ("", b"x", False),
        ("x", b"", False),
        ("1.0", b"1", False),
        ("\ufffd", b"\xff", False),
        ("é", "é".encode(), True),
        ("1\x0b2", b"1\n2", False),
    ],
)
def test_the_whole_output_counts(expected, got, right):
    assert same_output(expected, got, None) is right


@pytest.mark.parametrize(
    ("expected", "got", "right"),
    [
        ("0.5 1", b"0.5000001 1", True),
        ("0.5 1", b"0.6 1", False),
        ("5", b"5.0000001", True),
        ("5.0", b"5", True),
        ("1000000000.0", b"1000000100", True),
        ("1000000000", b"1000000100", False),
        ("0.5\n0.5", b"0.5", False),
        ("0.5", b"0.5 0.5", False),
        ("0.5", b"nan", False),
        ("1e400", b"2e400", False),
        ("inf", b"1e999", False),
        ("a 0.5", b"b 0.5", False),
        ("1000", b"1_000", False),
    ],
)
def test_with_a_tolerance_numbers_may_be_off(expected, got, right):
    assert same_output(expected, got, 1e-6) is right
