"""Candidates that are run before their tester looks at them: each has the verdict that it would have by itself."""

import json
import time

import pytest

from align.execute import Pool, crew, program_for
from align.execute.worker import Worker
from align.schema import Limits, Problem


@pytest.fixture
def singly(monkeypatch):
    """Have programs judged one by one."""

    def judge(self, checks, runs, memory_bytes, *, ahead=True):
        return whole(self, checks, runs, memory_bytes, ahead=False)

    whole = Worker.judge

    def switch():
        monkeypatch.setattr(crew.Worker, "judge", judge)

    return switch


def executions(problem, solutions):
    with Pool(1, isolation="none", timeout=1) as pool:
        return list(pool.run([program_for(problem, solution=text) for text in solutions]))


def facts(found):
    return [(each.outcome, each.reason, each.tests_passed, each.failed_tests, each.stderr_tail) for each in found]


SOLUTIONS = [
    "def f(x):\n    return x + 1",
    "def f(x):\n    return x",
    "def f(x):\n    return 1 // (x - 1)",
    "import sys\ndef f(x):\n    print('seen', file=sys.stderr)\n    return x * 2",
    "def f(x)\n    return x",
    "import os\ndef f(x):\n    os._exit(3)",
    "raise SystemExit(1)",
    "def f(x):\n    return x + 1  # again",
    "def f(x):\n    while x == 2:\n        pass\n    return x + 1",
    "def f(x):\n    return 'x' * 300_000_000",
    "def g(x):\n    return x",
    "def f(x):\n    return [x] * 3",
]
"""In a chunk of eight, and one that is run on known calls from its first program on."""
FORMS = {
    "asserts": Problem(prompt="", entry_point="f", tests=["assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4"]),
    "check": Problem(
        prompt="",
        entry_point="f",
        test_kind="check",
        tests=["def check(c):\n    assert c(1) == 2\n    assert c(2) == 3"],
    ),
    "calls that follow from answers": Problem(
        prompt="", entry_point="f", tests=["assert f(1) == 2", "assert f(f(1)) == 3", "assert f(f(f(2))) == 5"]
    ),
    "cases with an exception": Problem(
        prompt="",
        entry_point="f",
        tests=["try:\n    f(1)\nexcept ZeroDivisionError:\n    pass\nelse:\n    assert f(2) == 3"],
    ),
    "calls": Problem(
        prompt="",
        entry_point="f",
        test_kind="calls",
        tests=[json.dumps({"input": [number], "output": number + 1}) for number in range(1, 4)],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_verdicts_are_the_same_as_one_by_one(singly, form):
    ahead = facts(executions(FORMS[form], SOLUTIONS))
    singly()
    assert ahead == facts(executions(FORMS[form], SOLUTIONS))
    assert ahead[0][0] == "passed"
    assert {"compile_error", "runtime_error"} <= {outcome for outcome, *_ in ahead}


def test_a_program_cannot_change_what_an_earlier_one_has_answered():
    answers = b'["loaded"]\n["value",0]\n'
    forge = f"import os\ndef f(x):\n    os.ftruncate(3, 0); os.pwrite(3, {answers!r} * 9, 0)\n    return x"
    right, wrong = "def f(x):\n    return x + 1  # {}", "def f(x):\n    return 0  # {}"
    solutions = [right.format(0), right.format(1), forge, wrong.format(0), forge + "  # 2", right.format(2)]
    found = executions(FORMS["asserts"], solutions)
    assert [each.outcome == "passed" for each in found] == [True, True, False, False, False, True]


def test_a_tester_that_dies_of_one_program_judges_the_others():
    dies = "import os\nif f(1) == 66:\n    os._exit(7)\nassert f(1) == 2"
    problem = Problem(prompt="", entry_point="f", tests=[dies])
    solutions = [f"def f(x):\n    return {66 if number == 4 else 2}  # {number}" for number in range(8)]
    found = executions(problem, solutions)
    assert [each.outcome for each in found] == ["passed"] * 4 + ["wrong_answer"] + ["passed"] * 3
    assert found[4].reason == "exited"


def test_verdicts_longer_than_a_socket_holds():
    text = "y" * 900
    tests = [f"assert f({number}) == {number}, {text!r}" for number in range(60)]
    tests += ["import sys", f"assert f(0) == 0, {text!r}"]
    problem = Problem(prompt="", entry_point="f", tests=tests)
    talk = "import sys\nprint('z' * 5000, file=sys.stderr)\ndef f(x):\n    return {}"
    found = executions(problem, [talk.format(f"-1 - {number}") for number in range(24)])
    assert [each.outcome for each in found] == ["wrong_answer"] * 24


def test_the_first_result_does_not_wait_for_slow_programs():
    """They are not all run before any is told."""
    slow = "import time\nwhile time.process_time() < 0.3:\n    pass\ndef f(x):\n    return x + {}"
    problem = FORMS["asserts"].model_copy(update={"limits": Limits(cpu_seconds=5.0)})
    with Pool(1, isolation="none") as pool:
        results = pool.run([program_for(problem, solution=slow.format(number)) for number in range(6)])
        next(results)
        since = time.monotonic()
        next(results)
        assert time.monotonic() - since < 3 * 0.3, "it waited for others"
        assert len(list(results)) == 4
