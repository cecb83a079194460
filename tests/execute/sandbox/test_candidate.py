"""One hostile or broken program a test, at every isolation level: what it amounts to, and that nothing of it stays."""

import time
from pathlib import Path

import pytest

RIGHT = "def f(x):\n    return x + 1\n"
TESTS = ("assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4")


def what(found):
    return found.outcome, found.reason


def k_of_n(found):
    return found.tests_passed, found.tests_total


def test_a_right_program_passes(run):
    found = run(RIGHT, *TESTS)
    assert what(found) == ("passed", None)
    assert k_of_n(found) == (3, 3)
    assert (found.failed_tests, found.stderr_tail) == (None, None)


def test_each_assert_runs_even_if_an_earlier_one_failed(run):
    found = run("def f(x): return 4", *TESTS)
    assert what(found) == ("wrong_answer", None)
    assert (k_of_n(found), found.failed_tests) == ((1, 3), [0, 1])
    assert found.stderr_tail == "AssertionError: assert f(1) == 2"


def test_an_assert_that_raises_is_one_failure_of_several(run):
    found = run("def f(x): return [0, 2, 3][x]", *TESTS)
    assert what(found) == ("wrong_answer", "IndexError")
    assert (k_of_n(found), found.failed_tests) == ((2, 3), [2])


def test_nothing_passed_and_something_raised_is_a_runtime_error(run):
    found = run("def f(x): return 1 // 0", *TESTS)
    assert what(found) == ("runtime_error", "ZeroDivisionError")
    assert "return 1 // 0" in found.stderr_tail


def test_an_assert_in_a_loop_passes_if_every_execution_does(run):
    check = "def check(f):\n    for x in range(3):\n        assert f(x) != {}\n    assert f(0) == 0"
    assert k_of_n(run("def f(x): return x", check.format(9), test_kind="check")) == (2, 2)
    for value in (0, 1, 2):
        found = run("def f(x): return x", check.format(value), test_kind="check")
        assert (k_of_n(found), found.failed_tests) == ((1, 2), [0])


def test_after_an_exception_outside_of_asserts_the_unreached_ones_failed(run):
    found = run("def f(x): return 1 // x", "assert f(1) == 1", "y = f(0)", "assert f(1) == 1")
    assert what(found) == ("wrong_answer", "ZeroDivisionError")
    assert (k_of_n(found), found.failed_tests) == ((1, 2), [1])


def test_asserts_that_the_tests_do_not_reach_pass_if_the_tests_end(run):
    assert k_of_n(run(RIGHT, "if f(1) == 0:\n    assert False", "assert f(1) == 2")) == (2, 2)


def test_an_expected_exception_is_no_failure(run):
    test = "try:\n    assert f(None)\nexcept TypeError:\n    pass\nelse:\n    assert False"
    assert what(run(RIGHT, test)) == ("passed", None)
    assert what(run("def f(x): return x", test)) == ("wrong_answer", None)


def test_tests_without_asserts_count_as_one(run):
    assert k_of_n(run(RIGHT, "f(1)")) == (1, 1)
    found = run(RIGHT, "if f(1) != 3: raise AssertionError('no')")
    assert (what(found), k_of_n(found)) == (("wrong_answer", None), (0, 1))


@pytest.mark.parametrize("code", ["def f(x:\n", "  x = 1", "a = '\0'", "x = " + "(" * 500 + ")" * 500])
def test_what_does_not_compile_is_a_compile_error(run, code):
    found = run(code, *TESTS)
    assert (found.outcome, k_of_n(found)) == ("compile_error", (0, 3))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "exited"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = [0] * 10**9", "memory"),
        ("def g(): g()\ng()", "RecursionError"),
        ("import torch", "ModuleNotFoundError"),
        ("import pydantic", "ModuleNotFoundError"),
        ("import sandbox", "ModuleNotFoundError"),
        ("x = input()", "EOFError"),
        ("while True: print('x' * 10**6)", "output_limit"),
        ("pass", "NameError"),
    ],
)
def test_failing_to_load_is_a_runtime_error_with_its_reason(run, code, reason):
    found = run(code, *TESTS)
    assert what(found) == ("runtime_error", reason)
    assert k_of_n(found) == (0, 3)


def test_a_crash_is_a_runtime_error_with_its_signal(run, level):
    # pid 1 of a namespace can be ended by a fault only, not by a signal it sends itself
    signals = ("SIGSEGV",) if level == "A" else ("SIGABRT",)
    assert what(run("import os; os.abort()", *TESTS)) in [("runtime_error", name) for name in signals]
    found = run("import ctypes; ctypes.string_at(0)", *TESTS)
    assert what(found) == ("runtime_error", "SIGSEGV")


@pytest.mark.parametrize(
    "way_out",
    [
        "os._exit(0)",
        "sys.exit(0)",
        "os.execv('/bin/true', ['true'])",
        "os.fork() and os._exit(0)",
        "(os.closerange(0, 300), os._exit(0))",
        "[thread.Thread(target=os._exit, args=(0,)).start(), time.sleep(9)]",
    ],
)
def test_no_way_out_counts_as_passing(run, way_out):
    code = f"import os, sys, time, threading as thread\ndef f(x):\n    {way_out}\n    return x + 1\n"
    found = run(code, *TESTS)
    assert found.outcome != "passed"
    assert found.tests_passed == 0


def test_asserts_counted_before_the_end_are_kept(run):
    found = run("import os\ndef f(x): return x + 1 if x < 3 else os._exit(0)", *TESTS)
    assert what(found) == ("wrong_answer", "exited")
    assert (k_of_n(found), found.failed_tests) == ((2, 3), [2])


def test_a_program_that_closed_everything_has_answered_nothing(run):
    assert what(run("import os\nos.closerange(0, 300)\n" + RIGHT, *TESTS)) == ("runtime_error", "exited")


def test_leaving_in_the_tests_is_a_failure(run):
    assert what(run(RIGHT, "assert f(1) == 2", "raise SystemExit(0)")) == ("wrong_answer", "SystemExit")


def test_an_infinite_loop_while_loading_times_out(run):
    found = run("while True: pass", *TESTS)
    assert (what(found), k_of_n(found)) == (("timeout", None), (0, 3))
    assert found.cpu_seconds >= 0.35


def test_after_a_timeout_the_asserts_before_it_stand(run):
    found = run("def f(x):\n    while x == 2: pass\n    return x + 1", *TESTS)
    assert what(found) == ("timeout", None)
    assert (k_of_n(found), found.failed_tests) == ((1, 3), [1, 2])


def test_catching_everything_does_not_stop_the_limit(run):
    code = "import signal\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass"
    assert run(code, *TESTS).outcome == "timeout"


def test_ignoring_the_limits_signal_does_not_stop_it(run):
    code = "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass"
    assert run(code, *TESTS).outcome == "timeout"


def test_a_sleeper_times_out_without_using_its_cpu_time(run):
    started = time.monotonic()
    found = run("import time; time.sleep(60)", *TESTS)
    assert found.outcome == "timeout"
    assert found.cpu_seconds < 0.2
    assert time.monotonic() - started < 10


def test_deep_recursion_with_the_limit_raised_harms_nobody_else(run):
    found = run("import sys\nsys.setrecursionlimit(10**9)\ndef g(n): return g(n + 1)\ng(0)", *TESTS)
    assert found.outcome in ("runtime_error", "timeout")
    assert run(RIGHT, *TESTS).outcome == "passed"


def test_a_large_file_is_an_output_limit(run, level):
    reason = "PermissionError" if level == "B" else "output_limit"
    assert what(run("open('big', 'wb').write(bytes(10**8))", *TESTS)) == ("runtime_error", reason)


@pytest.mark.parametrize("escape", ["", "os.setsid()\n    "])
def test_no_process_outlives_its_program(run, level, tmp_path, escape):
    if level != "none":
        assert what(run("import os\nos.fork()\n" + RIGHT, *TESTS)) == ("runtime_error", "PermissionError")
        return
    note = tmp_path / "pid"
    code = f"""
import os, time
if os.fork() == 0:
    {escape}if os.fork() == 0:
        open({str(note)!r}, "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read(): pass
"""
    assert run(code + RIGHT, *TESTS).outcome == "passed"
    assert not Path(f"/proc/{note.read_text()}").exists()


def test_files_of_one_program_are_gone_for_the_next(run, level):
    if level == "B":
        assert what(run("open('a', 'w')\n" + RIGHT, *TESTS)) == ("runtime_error", "PermissionError")
        return
    code = "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\nos.chmod('a/b', 0)\nos.chmod('a', 0)\n"
    assert run(code + RIGHT, *TESTS).outcome == "passed"
    assert run("import os\nassert os.listdir() == []\n" + RIGHT, *TESTS).outcome == "passed"


def test_what_one_program_changes_the_next_does_not_see(run):
    run("import builtins, math\nbuiltins.len = lambda x: 0\nmath.pi = 3\n" + RIGHT, *TESTS)
    assert run("import math\ndef f(x): return len([x]) * (math.pi > 3.1)", "assert f(1) == 1").outcome == "passed"


def test_secrets_of_the_environment_are_not_inherited(run, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "secret")
    code = "import os\ndef f(): return dict(os.environ)"
    assert run(code, "assert 'TEACHER_KEY' not in f()", "assert 'PYTHONPATH' not in f()").outcome == "passed"


HELD = """
import os
def held(fd):
    try: os.fstat(fd)
    except OSError: return False
    return True
def f(): return [fd for fd in range(256) if held(fd)]
"""


def test_a_program_holds_no_descriptor_but_its_own_files(run):
    assert run(HELD, "assert f() == [0, 1, 2, 3, 4]").outcome == "passed"
    # played call by call, it holds the socket over which it is called
    assert run(HELD, "found = f()", "assert len(found) == 6, found").outcome == "passed"


def test_neither_tests_nor_other_programs_are_in_a_programs_memory(run):
    """Everything that it can reach, and all of its memory that it can read, holds no expected value."""
    look = """
import ctypes, gc
def f(marker):
    wanted = marker[::-1]
    found = [x for x in gc.get_objects() if isinstance(x, (str, bytes, tuple, list)) and wanted in str(x)[:10000]]
    return len(found)
# {}
"""
    tests = ["assert f('tercesym') == 0, 'mysecret'", "# mysecret"]
    for number in range(3):
        assert run(look.format(number), *tests).outcome == "passed"


def test_numpy_is_offered(run):
    pytest.importorskip("numpy")
    found = run("import numpy as np\ndef f(x): return np.sum(x)", "assert f([1, 2]) == 3", limits={"cpu_seconds": 5})
    assert found.outcome == "passed"


def test_the_tests_of_a_check_must_define_it(run):
    found = run("def check(f): pass\n" + RIGHT, "assert True", test_kind="check")
    assert what(found) == ("test_error", "no function `check` in the tests")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tests": ["assert f(1 =="]}, "SyntaxError"),
        ({"tests": ["import no_such_module\nassert f(1)"]}, "ModuleNotFoundError"),
        ({"tests": []}, "no tests"),
        ({"test_kind": "check", "entry_point": "f("}, "SyntaxError"),
        ({"test_imports": ["import no_such_module"]}, "ModuleNotFoundError"),
        ({"test_setup": "1 / 0"}, "ZeroDivisionError"),
        ({"test_setup": "1 /"}, "SyntaxError"),
        ({"test_kind": "check", "entry_point": None}, "no entry point"),
    ],
)
def test_faults_of_the_tests_are_not_the_programs(run, fields, reason):
    found = run(RIGHT, **{"tests": ["assert f(1) == 2"], **fields})
    assert what(found) == ("test_error", reason)


def test_a_program_that_breaks_the_setup_is_to_blame_itself(run):
    assert what(run("def f(x): return 1 // 0", "assert y", test_setup="y = f(1)"))[0] == "runtime_error"
    assert what(run("", "assert y", test_setup="y = f(1)")) == ("runtime_error", "NameError")


def test_the_prompts_helpers_are_there_for_a_solution(run):
    prompt = "def helper(x):\n    return x + 1\n\n\ndef f(x):\n    '''Use helper.'''\n"
    check = "def check(candidate):\n    assert candidate(1) == helper(1)"
    assert run("def f(x): return helper(x)", check, prompt=prompt, test_kind="check").outcome == "passed"


def test_output_names_no_address_and_no_temporary_path(run):
    code = "import os\ndef f(x): raise ValueError(object(), os.getcwd())"
    first, second = run(code, *TESTS).stderr_tail, run(code + "\n", *TESTS).stderr_tail
    assert first == second
    assert "0x…" in first
    assert "align-run" not in first


def test_random_inputs_are_the_same_on_every_worker(run):
    draw = "import random\ndef f(): return random.random()"
    found = run(draw, "assert f() == 0", "raise ValueError(f())")
    again = run(draw + "\n", "assert f() == 0", "raise ValueError(f())")
    assert found.stderr_tail == again.stderr_tail


def test_names_of_this_process_are_not_what_programs_see(run):
    found = run("def f(): return __name__", "assert f() not in ('__main__', 'align')")
    assert found.outcome == "passed"
