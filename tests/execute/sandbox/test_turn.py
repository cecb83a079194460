"""Candidates that are run before their tester looks at them: each has the verdict that it would have by itself."""

import json
import time

import pytest

from align.execute import Pool, crew, program_for
from align.execute.isolation import probe
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


@pytest.fixture(params=["A", "B", "none"])
def level(request):
    return available(request.param)


def available(level):
    if level != "none" and (reason := probe(level)):
        pytest.skip(reason)
    return level


def executions(problem, solutions, level="none"):
    with Pool(1, isolation=level, timeout=1) as pool:
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


@pytest.mark.parametrize(("form", "level"), [*((form, "none") for form in FORMS), ("asserts", "A"), ("asserts", "B")])
def test_verdicts_are_the_same_as_one_by_one(singly, form, level):
    available(level)
    ahead = facts(executions(FORMS[form], SOLUTIONS, level))
    singly()
    assert ahead == facts(executions(FORMS[form], SOLUTIONS, level))
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


def test_long_verdicts_do_not_fill_the_socket():
    """A socket holds some eight of thirty thousand cases."""
    tests = [json.dumps({"input": [0], "output": 0})] * 30_000
    problem = Problem(prompt="", entry_point="f", test_kind="calls", tests=tests)
    found = executions(problem, [f"def f(x):\n    return {number}" for number in range(14)])
    assert [each.outcome for each in found] == ["passed", *["wrong_answer"] * 13]
    assert {each.tests_total for each in found} == {30_000}


@pytest.mark.slow
def test_slow_tests_are_not_ended_for_judging_several(monkeypatch):
    """Each takes a fifth of the time that a tester has for a turn."""
    told = []
    whole = Worker.judge

    def judge(self, *args, **keywords):
        for report in whole(self, *args, **keywords):
            told.append(type(report).__name__)
            yield report

    monkeypatch.setattr(crew.Worker, "judge", judge)
    slow = "import time\nend = time.process_time() + 0.8\nwhile time.process_time() < end: pass\nassert f(1) >= 1"
    found = executions(Problem(prompt="", entry_point="f", tests=[slow]), [f"def f(x): return {n}" for n in range(8)])
    assert [each.outcome for each in found] == ["wrong_answer", *["passed"] * 7]
    assert told == ["Facts"] * 8


APPENDS = """
import fcntl, os
text = b"import builtins\\nbuiltins.compile = lambda *a, **k: str()\\n"
text += b"def f(x): return x + 1\\ndef g(x): return x * x\\n"
os.ftruncate(4, 0)
os.pwrite(4, (b"0 %d\\n" % len(text)) + text + b"#" * 4000, 0)
fcntl.fcntl({}, fcntl.F_SETFL, os.O_APPEND)
def f(x): return x
"""


@pytest.mark.parametrize("descriptor", range(5))
def test_a_program_leaves_nothing_in_the_files_of_the_next_ones(level, descriptor):
    """Candidates share their files' descriptions: O_APPEND stays, and makes pwrite ignore its place."""
    first, second = FORMS["asserts"], Problem(prompt="", entry_point="g", tests=["assert g(3) == 9"])
    pad = "  # " + "p" * 300
    programs = [
        program_for(problem, solution=solution + pad)
        for problem, solution in (
            (first, APPENDS.format(descriptor)),
            (first, "def f(x): return 0"),
            (first, "def f(x): return x + 1"),
            (second, "def g(x): return 1"),
            (second, "def g(x): return x * x"),
        )
    ]
    with Pool(1, isolation=level) as pool:
        found = [each.outcome for each in pool.run(programs)]
    assert found == ["wrong_answer", "wrong_answer", "passed", "wrong_answer", "passed"]


HOSTILE_TESTS = """
import fcntl, os, sys
frame = sys._getframe()
while "desk" not in frame.f_locals or "verdicts" not in frame.f_locals:
    frame = frame.f_back
desk, send = frame.f_locals["desk"], sys.modules["sandbox.channel"].send
{}
assert f(1) == 2
"""
ATTACKS = {
    "leave answers": 'os.pwrite(desk._files.made, b\'["loaded"]\\n["value",2]\\n\' * 50, 0)\n'
    "fcntl.fcntl(desk._files.made, fcntl.F_SETFL, os.O_APPEND)",
    "nest": "desk._channel.send(b'[' * 100_000)",
    "send a number": "desk._channel.send(b'7')",
    "hand over a socket": "import socket\ns = socket.socketpair()[0].fileno()\n"
    "send(desk._channel, {'run': 'batch', 'candidate': desk._number, 'first': True}, [s])",
    "ask for nobody": "send(desk._channel, {'run': 'batch', 'candidate': 99, 'first': True}, [1])",
    "hand over much": "send(desk._channel, {'done': 1, 'again': False}, [1] * 60)",
    "print": "print('x' * (66 << 20))",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_tests_harm_no_other_problem(level, attack):
    hostile = Problem(prompt="", entry_point="f", tests=[HOSTILE_TESTS.format(ATTACKS[attack])])
    programs = [program_for(hostile, solution=f"def f(x): return 2  # {number}") for number in range(2)]
    honest = Problem(prompt="", entry_point="f", tests=["print('y' * 10_000)\nassert f(1) == 2"])
    programs += [program_for(honest, solution=f"def f(x): return {value}") for value in (9, 8, 2)]
    with Pool(1, isolation=level) as pool:
        found = [each.outcome for each in pool.run(programs)]
    assert found[2:] == ["wrong_answer", "wrong_answer", "passed"]
    assert "infra_error" not in found


BOXES = {
    "locked": "import os\nos.chmod(os.getcwd(), 0)",
    "locked with a file": "import os\nopen('a', 'w').close()\nos.chmod(os.getcwd(), 0)",
    "removed": "import os, shutil\nshutil.rmtree(os.getcwd())",
    "deep": "import os\nfor _ in range(60):\n    os.mkdir('a' * 200)\n    os.chdir('a' * 200)",
}


@pytest.mark.parametrize(
    ("what", "level"), [*((what, "none") for what in BOXES), *((what, "A") for what in BOXES if what != "removed")]
)
def test_a_program_cannot_spoil_the_folder_for_the_next(what, level):
    available(level)
    writes = "def f(x):\n    open('b', 'w').close()\n    return x + 1  # {}"
    solutions = [writes.format(0), BOXES[what] + "\ndef f(x): return 0", writes.format(1), writes.format(2)]
    found = executions(FORMS["asserts"], solutions, level)
    assert [each.outcome for each in found] == ["passed", "wrong_answer", "passed", "passed"]


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
