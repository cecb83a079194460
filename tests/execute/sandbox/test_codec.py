"""Every listed value arrives as itself and as a copy, or as nothing that could be mistaken for it."""

import collections
import datetime
import itertools
import json
import math
import subprocess
import sys
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.execute.sandbox import codec_write
from align.execute.sandbox.codec import (
    MAX_BYTES,
    MAX_DEPTH,
    CodecError,
    Opaque,
    dumps,
    loads,
)

SANDBOX = Path(codec_write.__file__).parent

ZONES = st.none() | st.builds(
    datetime.timezone, st.timedeltas(datetime.timedelta(-1, 60), datetime.timedelta(0, 86340))
)
KEYS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
    | st.complex_numbers()
    | st.decimals().filter(lambda value: not value.is_snan())
    | st.fractions()
    | st.dates()
    | st.datetimes(timezones=ZONES)
    | st.times(timezones=ZONES)
    | st.timedeltas()
    | st.sampled_from([..., NotImplemented, int, dict, type(None), KeyError, collections.deque, 2**64, -(2**63)])
    | st.builds(range, st.integers(), st.integers(), st.integers(1))
)
HASHABLE = st.recursive(KEYS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=3)


def containers(inner):
    pairs = st.dictionaries(HASHABLE, inner, max_size=3)
    return (
        st.lists(inner, max_size=4)
        | st.lists(st.lists(st.integers() | st.text(max_size=3), max_size=3), max_size=3)
        | st.tuples(inner, inner)
        | pairs
        | st.dictionaries(st.sampled_from(["a", "$t", "$", "b$", "\ud800", "é"]), inner, max_size=3)
        | st.builds(collections.deque, st.lists(inner, max_size=3), st.none() | st.integers(0, 5))
        | st.builds(collections.OrderedDict, pairs)
        | st.builds(collections.Counter, st.dictionaries(HASHABLE, st.integers(), max_size=3))
        | st.builds(collections.defaultdict, st.none(), pairs)
        | st.sets(HASHABLE, max_size=4)
        | st.builds(slice, inner, inner, inner)
    )


VALUES = st.recursive(HASHABLE | st.builds(bytearray, st.binary()), containers, max_leaves=6)


def same(one, other):
    """Equal, of exactly the same types, a nan equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float | Decimal):
        return str(one) == str(other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, slice):
        return same((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    if isinstance(one, collections.deque) and one.maxlen != other.maxlen:
        return False
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        # a nan has the hash of its address
        return sorted(map(text, one)) == sorted(map(text, other))
    if isinstance(one, dict):
        return same(list(one.keys()), list(other.keys())) and same(list(one.values()), list(other.values()))
    if isinstance(one, datetime.datetime | datetime.time):
        return one == other and one.isoformat() == other.isoformat() and one.fold == other.fold
    return one == other


def text(value):
    if isinstance(value, frozenset | set):
        return f"{type(value).__name__}{sorted(map(text, value))}"
    if isinstance(value, tuple):
        return f"tuple{[text(item) for item in value]}"
    return f"{value:x}" if type(value) is int else repr(value)


@given(VALUES)
@settings(max_examples=80, deadline=None)
def test_every_listed_value_arrives_as_itself(value):
    assert same(loads(dumps(value)), value)


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_an_encoded_value_is_one_line_of_ascii_json(value):
    data = dumps(value)
    assert data.isascii()
    assert not {10, 13} & set(data)
    json.loads(data)
    assert same(loads(data + b"\n"), value)


def test_what_is_plain_json_stays_itself():
    value = {"a": [1, None, True, "é", [1.5, {}]], "": {"b": []}}
    assert json.loads(dumps(value)) == value
    assert dumps([1, [2, 3]]) == b"[1,[2,3]]"


def test_what_arrives_is_a_copy():
    inner = [1]
    found = loads(dumps([inner, inner]))
    found[0].append(2)
    assert (inner, found) == ([1], [[1, 2], [1]])


def test_two_lone_surrogates_stay_two():
    for value in ("\ud83d\ude00", ["\ud83d\ude00", "\U0001f600"], {"\ud83d\ude00": 1}):
        assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6).reshape(2, 3),
        np.arange(12.0).reshape(3, 4)[::2, 1:],
        np.arange(4, dtype=">i2"),
        np.zeros((0, 3)),
        np.array(1.5),
        np.array(["a", "bc"]),
        np.array([b"x"]),
        np.array([1 + 2j], dtype=np.complex64),
        np.array(["2020-01-01T00:00"], dtype="M8[m]"),
        np.array([3], dtype="m8[ns]"),
        np.array([math.nan, -0.0], dtype=np.float16),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}",
)
def test_arrays_arrive_with_type_shape_and_content_and_can_be_written(value):
    found = loads(dumps({"x": value}))["x"]
    assert (type(found), found.dtype, found.shape) == (np.ndarray, value.dtype, value.shape)
    assert found.tobytes() == value.tobytes()
    found[...] = found


def test_numpy_scalars_keep_their_type_though_some_are_floats():
    for value in (np.float64(0.1), np.bool_(True), np.int32(-3), np.str_("é"), np.datetime64("2020-01-01")):
        found = loads(dumps([value]))[0]
        assert (type(found), found) == (type(value), value)


def test_arrays_of_objects_stay_behind():
    assert isinstance(loads(dumps(np.array([object()]))), Opaque)


class LyingList(list):
    __iter__ = __len__ = __getitem__ = None


class LyingDict(dict):
    keys = values = items = __iter__ = None


class LyingInt(int):
    __int__ = __index__ = __repr__ = __str__ = None

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class LyingStr(str):
    __str__ = __repr__ = __len__ = encode = None


class Color(IntEnum):
    RED = 2


class LyingFloat(float):
    __float__ = __repr__ = __str__ = None


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (LyingList([1, [2]]), [1, [2]]),
        (LyingDict(a=1), {"a": 1}),
        (LyingInt(5), 5),
        (LyingStr("é"), "é"),
        (LyingFloat(1.5), 1.5),
        (Color.RED, 2),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        ([LyingStr("a"), LyingInt(1)], ["a", 1]),
        ({LyingStr("a"): LyingInt(1)}, {"a": 1}),
        (type("Bytes", (bytes,), {})(b"ab"), b"ab"),
        (type("Set", (frozenset,), {"__iter__": None})([1]), frozenset([1])),
        (type("Numbers", (np.ndarray,), {}).__call__((2,), buffer=b"\0" * 16).astype(int), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_arrive_as_the_data_of_their_base(value, base):
    found = loads(dumps(value))
    if base is None:
        assert type(found) is np.ndarray
    else:
        assert same(found, base)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (x * x for x in range(3)),
        lambda: map(str, [1, 2]),
        lambda: zip([1], "a", strict=True),
        lambda: filter(None, [0, 1]),
        lambda: enumerate("ab"),
        lambda: reversed([1, 2]),
        lambda: iter({1: 2}),
        lambda: iter(range(10**30, 10**30 + 2)),
        lambda: itertools.accumulate([1, 2, 3]),
        lambda: itertools.islice(itertools.count(), 2),
    ],
)
def test_an_iterator_arrives_as_an_iterator_over_its_items(make):
    found = loads(dumps(make()))
    assert iter(found) is found
    assert list(found) == list(make())


def test_an_endless_iterator_is_refused():
    with pytest.raises(CodecError, match="100,000"):
        dumps(itertools.count())


def test_what_an_iterator_raises_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        dumps(1 // x for x in (1, 0))


def test_views_of_a_dict_compare_as_views():
    value = {"a": 1, "b": 2}
    assert loads(dumps(value.keys())) == {"a", "b"}
    assert loads(dumps(value.items())) == {("a", 1), ("b", 2)}
    assert list(loads(dumps(value.values()))) == [1, 2]
    assert loads(dumps(value.values())) != [1, 2]
    assert loads(dumps(collections.OrderedDict(value).keys())) == {"a", "b"}


class Foo:
    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize("value", [Foo(), Foo, len, math, Enum("E", "A").A, object(), lambda: 0, open])
def test_what_has_no_plain_form_equals_nothing(value):
    found = loads(dumps([value]))[0]
    assert found
    assert not found == found  # noqa: SIM201
    assert found != found
    assert found not in (5, None, True)
    assert {found: 1}
    for broken in (lambda: found + 1, lambda: found < 1, lambda: len(found), lambda: found(), lambda: found[0]):
        with pytest.raises(TypeError):
            broken()


def test_a_stand_in_says_what_it_was():
    assert repr(loads(dumps(Foo()))) == "<Foo object>"
    assert repr(loads(dumps(loads(dumps(Foo()))))) == "<Foo object>"


def test_objects_can_be_named_by_tokens():
    asked, foo = [], Foo()

    def refer(value):
        asked.append(type(value).__name__)
        return ["foo", 7] if value is foo else None

    data = dumps([1, "a", foo, (i for i in [1]), int, math], refer)
    assert asked == ["Foo", "module"]
    assert loads(data, lambda token: ("found", token))[2] == ("found", ["foo", 7])


def test_tokens_are_refused_where_nobody_resolves_them():
    with pytest.raises(CodecError):
        loads(b'{"$r":1}')
    with pytest.raises(CodecError):
        loads(b'{"\\u0024r":1}', lambda token: 5)


def test_a_cycle_is_refused():
    cycle = []
    cycle += [cycle, cycle, {"a": (cycle,)}]
    with pytest.raises(CodecError):
        dumps(cycle)


def nested(wrap, depth):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}, lambda x: {2: x}, lambda x: iter([x])]
)
def test_nesting_is_taken_to_its_limit_and_no_further(wrap):
    loads(dumps(nested(wrap, MAX_DEPTH)))
    with pytest.raises(CodecError, match="deep"):
        dumps(nested(wrap, MAX_DEPTH + 1))


def test_brackets_in_a_string_are_no_nesting():
    for value in ("[" * 1000, ["[" * 1000, '"' * 300 + "{" * 300, "\\" * 301], {"[" * 500: 1}):
        assert loads(dumps(value)) == value


def test_commas_in_a_string_are_no_items():
    value = "1,2," * 600_000
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        "x" * (MAX_BYTES - 1),
        ["x" * 100_000] * 100_000,
        [["x" * 100_000]] * 100_000,
        [0] * 2_000_000,
        [[0] * 1000] * 2_000,
        b"x" * MAX_BYTES,
        1 << (MAX_BYTES * 4),
        np.zeros((3_000, 3_000)),
        range(1, 10**7).__iter__(),
        {i: i for i in range(600_000)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_too_large_is_refused_before_it_is_written(value):
    with pytest.raises(CodecError):
        dumps(value)


def test_a_million_numbers_are_taken():
    value = list(range(990_000))
    assert loads(dumps(value)) == value


def test_it_starts_without_the_rest_of_align():
    code = "from sandbox import codec; import sys; print([x for x in sys.modules if 'align' in x or 'numpy' in x])"
    found = subprocess.run(
        [sys.executable, "-s", "-P", "-S", "-B", "-c", code],
        env={"PYTHONPATH": str(SANDBOX.parent)},
        capture_output=True,
    )
    assert found.stdout == b"[]\n"


def test_without_numpy_an_array_is_a_stand_in():
    code = 'from sandbox.codec import loads; print(loads(b\'[{"$nd":["<f8","AAAAAAAAAAA=",1]}]\'))'
    found = subprocess.run(
        [sys.executable, "-s", "-P", "-S", "-B", "-c", code],
        env={"PYTHONPATH": str(SANDBOX.parent)},
        capture_output=True,
    )
    assert found.stdout == b"[<ndarray object>]\n"
