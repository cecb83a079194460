"""Inputs with expected values, and programs by what they print."""

import json

import pytest

from align.execute import program_for
from align.schema import Problem


@pytest.fixture
def call(pool):
    def judge(code, *cases, **fields):
        tests = [json.dumps({"input": given, "output": output}) for given, output in cases]
        problem = Problem(prompt="Write f.", entry_point="f", tests=tests, test_kind="calls", **fields)
        (found,) = pool.run([program_for(problem, solution=code)])
        return found

    return judge


@pytest.fixture
def main(pool):
    def judge(code, *cases, **fields):
        tests = [json.dumps({"input": given, "output": output}) for given, output in cases]
        problem = Problem(prompt="Write it.", tests=tests, test_kind="io", **fields)
        (found,) = pool.run([program_for(problem, solution=code)])
        return found

    return judge


SUMS = "a, b = map(int, input().split())\nprint(a + b)\n"


def test_calls_are_counted_one_by_one(call):
    found = call("def f(a, b): return a + b if b else 7", ([1, 2], 3), ([2, 0], 2), ([3, 3], 6))
    assert (found.outcome, found.tests_passed, found.failed_tests) == ("wrong_answer", 2, [1])
    assert call("def f(a, b): return a + b", ([1, 2], 3), ([2, 0], 2)).outcome == "passed"


def test_a_call_that_raises_or_loops_fails_and_those_before_it_stand(call):
    cases = ([1], 1), ([0], 0), ([2], 2)
    found = call("def f(x): return x * x // x if x < 2 else x", *cases)
    assert (found.outcome, found.reason, found.failed_tests) == ("wrong_answer", "ZeroDivisionError", [1])
    found = call("def f(x):\n    while x == 0: pass\n    return x", *cases)
    assert (found.outcome, found.tests_passed, found.failed_tests) == ("timeout", 1, [1, 2])


def test_a_method_of_a_class_solution_is_the_function(call):
    assert call("class Solution:\n    def f(self, x): return x + 1", ([1], 2)).outcome == "passed"


def test_the_reference_gives_expected_values_where_there_are_none(pool):
    tests = [json.dumps({"input": [n]}) for n in range(5)]
    problem = Problem(
        prompt="f", entry_point="f", tests=tests, test_kind="calls", reference="def f(n): return {n: (n, 1.5)}"
    )
    right, wrong = pool.run(
        [program_for(problem, solution=f"def f(n): return {{n: ({what}, 1.5)}}") for what in ("n", "3")]
    )
    assert right.outcome == "passed"
    assert (wrong.outcome, wrong.tests_passed) == ("wrong_answer", 1)


def test_a_reference_that_fails_is_the_tests_fault(pool):
    problem = Problem(
        prompt="f", entry_point="f", tests=['{"input": [1]}'], test_kind="calls", reference="def f(n): return 1 // 0"
    )
    (found,) = pool.run([program_for(problem, solution="def f(n): return 1")])
    assert (found.outcome, found.reason) == ("test_error", "the reference raised ZeroDivisionError")


def test_a_malformed_case_is_the_tests_fault(pool):
    problem = Problem(prompt="f", entry_point="f", tests=['{"inpt": [1], "output": 2}'], test_kind="calls")
    (found,) = pool.run([program_for(problem, solution="def f(n): return 1")])
    assert found.outcome == "test_error"


def test_a_program_is_judged_by_its_whole_output(main):
    cases = ("1 2\n", "3\n"), ("2 2", "4")
    assert main(SUMS, *cases).outcome == "passed"
    assert main(SUMS + "print()", *cases).outcome == "passed"
    found = main(SUMS.replace("a + b", "3"), *cases)
    assert (found.outcome, found.tests_passed, found.failed_tests) == ("wrong_answer", 1, [1])
    assert main(SUMS + "print('more')", *cases).tests_passed == 0
    assert main("print(end='')", *cases).tests_passed == 0


@pytest.mark.parametrize(
    "code",
    [
        f"def main():\n    {SUMS.replace(chr(10), chr(10) + '    ')}\nif __name__ == '__main__':\n    main()",
        "import threading\ndef f():\n    print(sum(map(int, input().split())))\nthreading.Thread(target=f).start()",
        "import atexit, sys\natexit.register(lambda: print(sum(map(int, sys.stdin.read().split()))))",
        "import os\nos.write(1, str(sum(map(int, os.read(0, 99).split()))).encode())\nos._exit(0)",
        "import sys\nprint(sum(map(int, sys.stdin.readline().split())))\nsys.exit(0)",
        "for line in open(0): print(sum(map(int, line.split())))",
    ],
    ids=["main-guard", "thread", "atexit", "os", "exit", "open-0"],
)
def test_whatever_way_a_program_reads_and_prints(main, code):
    assert main(code, ("1 2\n", "3\n"), ("2 2\n", "4\n")).outcome == "passed"


def test_each_input_has_a_process_of_its_own(main):
    code = "import math\nprint(getattr(math, 'seen', 0))\nmath.seen = 1\nopen('/dev/null')"
    assert main(code, ("", "0"), ("", "0")).outcome == "passed"


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("print(", "compile_error", "SyntaxError"),
        ("print(3)\nraise ValueError", "runtime_error", "ValueError"),
        ("print(3)\nimport sys; sys.exit(1)", "runtime_error", "SystemExit"),
        ("print(3)\nimport os, sys; sys.stdout.flush(); os._exit(1)", "runtime_error", "exited"),
        ("print(3, flush=True)\nwhile True: pass", "timeout", None),
        ("input(); input()", "runtime_error", "EOFError"),
        ("while True: print('x' * 10**6)", "runtime_error", "output_limit"),
    ],
)
def test_what_goes_wrong_in_a_program_is_told_apart(main, code, outcome, reason):
    found = main(code, ("1 2\n", "3\n"))
    assert (found.outcome, found.reason) == (outcome, reason)


def test_a_limit_is_for_each_input(main):
    code = "import time\nwhile time.process_time() < 0.25: pass\nprint(3)"
    assert main(code, *[("", "3")] * 4).outcome == "passed"


def test_cases_after_one_that_ended_badly_are_still_counted(main):
    code = "import os\nn = int(input())\nprint(n, flush=True)\nos._exit(n == 1)"
    found = main(code, ("1", "1"), ("2", "2"), ("3", "3"))
    assert (found.outcome, found.tests_passed, found.failed_tests) == ("wrong_answer", 2, [0])
