"""An exception arrives as what it was, nothing of it runs, and it cannot end the process that raises it."""

import builtins
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from align.execute.sandbox import codec_errors
from align.execute.sandbox.codec import CodecError, describe_error, dumps, loads, rebuild_error

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=1),
    max_leaves=10,
)


class Custom(ValueError):
    def __init__(self, code):
        self.code = code

    def __str__(self):
        return f"code {self.code}!"


class Unprintable(Exception):
    def __str__(self):
        raise SystemExit("hostile")


def travelled(error, known=None):
    return rebuild_error(loads(dumps(describe_error(error))), known or {})


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x", 1),
        KeyError("k"),
        KeyError((1, 2)),
        ZeroDivisionError("division by zero"),
        FileNotFoundError(2, "No such file", "f.txt"),
        OSError("x"),
        StopIteration(3),
        UnicodeDecodeError("utf8", b"abc", 0, 1, "reason"),
        UnicodeEncodeError("ascii", "é", 0, 1, "reason"),
        UnicodeTranslateError("abc", 0, 1, "reason"),
        AssertionError(),
        RecursionError("maximum recursion depth exceeded"),
        ImportError("no"),
    ],
    ids=repr,
)
def test_a_builtin_exception_arrives_with_its_type_message_and_arguments(error):
    found = travelled(error)
    assert (type(found), str(found), found.args) == (type(error), str(error), error.args)


def test_every_builtin_exception_can_be_rebuilt_even_without_its_arguments():
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
    for kind in kinds:
        for arguments in (None, "[]", "[1,2,3,4,5]", '["a"]'):
            names = [base.__name__ for base in kind.__mro__[:-1]]
            found = rebuild_error([names, "m", arguments, None])
            # the number of an OSError chooses its class
            assert kind.__name__ in [base.__name__ for base in type(found).__mro__]
            str(found), repr(found)


def test_an_exception_of_the_programs_is_known_by_its_name_its_bases_and_what_it_says():
    found = travelled(Custom(7))
    assert (type(found).__name__, type(found).__bases__) == ("Custom", (ValueError,))
    assert (str(found), found.args, found.code) == ("code 7!", (7,), 7)
    assert type(travelled(Custom(8))) is type(found)


def test_a_class_that_is_known_wins_without_running_its_own_code():
    class Known(Exception):
        def __new__(cls, *args):
            raise SystemExit("ran")

        __init__ = __new__

    found = travelled(Custom(7), {"Custom": Known})
    assert (type(found), found.code) == (Known, 7)
    assert type(travelled(type("Sub", (Custom,), {})(1), {"Custom": Custom})).__bases__ == (Custom,)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, type("Own", (BaseException,), {})])
def test_nothing_rebuilt_can_end_the_tester(kind):
    for known in ({}, {kind.__name__: kind}):
        found = travelled(kind(0), known)
        assert isinstance(found, RuntimeError)
        assert type(found).__name__ == kind.__name__


def test_an_exception_that_cannot_be_printed_is_described():
    found = travelled(Unprintable("x"))
    assert (type(found).__name__, str(found), found.args) == ("Unprintable", "", ("x",))


def test_long_messages_are_cut_and_long_arguments_dropped():
    found = travelled(ValueError("é" * 10**6))
    assert str(found) == "é" * 2000
    assert len(dumps(describe_error(ValueError([0] * 10**6)))) < 10_000


def test_arguments_that_hold_themselves_are_dropped():
    cycle = []
    cycle.append(cycle)
    assert str(travelled(ValueError(cycle))) == "[[...]]"


def test_a_message_of_a_lying_string_is_its_data():
    class Lying(Exception):
        def __str__(self):
            return type("Text", (str,), {"__str__": None, "__len__": None})("text")

    assert str(travelled(Lying())) == "text"


def test_attributes_replace_no_methods_and_no_private_names():
    error = ValueError("x")
    vars(error).update({"with_traceback": int, "_private": 1, "__cause__": 2, "args_": 3})
    assert vars(travelled(error)) == {"args_": 3}


def test_places_outside_of_the_text_are_not_looked_at():
    # str() of such an error ends Python 3.11 with SIGSEGV
    for kind, value in (("Decode", {"$b": ""}), ("Encode", ""), ("Translate", "")):
        text = json.dumps(["u", value, -(2**40), -(2**40) + 1, "x"][kind == "Translate" :])
        names = [f"Unicode{kind}Error", "UnicodeError", "ValueError", "Exception"]
        str(rebuild_error([names, "m", text, None]))


def test_a_traceback_of_a_rebuilt_syntax_error_is_short():
    names = ["SyntaxError", "Exception"]
    found = rebuild_error([names, "m", json.dumps(["m", ["f", 1, 1, "x", 1, 10**9]]), None])
    assert found.end_offset is None


@given(JSON | st.tuples(st.lists(st.text(), max_size=3), st.text(), JSON, JSON).map(list))
@settings(max_examples=60, deadline=None)
@example([["a b"], "", None, None])
@example([["\ud800", "Exception"], "", None, None])
@example([["X", "OSError", "UnicodeDecodeError", "Exception"], "", "[1,2,3,4,5]", "{}"])
@example([["X", "Exception", "ValueError"], "", None, None])
@example([["ValueError"], "", '{"$t":[1]}', None])
@example([["ValueError"], "", "[]", '{"$d":[1,2]}'])
@example([["BlockingIOError"], "", '[1,2,{"$i":"ffffffffffffffffffff"}]', None])
def test_any_description_gives_an_exception_or_the_codecs_error(plain):
    try:
        found = rebuild_error(plain)
    except CodecError:
        return
    assert isinstance(found, Exception)
    str(found)


def test_rebuilt_classes_are_not_kept_for_ever():
    for number in range(1000):
        rebuild_error([[f"Error{number}", "Exception"], "", None, None])
    assert codec_errors._made.cache_info().currsize <= 256
