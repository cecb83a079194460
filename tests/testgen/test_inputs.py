"""Calls that are proposed without a value."""

from random import Random

from align.testgen.inputs import Bounds, Call, changed, propose, read_call

SEEN = [Call("f", ([1, 2, 3], 2)), Call("f", ([1, 2, 3], 2)), Call("f", ([4], 0)), Call("f", ([5, 5], 7))]


def test_seen_calls_come_first_and_changed_ones_have_their_types_and_bounds() -> None:
    found = propose(SEEN, most=40, seed="p")
    assert [call.source for call in found[:3]] == ["f([1, 2, 3], 2)", "f([4], 0)", "f([5, 5], 7)"]
    assert 20 < len(found) <= 40
    for call in found:
        items, bound = call.args
        assert items
        assert all(type(item) is int and item >= 0 for item in [*items, bound])
    assert found == propose(SEEN, most=40, seed="p") != propose(SEEN, most=40, seed="q")


def test_calls_whose_value_is_known_are_left_out() -> None:
    found = propose(SEEN, without=["f([4], 0)"], seed=1)
    assert "f([4], 0)" not in [call.source for call in found]


def test_what_differs_from_the_trusted_calls_in_type_is_left_out() -> None:
    wrong = [Call("f", ("text",))] * 9
    assert {call.shape for call in propose([*wrong, *SEEN], SEEN[:1])} == {("list", "int")}
    assert {call.shape for call in propose([*wrong, *SEEN])} == {("str",)}


def test_nothing_seen_and_nothing_to_change_propose_nothing_more() -> None:
    assert propose([]) == []
    assert propose([Call("f", ())]) == [Call("f", ())]


def test_values_keep_their_type_whatever_they_are() -> None:
    bounds, random = Bounds(float("-inf"), empty=True), Random(0)
    for value in (True, 3, 2.5, "aB", "", b"x", [], [[1], ["a"]], (1, "a"), (), {}, {"a": [1]}, None, {1, 2}, 2j):
        for _ in range(20):
            assert type(changed(value, bounds, random)) is type(value)
    assert {changed("ab", bounds, random) for _ in range(50)} >= {"a", "ba", "aab", "Ab"}


def test_a_call_is_read_back_as_it_was_written_and_hostile_text_is_none() -> None:
    call = Call("f", ([1, "\ud800\0"], {"a": (1,)}), (("k", None),))
    assert read_call(call.source) == call
    for text in ("f(x)", "f", "f(", "a.f(1)", "f(**{})", "f(inf)", "\0", "(" * 5000, "f(*[1])"):
        assert read_call(text) is None
    endless = read_call("f(1e999)")
    assert endless is not None
    assert propose([endless]) == []
