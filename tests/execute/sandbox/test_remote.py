"""A tester that calls a program in another process believes nothing but the answer it asked for."""

import os
import signal
import socket
import tracemalloc
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.execute.sandbox.codec import MAX_BYTES, Opaque, dumps
from align.execute.sandbox.remote import (
    MAX_NESTING,
    Gone,
    Inexpressible,
    Line,
    Protocol,
    Remote,
    from_program,
    serve,
)


@contextmanager
def child(act):
    """A process that does `act(descriptor)`; the descriptor of this side."""
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process == 0:
        try:
            ours.close()
            act(theirs.fileno())
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield ours.fileno()
    finally:
        ours.close()
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@contextmanager
def program(source):
    """A program that is served."""

    def act(descriptor):
        space = {}
        exec(source, space)
        serve(Line(descriptor), space)

    with child(act) as descriptor:
        yield Remote(Line(descriptor))


@contextmanager
def saying(data):
    """A remote whose other side waits for a request, says `data` and closes."""

    def act(descriptor):
        Line(descriptor).receive()
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        with socket.socket(fileno=os.dup(descriptor)) as other:
            other.shutdown(socket.SHUT_WR)
            while other.recv(4096):
                pass

    with child(act) as descriptor:
        yield Remote(Line(descriptor))


def answers(*messages):
    return b"".join(dumps(message) + b"\n" for message in messages)


@pytest.mark.parametrize("value", [1, None, "ä\ud800", [1, (2, {3})], {"a": 1, (1, 2): 0}, 2**100, b"x", 1.5])
def test_values_come_back_as_they_went(value):
    with program("def f(*args, **kwargs): return args, kwargs") as remote:
        assert remote.call("f", (value,), {"key": value}) == ((value,), {"key": value})


def test_constants_are_read():
    with program("LIMIT = [1, 2]") as remote:
        assert remote.get("LIMIT") == [1, 2]


def test_methods_of_a_class_solution_answer_for_functions():
    with program("class Solution:\n  def f(self, x): return x + 1") as remote:
        assert remote.call("f", (1,)) == 2


def test_exceptions_arrive_by_type_and_arguments_and_say_whose_they_are():
    source = "class Bad(ValueError): pass\ndef f(): raise Bad('no', 3)"
    with program(source) as remote, pytest.raises(ValueError, match="no") as raised:
        remote.call("f")
    assert raised.value.args == ("no", 3)
    assert type(raised.value).__name__ == "Bad"
    assert from_program(raised.value)
    assert not from_program(ValueError())


def test_a_name_that_is_missing_is_a_name_error():
    with program("") as remote, pytest.raises(NameError):
        remote.call("f")


@pytest.mark.parametrize("error", ["SystemExit(0)", "KeyboardInterrupt()", "GeneratorExit()"])
def test_a_program_cannot_stop_its_tester_with_an_exception(error):
    with program(f"def f(): raise {error}") as remote, pytest.raises(RuntimeError):
        remote.call("f")


def test_callables_are_called_back():
    with program("def f(xs, op): return [op(x) for x in xs]") as remote:
        assert remote.call("f", ([1, 2], lambda x: divmod(x, 2))) == [(0, 1), (1, 0)]
        assert remote.call("f", (["a"], str.upper)) == ["A"]


def test_callbacks_may_call_the_program_again():
    with program("def f(xs, op): return [op(x) for x in xs]") as remote:

        def outer(x):
            return remote.call("f", ([1, 2], lambda y: (x, y)))

        assert remote.call("f", ("ab", outer)) == [[("a", 1), ("a", 2)], [("b", 1), ("b", 2)]]


def test_a_callback_that_is_returned_is_the_same_function():
    def own(x):
        return x

    with program("def f(op): return op") as remote:
        assert remote.call("f", (own,)) is own


def test_an_exception_of_a_callback_is_raised_in_the_program_as_that_type():
    source = "def f(op):\n  try: op()\n  except LookupError as error: return type(error).__name__, error.args"
    with program(source) as remote:
        assert remote.call("f", (lambda: {}["key"],)) == ("KeyError", ("key",))


def test_the_tests_own_exception_passes_through_the_program():
    class Own(Exception):
        pass

    def fail():
        raise Own(1)

    with program("def f(op): op()") as remote, pytest.raises(Own):
        remote.call("f", (fail,))


def test_callbacks_nest_as_deep_as_allowed_and_no_deeper():
    with program("def f(op, n): return op(n)") as remote:

        def down(n):
            return remote.call("f", (down, n - 1)) if n else "bottom"

        assert remote.call("f", (down, MAX_NESTING - 1)) == "bottom"
        with pytest.raises(Protocol):
            remote.call("f", (down, MAX_NESTING))


def test_an_exception_raised_by_a_generator_is_the_programs():
    with program("def f():\n  yield 1\n  raise KeyError('late')") as remote, pytest.raises(KeyError, match="late"):
        remote.call("f")


@pytest.mark.parametrize("body", ["xs = []; xs.append(xs); return xs", "return 'x' * 30_000_000"])
def test_a_value_that_cannot_travel_equals_nothing_and_the_program_goes_on(body):
    with program(f"def f(): {body}\ndef g(): return 1") as remote:
        assert isinstance(remote.call("f"), Opaque)
        assert remote.call("g") == 1


def test_an_object_that_equals_everything_equals_nothing():
    with program("class A:\n  def __eq__(self, other): return True\ndef f(): return A()") as remote:
        assert remote.call("f") != 1


def test_an_object_of_the_tests_does_not_travel():
    class Own:
        pass

    with program("def f(x): return x") as remote:
        with pytest.raises(Inexpressible):
            remote.call("f", (Own(),))
        assert remote.call("f", (1,)) == 1


def test_a_program_that_exits_is_gone_for_good():
    with program("import os\ndef f(): os._exit(0)\ndef g(): return 1") as remote:
        for name in "fgg":
            with pytest.raises(Gone):
                remote.call(name)
        assert remote.lost is not None


def test_being_gone_is_not_any_exception_that_tests_may_expect():
    assert not issubclass(Gone, Exception)


@pytest.mark.parametrize(
    "data",
    [
        answers("value"),
        answers(["value"]),
        answers(["value", 1, 2]),
        answers(["verdict", True]),
        answers(["callback", 0, [], {}]),
        answers(["callback", -1, [], {}]),
        answers(["callback", "f", [], {}]),
        answers(["error", []]),
        answers(["error", ["AssertionError"]]),
        b'["value",{"$r":["callback",7]}]\n',
        b'["value",{"$unknown":1}]\n',
        b"\n",
        b"[" * 100_000 + b"\n",
        b"null\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_answer_ends_the_conversation(data):
    with saying(data) as remote:
        with pytest.raises(Protocol):
            remote.call("f")
        with pytest.raises(Gone):
            remote.call("f")


def test_an_answer_without_its_end_is_no_answer():
    with saying(b'["value",1]') as remote, pytest.raises(Gone):
        remote.call("f")


def test_a_function_of_the_tests_cannot_be_called_with_what_is_no_arguments():
    called = []
    message = ["callback", 0, [], {1: 2}]
    with saying(answers(message, ["value", "done"])) as remote:
        assert remote.call("f", (called.append,)) == "done"
    assert called == []


def test_three_hundred_megabytes_in_one_line_end_in_bounded_memory():
    def act(descriptor):
        while True:
            os.write(descriptor, b"x" * 1_000_000)

    with child(act) as descriptor:
        tracemalloc.start()
        with pytest.raises(Protocol):
            Remote(Line(descriptor)).call("f")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * MAX_BYTES


def test_endless_callbacks_take_no_memory():
    def act(descriptor):
        line = Line(descriptor)
        line.receive()
        while True:
            line.send(dumps(["callback", 0, [], {}]))
            line.receive()

    calls = 0

    def called():
        nonlocal calls
        calls += 1
        if calls == 2_000:
            raise KeyboardInterrupt

    with child(act) as descriptor:
        tracemalloc.start()
        with pytest.raises(KeyboardInterrupt):
            Remote(Line(descriptor)).call("f", (called,))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["value", "error", "callback"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.binary(max_size=200) | st.lists(anything, max_size=3).map(lambda found: answers(*found)))
@settings(max_examples=300, deadline=None)
def test_whatever_bytes_come_the_call_returns_or_raises_what_it_may(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        remote = Remote(Line(ours.fileno()))
        raised = None
        try:
            remote.call("f", (len,))
        except BaseException as error:
            raised = error
        assert raised is None or (remote.lost is not None if isinstance(raised, Gone) else from_program(raised))


@given(st.lists(st.binary(max_size=50).filter(lambda part: b"\n" not in part), max_size=8))
@settings(max_examples=50, deadline=None)
def test_lines_arrive_whole_and_in_order(lines):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender, receiver = Line(ours.fileno()), Line(theirs.fileno())
        for line in lines:
            sender.send(line)
        assert [receiver.receive() for _ in lines] == lines
