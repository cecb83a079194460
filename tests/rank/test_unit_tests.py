import asyncio
import pickle

import pytest

from align.errors import ConfigError, DataError
from align.execute import Profile
from align.rank import UnitTests, rank_responses, raw_score
from align.schema import Problem, Response

PROBLEM = Problem(
    prompt="Add.",
    entry_point="add",
    tests=["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
    meta={"task_id": "mine/7"},
)
CODES = ["def add(a, b): return a + b", "def add(a, b): return a * b", "def add(a, b) return", None]
RESPONSES = [
    Response(problem_id=PROBLEM.id, sample_index=i, text=code or "sorry", code=code) for i, code in enumerate(CODES)
]


def test_verdicts_come_in_order_and_an_answer_without_a_program_does_not_compile():
    measured = []
    verdicts = list(
        UnitTests(2, "none").judge([PROBLEM], RESPONSES, lambda response, ran: measured.append(response.id))
    )
    assert [verdict.outcome for verdict in verdicts] == ["passed", "wrong_answer", "compile_error", "compile_error"]
    assert [(verdict.tests_passed, verdict.tests_total) for verdict in verdicts[:2]] == [(2, 2), (1, 2)]
    assert verdicts[1].failed_tests == [0]
    assert verdicts[3].reason == "no_program"
    assert measured == [response.id for response in RESPONSES[:3]]


@pytest.mark.parametrize(
    ("tests", "score"),
    [
        (["assert c(1) == 1", "c('x')"], 2.0),
        (["assert c(1) == 1", "c('x')", "assert c(2) == 2"], 2.5),
        (["assert c(1) == 1", "assert c(2) == 2", "c(0)"], 2.5),
        (["assert c(1) == 1", "assert c(2) == 2"], 3.0),
    ],
)
def test_a_program_that_fails_outside_of_every_assert_does_not_score_as_passing(tests, score):
    check = "\n    ".join(["def check(c):", *tests])
    problem = Problem(prompt="Same.", entry_point="f", test_kind="check", tests=[check])
    code = "def f(x):\n    while not x: pass\n    return x + 0\n"
    response = Response(problem_id=problem.id, text=code, code=code)
    (found,) = UnitTests(1, "none", timeout=0.2).judge([problem], [response])
    assert found.passed == (score == 3.0)
    assert raw_score(found) == score


def test_verdicts_are_the_same_under_asyncio_and_leave_the_loop_free():
    async def both():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        other = asyncio.create_task(tick())
        found = [verdict async for verdict in UnitTests(1, "none").ajudge([PROBLEM], RESPONSES)]
        other.cancel()
        return found, ticks

    found, ticks = asyncio.run(both())
    assert found == list(UnitTests(1, "none").judge([PROBLEM], RESPONSES))
    assert ticks > 1


def test_a_users_own_task_id_finds_the_problem():
    (verdict,) = UnitTests(1, "none").judge([PROBLEM], [Response(problem_id="mine/7", text=CODES[0], code=CODES[0])])
    assert verdict.passed
    assert verdict.problem_id == PROBLEM.id


def test_a_response_to_an_unknown_problem_is_refused_before_anything_runs():
    with pytest.raises(DataError, match="which is not in the problems"):
        list(UnitTests(1, "none").judge([PROBLEM], [*RESPONSES, Response(problem_id="x", text="x", code="x")]))


def test_shared_workers_give_the_same_verdicts(tmp_path, monkeypatch):
    from align.execute import service

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    try:
        found = list(UnitTests(None, "none", shared=True).judge([PROBLEM], RESPONSES))
    finally:
        assert service.stop()
    assert found == list(UnitTests(1, "none").judge([PROBLEM], RESPONSES))


@pytest.mark.parametrize(("name", "value"), [("workers", 2), ("profile", Profile(modules=("random",)))])
def test_shared_workers_take_neither_a_number_nor_an_interpreter(name, value, monkeypatch):
    with pytest.raises(ConfigError, match=f"shared: workers that are shared take no {name}"):
        UnitTests(**{name: value}, shared=True)
    monkeypatch.setenv("ALIGN_EXECUTE_SHARED", "1")
    with pytest.raises(ConfigError, match=f"^ALIGN_EXECUTE_SHARED: .* take no {name}"):
        UnitTests(**{name: value})
    UnitTests(**{name: value}, shared=False)


def test_programs_run_in_the_interpreter_of_the_profile():
    response = Response(
        problem_id=PROBLEM.id, text="x", code="import sys\nadd = lambda a, b: (a + b) * ('wave' in sys.modules)"
    )
    for modules, passed in (((), 1), (("wave",), 2)):
        (verdict,) = UnitTests(1, "none", profile=Profile(modules=modules)).judge([PROBLEM], [response])
        assert verdict.tests_passed == passed


def test_two_runs_give_the_same_verdict_to_the_byte():
    """Verdicts are facts of the program: two runs give the same bytes, addresses in messages included."""
    code = "def add(a, b): return object()"
    response = Response(problem_id=PROBLEM.id, text=code, code=f"{code}\nclass X: pass\nraise ValueError(X())")
    one, other = (list(UnitTests(1, "none").judge([PROBLEM], [response])) for _ in range(2))
    assert one == other
    assert "0x…" in (one[0].stderr_tail or "")


def test_a_request_without_an_answer_says_nothing_of_the_model():
    lost = Response(problem_id=PROBLEM.id, text="", finish="error")
    (found,) = UnitTests(1, "none").judge([PROBLEM], [lost])
    assert (found.outcome, found.reason, found.passed) == ("infra_error", "no_answer", False)
    assert raw_score(found) is None
    (ranking,) = rank_responses(
        [PROBLEM], [lost, RESPONSES[0]], [found, *UnitTests(1, "none").judge([PROBLEM], RESPONSES[:1])]
    )
    assert list(ranking.scores) == [RESPONSES[0].id]


def test_as_a_context_it_keeps_its_workers_and_a_copy_has_its_own():
    with UnitTests(1, "none") as tests:
        kept = tests._kept
        first = list(tests.judge([PROBLEM], RESPONSES))
        assert list(tests.judge([PROBLEM], RESPONSES)) == first
        assert tests._kept is kept
        copy = pickle.loads(pickle.dumps(tests))
        assert list(copy.judge([PROBLEM], RESPONSES)) == first
        # a caller that leaves early leaves the workers fit for the next
        next(tests.judge([PROBLEM], RESPONSES))
        assert list(tests.judge([PROBLEM], RESPONSES)) == first
    assert list(tests.judge([PROBLEM], RESPONSES)) == first
