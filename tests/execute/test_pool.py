"""Many programs at once: order, repetition, the cache, retries, and what is left when the work is stopped."""

import ast
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from align.execute import Pool, program_for
from align.io import read
from align.schema import Limits, Problem

PROBLEM = Problem(prompt="Write f.", entry_point="f", tests=["assert f() >= 0"])


def programs(count, body="return {}"):
    return [program_for(PROBLEM, solution=f"def f():\n    {body.format(index)}") for index in range(count)]


def python(source, *arguments):
    """A Python process of its own that can be stopped."""
    command = [sys.executable, "-c", source, *map(str, arguments)]
    # a job in the background of a shell, as a test run may be, is born deaf to Ctrl-C
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears)


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_executions_come_in_input_order_whatever_the_workers_do():
    mixed = [
        program_for(
            PROBLEM, solution=f"import time\ntime.sleep({0.1 if i % 5 == 0 else 0})\ndef f(): return {(-1) ** i}"
        )
        for i in range(20)
    ]
    mixed = [program for pair in zip(mixed, programs(20, "return -{} - 1"), strict=True) for program in pair]
    with Pool(2, isolation="none") as pool:
        found = [execution.outcome for execution in pool.run(mixed)]
    assert found == ["passed", "wrong_answer", "wrong_answer", "wrong_answer"] * 10


def test_programs_are_read_lazily_and_results_come_while_later_ones_wait(monkeypatch):
    monkeypatch.setattr("align.execute.pool.WINDOW", 4)
    read_so_far = []
    stream = (read_so_far.append(index) or program for index, program in enumerate(programs(50)))
    with Pool(1, isolation="none") as pool:
        running = pool.run(stream)
        assert next(running).outcome == "passed"
        assert len(read_so_far) <= 8
        running.close()


def test_identical_programs_run_once(tmp_path):
    note = tmp_path / "note"
    noting = program_for(PROBLEM, solution=f"open({str(note)!r}, 'a').write('x')\ndef f(): return 0")
    with Pool(2, isolation="none") as pool:
        assert [found.outcome for found in pool.run([noting] * 10)] == ["passed"] * 10
        assert pool.executed == 1
    assert note.read_text() == "x"


def test_every_position_is_reported_once_when_it_is_done():
    done = {}
    with Pool(2, isolation="none") as pool:
        found = list(pool.run(programs(5) * 2, lambda index, execution: done.update({index: execution})))
    assert [done[index] for index in range(10)] == found


def test_a_cached_result_is_not_run_again_unless_its_limits_change(tmp_path):
    cache = tmp_path / "executions.jsonl"
    with Pool(1, isolation="none", cache=cache) as pool:
        first = list(pool.run(programs(5)))
    with Pool(1, isolation="none", cache=cache) as pool:
        assert list(pool.run(programs(5))) == first
        assert pool.executed == 0
    with Pool(1, isolation="none", cache=cache, timeout=2.5) as pool:
        list(pool.run(programs(5)))
        assert pool.executed == 5


def test_without_a_cache_nothing_is_reused_between_pools():
    for _ in range(2):
        with Pool(1, isolation="none") as pool:
            list(pool.run(programs(2)))
            assert pool.executed == 2


RESUMED = """
import sys
from functools import partial
from pathlib import Path
from align.execute import Pool, program_for
from align.schema import Problem
problem = Problem(prompt="Write f.", entry_point="f", tests=["assert f() % 3"])
programs = [program_for(problem, solution=f"import time\\ntime.sleep(.02)\\ndef f(): return {i}") for i in range(120)]
with Pool(2, isolation="none", cache=Path(sys.argv[1])) as pool:
    for found in pool.run(programs):
        print(found.outcome, found.tests_passed, flush=True)
    print(pool.executed)
"""


def test_a_killed_run_goes_on_from_its_cache_with_the_same_results(tmp_path):
    cache = tmp_path / "executions.jsonl"
    killed = python(RESUMED, cache)
    for _ in range(20):
        killed.stdout.readline()
    time.sleep(0.6)  # what a cache loses on a kill is half a second's work
    killed.kill()
    killed.communicate()
    *resumed, executed = python(RESUMED, cache).communicate()[0].splitlines()
    *undisturbed, all_of_them = python(RESUMED, tmp_path / "other.jsonl").communicate()[0].splitlines()
    assert resumed == undisturbed
    assert (int(executed) <= 110, all_of_them) == (True, "120")


STOPPED = """
import sys
from align.execute import Pool, program_for
from align.schema import Problem
problem = Problem(prompt="Write f.", entry_point="f", tests=["assert f()"])
source = '''
import os, time
if os.fork() == 0:
    os.setsid()
    open({0!r} + "/" + str(os.getpid()), "w")
    time.sleep(60)
open({0!r} + "/" + str(os.getpid()), "w")
open({0!r} + "/" + str(os.getppid()), "w")
time.sleep(60)
'''
with Pool(2, isolation="none", timeout=60) as pool:
    print(list(pool.run(program_for(problem, solution=source.format(sys.argv[1]) + "#" * i) for i in range(4))))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_leaves_no_process_and_no_file_behind(tmp_path, monkeypatch, how):
    said, temporary = tmp_path / "said", tmp_path / "temporary"
    said.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    stopped = python(STOPPED, said)
    wait_for(lambda: len(list(said.iterdir())) >= 6)
    assert list(temporary.iterdir())
    stopped.send_signal(how)
    stopped.communicate(timeout=20)
    assert stopped.returncode != 0
    wait_for(lambda: not [path for path in said.iterdir() if Path(f"/proc/{path.name}").exists()])
    wait_for(lambda: not list(temporary.iterdir()))


NOTING = """
import os, time
begun = time.monotonic()
{middle}
def f():
    time.sleep({sleep})
    open({folder!r} + "/{name}", "a").write(f"{{begun}} {{time.monotonic()}}\\n")
    return 0
"""
BURN = "while time.process_time() < {seconds}: pass"


def note(folder, name, middle, sleep=0.05):
    return program_for(PROBLEM, solution=NOTING.format(middle=middle, sleep=sleep, folder=str(folder), name=name))


@pytest.mark.parametrize("slow", [BURN.format(seconds=0.33), "time.sleep(1)"], ids=["just-above", "waiting"])
def test_what_load_may_have_slowed_is_run_again_alone(tmp_path, slow):
    """The first time it takes a little more than its limit, or waits; every program notes when it begins and ends."""
    first = str(tmp_path / "first")
    once = f"if not os.path.exists({first!r}):\n    open({first!r}, 'w')\n    {slow}"
    others = [note(tmp_path, "others", f"#{i}") for i in range(20)]
    with Pool(2, isolation="none", timeout=0.3) as pool:
        found = list(pool.run([note(tmp_path, "slow", once, sleep=0.1), *others]))
    assert [execution.outcome for execution in found] == ["passed"] * 21
    begun, ended = map(float, (tmp_path / "slow").read_text().splitlines()[-1].split())
    for line in (tmp_path / "others").read_text().splitlines():
        other_begun, other_ended = map(float, line.split())
        assert other_ended < begun or other_begun > ended


def test_an_endless_loop_is_ended_once_and_not_run_again(tmp_path):
    loop = note(tmp_path, "loop", BURN.format(seconds=9))
    with Pool(1, isolation="none", timeout=0.2) as pool:
        (found,) = pool.run([loop])
    assert found.outcome == "timeout"
    assert 0.2 < found.cpu_seconds < 0.4


KILLS_ITS_WORKER = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time; time.sleep(9)\n"


def test_a_worker_that_dies_is_replaced_and_the_program_run_again(tmp_path):
    note = str(tmp_path / "note")
    once = f"import os\nif not os.path.exists({note!r}):\n    open({note!r}, 'w')\n    import signal\n"
    once += "    os.kill(os.getppid(), signal.SIGKILL)\n    import time; time.sleep(9)\ndef f(): return 0"
    with Pool(1, isolation="none") as pool:
        assert [found.outcome for found in pool.run([program_for(PROBLEM, solution=once)])] == ["passed"]


def test_a_fault_of_the_machine_is_never_a_verdict_and_stops_nobody_else(tmp_path):
    killing = program_for(PROBLEM, solution=KILLS_ITS_WORKER)
    cache = tmp_path / "cache"
    with Pool(1, isolation="none", cache=cache) as pool:
        found = [execution.outcome for execution in pool.run([*programs(3), killing, *programs(3, "return {} + 5")])]
    assert found == ["passed"] * 3 + ["infra_error"] + ["passed"] * 3
    with Pool(1, isolation="none", cache=cache) as pool:
        list(pool.run([*programs(3), killing]))
        assert pool.executed == 1


def test_zygotes_killed_from_outside_cost_no_verdict():
    slow = programs(30, "import time; time.sleep(0.02); return {}")
    with Pool(2, isolation="none") as pool:
        running = pool.run(slow)
        found = [next(running)]
        for zygote in psutil.Process().children():
            zygote.kill()
        found += running
    assert [execution.outcome for execution in found] == ["passed"] * 30


def test_an_old_zygote_is_replaced(monkeypatch):
    monkeypatch.setattr("align.execute.crew.RECYCLE", 5)
    problems = [PROBLEM.model_copy(update={"tests": [f"raise ValueError(f(), {number})"]}) for number in range(12)]
    with Pool(1, isolation="none") as pool:
        found = list(pool.run(program_for(one, solution="import os\ndef f(): return os.getppid()") for one in problems))
    assert len({one.stderr_tail.split(",")[0] for one in found}) == 3


def test_a_program_has_its_problems_limit_rather_than_the_pools():
    looping = program_for(
        PROBLEM.model_copy(update={"limits": Limits(cpu_seconds=0.2, memory_mb=200)}), solution="while True: pass"
    )
    hungry = program_for(PROBLEM.model_copy(update={"limits": Limits(memory_mb=200)}), solution="x = bytes(300 << 20)")
    with Pool(1, isolation="none", timeout=30) as pool:
        timed_out, starved = pool.run([looping, hungry])
    assert (timed_out.outcome, starved.reason) == ("timeout", "memory")
    assert timed_out.cpu_seconds < 1


def test_what_cannot_be_run_is_unsupported_and_says_why():
    problem = PROBLEM.model_copy(update={"language": "rust"})
    with Pool(1, isolation="none") as pool:
        (found,) = pool.run([program_for(problem, solution="")])
    assert (found.outcome, found.reason) == ("unsupported", "rust is not run")


def test_many_programs_leave_no_descriptor_thread_or_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with Pool(2, isolation="none") as pool:
        list(pool.run(programs(20)))
        during = len(os.listdir("/proc/self/fd"))
        list(pool.run(programs(200)))
        assert len(os.listdir("/proc/self/fd")) == during
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    assert list(tmp_path.iterdir()) == []


def test_all_reference_solutions_of_humaneval_pass(shared, level):
    problems = read(shared / "data/eval/HumanEval.jsonl.gz", Problem)
    whole = [program_for(problem, solution=problem.reference) for problem in problems]
    continued = [program_for(one, completion=one.reference.removeprefix(one.prompt)) for one in problems]
    with Pool(2, isolation=level) as pool:
        found = list(pool.run(whole + continued))
    assert {execution.outcome for execution in found} == {"passed"}
    assert len(found) == 328


def test_all_reference_solutions_of_mbpp_pass_but_one_whose_asserts_build_its_class(shared):
    problems = read(shared / "data/eval/mbpp.jsonl", Problem)
    with Pool(2, isolation="none", timeout=10) as pool:
        found = list(pool.run(program_for(problem, solution=problem.reference) for problem in problems))
    others = {
        one.meta["task_id"]: ran.outcome for one, ran in zip(problems, found, strict=True) if ran.outcome != "passed"
    }
    assert others == {601: "unsupported"}
    assert len(found) == 974


def test_generated_asserts_are_counted_as_when_each_is_run_by_itself(shared):
    """Against stored outcomes of real solutions on generated tests, one process a test (1: pass, A, E: fail)."""
    problems = {one.meta["task_id"]: one for one in read(shared / "data/eval/HumanEval.jsonl.gz", Problem)}
    with gzip.open(shared / "data/ranked/codegen16b_humaneval_dual_matrix.jsonl.gz", "rt") as file:
        matrix = [json.loads(line) for line in file][:40]
    with gzip.open(shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz", "rt") as file:
        samples = {(row["task_id"], row["sample_index"]): row["completion"] for row in map(json.loads, file)}
    asked, expected = [], []
    for row in matrix:
        bits = row["bits"][row["sample_to_solution"][0]]
        usable = [i for i, bit in enumerate(bits) if bit in "1AE" and one_assert(row["tests"][i])]
        if usable and row["loadable"][row["sample_to_solution"][0]]:
            problem = problems[row["task_id"]].model_copy(
                update={"test_kind": "asserts", "tests": [row["tests"][i] for i in usable]}
            )
            asked.append(program_for(problem, completion=samples[row["task_id"], 0]))
            expected.append([place for place, i in enumerate(usable) if bits[i] != "1"])
    with Pool(2, isolation="none") as pool:
        found = [execution.failed_tests or [] for execution in pool.run(asked)]
    assert len(asked) > 25
    assert found == expected


def one_assert(source):
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return len(body) == 1 and isinstance(body[0], ast.Assert)


@pytest.mark.parametrize("module", ["random", "numpy.random"])
def test_what_programs_draw_at_random_is_the_same_in_every_process(module):
    """A verdict that hangs on chance could not be repeated."""
    draw = f"import numpy, random\ndef f():\n    raise ValueError({module}.random())"
    drawing = [program_for(PROBLEM, solution=f"{draw}  # {text}") for text in ("one", "another")]
    said = set()
    for _ in range(2):
        with Pool(workers=1) as pool:
            said |= {execution.stderr_tail.splitlines()[-1] for execution in pool.run(drawing)}
    assert len(said) == 1
    assert said.pop().startswith("ValueError: 0.")


LIMITED = """
import resource, sys
from align.execute import Pool, program_for
from align.schema import Problem
what, most = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(what, (most, most))
problem = Problem(prompt="", entry_point="f", tests=["assert f() == 1"])
with Pool(1, isolation="none") as pool:
    print([execution.outcome for execution in pool.run([program_for(problem, solution="def f(): return 1")])])
"""


def test_under_a_limit_of_cpu_time_programs_are_judged_as_ever():
    """`ulimit -t`, as login nodes have it."""
    process = python(LIMITED, resource.RLIMIT_CPU, 600)
    assert process.communicate(timeout=60)[0] == "['passed']\n"


def test_where_less_memory_is_allowed_than_programs_may_use_it_is_said():
    """`ulimit -v`."""
    process = python(LIMITED, resource.RLIMIT_AS, 900 << 20)
    assert "programs may use 1024 MiB of memory, but `ulimit -v` here is 900 MiB" in process.communicate(timeout=60)[1]
