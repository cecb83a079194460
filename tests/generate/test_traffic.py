"""Windows over addresses: they follow what a server bears."""

from align.generate.traffic import Address, all_down_since, next_rest, pick


def test_a_window_halves_once_for_all_that_were_out_together() -> None:
    found = Address("a", 32)
    for _ in range(10):
        found.refused(started=0.0, now=1.0)
    assert found.window == 16
    found.refused(started=1.5, now=2.0)
    assert found.window == 8
    for step in range(20):
        found.refused(started=10.0 + step, now=10.5 + step)
    assert found.window == 1
    assert found.room(100.0) == 1


def test_a_window_grows_back_step_by_step_and_not_beyond_its_most() -> None:
    found = Address("a", 32, window=8.0)
    for _ in range(8):
        found.answered(0.0, 1.0)
    assert 9 < found.window < 11
    for _ in range(10_000):
        found.answered(0.0, 1.0)
    assert found.window == 32


def latency_run(load: float) -> Address:
    """A server that answers 16 at once each second, asked with the whole window; `load` others are there as well."""
    found, now = Address("a", 64, window=16.0), 0.0
    for _ in range(60):
        window = int(found.window)
        seconds = max(1.0, window * load / 16)
        for _ in range(window):
            found.sent()
        for _ in range(window):
            found.done()
            found.answered(now, now + seconds)
        now += seconds
    return found


def test_answers_that_take_longer_and_come_no_faster_cut_the_window() -> None:
    assert latency_run(1.0).window < 64
    assert latency_run(0.1).window == 64


def test_a_lone_time_out_is_not_taken_for_congestion() -> None:
    found = Address("a", 32)
    found.answered(0.0, 9.0)
    found.timed_out(0.0, 10.0)
    assert found.window == 32
    found.timed_out(10.0, 20.0)
    assert found.window == 16


def test_the_address_with_the_most_room_is_next() -> None:
    slow, fast = Address("slow", 4), Address("fast", 4)
    for _ in range(3):
        slow.sent()
    assert pick([slow, fast], 0.0) is fast
    for _ in range(4):
        fast.sent()
    assert pick([slow, fast], 0.0) is slow
    slow.sent()
    assert pick([slow, fast], 0.0) is None


def test_an_address_that_is_not_reached_rests_longer_each_time_and_comes_back() -> None:
    found = Address("a", 8)
    found.unreached(0.0)
    found.unreached(0.5)
    assert (found.rests_until, found.down_since) == (1.0, 0.0)
    assert pick([found], 0.9) is None
    assert next_rest([found], 0.9) == 1.0
    assert found.room(1.0) == 1
    found.unreached(1.0)
    assert found.rests_until == 3.0
    assert all_down_since([found, Address("b", 8)]) is None
    assert all_down_since([found]) == 0.0
    found.answered(3.0, 4.0)
    assert found.down_since is None
    assert found.window >= 4


def test_an_address_that_asks_for_rest_gets_it() -> None:
    found = Address("a", 8)
    found.refused(0.0, 1.0, rest=5.0)
    assert found.room(5.9) == 0
    assert found.room(6.0) == 4


def test_an_address_that_is_not_proven_gets_one_request() -> None:
    found = Address("a", 8, proven=False)
    assert found.room(0.0) == 1
    found.sent()
    assert pick([found], 0.0) is None
    found.done()
    found.answered(0.0, 1.0)
    assert found.room(1.0) == 8
