"""One service for a node's processes: order, fairness, kills on both sides, strangers, and its end."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from align.errors import BackendError, ConfigError
from align.execute import Pool, program_for, service, wire
from align.execute import ledger as ledger_module
from align.execute.service import Client, ajudge, judge, stop
from align.schema import Limits, Problem

PROBLEM = Problem(prompt="Write f.", entry_point="f", tests=["assert f() >= 0"])


def programs(count, body="return {}"):
    return [program_for(PROBLEM, solution=f"def f():\n    {body.format(index)}") for index in range(count)]


def noting(folder, count, seconds=0.05):
    """Programs that each leave a file, and take some time over it."""
    body = f"import time; time.sleep({seconds}); open('{folder}/{{}}', 'w'); return 0"
    return programs(count, body)


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.fixture(scope="module", autouse=True)
def runtime():
    """A runtime folder that no other service uses; short, as a socket's path has to be."""
    folder = Path(tempfile.mkdtemp(prefix="align-t-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder
        wait_for(stop)
    shutil.rmtree(folder)


def dialled():
    """A connection to the service on which nothing has been said; starts one where there is none."""
    service.connect("none")[0].close()
    return service._dial(wire.socket_path())


def node():
    """Process id of the service."""
    with dialled() as connection:
        return service._ask(connection, {"hello": wire.identity(), "isolation": "none"})["process"]


CALLER = """
import sys
from align.execute.service import Client
from align.execute import program_for
from align.schema import Problem
problem = Problem(prompt="Write f.", entry_point="f", tests=["assert f() >= 0"])
folder, count, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3]
body = "def f():\\n    import time; time.sleep({}); open('{}/{}', 'w'); return 0"
programs = [program_for(problem, solution=body.format(seconds, folder, i)) for i in range(count)]
with Client(isolation="none") as client:
    print("begun", flush=True)
    print(*[found.outcome for found in client.run(programs)], flush=True)
"""


def caller(folder, count, seconds):
    """A process that has programs run which leave files."""
    command = [sys.executable, "-c", CALLER, str(folder), str(count), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def settled(folder):
    """How many files there are when no more come."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 0.6:
        if (count := len(list(folder.iterdir()))) != seen:
            seen, since = count, time.monotonic()
        time.sleep(0.02)
    return seen


def test_results_come_in_each_callers_order_and_as_from_a_pool():
    mixed = programs(60, "return (-1) ** {0} * {0} + 0 if {0} % 7 else open")
    with Pool(1, isolation="none") as pool:
        expected = [(found.outcome, found.reason, found.failed_tests) for found in pool.run(mixed)]
    assert [(found.outcome, found.reason, found.failed_tests) for found in judge(mixed, isolation="none")] == expected
    found = asyncio.run(ajudge(mixed, isolation="none"))
    assert [(one.outcome, one.reason, one.failed_tests) for one in found] == expected


def test_identical_programs_run_once_and_each_position_is_reported_once():
    done = []
    with Client(isolation="none") as client:
        found = list(client.run(programs(5) * 3, lambda index, execution: done.append((index, execution))))
        assert client.executed == 5
    assert [execution for _, execution in sorted(done, key=lambda each: each[0])] == found
    assert len(done) == 15


def test_programs_are_read_lazily_and_results_come_while_later_ones_wait(monkeypatch):
    monkeypatch.setattr(ledger_module, "WINDOW", 4)
    read_so_far = []
    stream = (read_so_far.append(index) or program for index, program in enumerate(programs(50)))
    with Client(isolation="none") as client:
        running = client.run(stream)
        assert next(running).outcome == "passed"
        assert len(read_so_far) <= 5
        running.close()


def test_messages_larger_than_any_buffer_block_nobody():
    large = [program_for(PROBLEM, solution=f"x = '{'x' * 2_000_000}'\ndef f(): return {i}") for i in range(12)]
    assert [found.outcome for found in judge(large, isolation="none")] == ["passed"] * 12


def test_a_text_that_is_no_unicode_reaches_the_worker():
    (found,) = judge([program_for(PROBLEM, solution="# \ud800\ndef f(): return 1")], isolation="none", timeout=2)
    assert found.outcome == "compile_error"


def test_callers_that_begin_together_start_one_service(tmp_path):
    wait_for(stop)
    callers = [caller(tmp_path, 3, 0) for _ in range(3)]
    assert [each.communicate()[0].split() for each in callers] == [["begun", *["passed"] * 3]] * 3
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if serves(path)]
    assert [int(path.parent.name) for path in running] == [node()]


def serves(path):
    try:
        listens = b"align.execute.node" in path.read_bytes()
        return listens and os.readlink(path.parent / "cwd") == "/" and inherits(path.parent)
    except OSError:
        return False


def inherits(process):
    """Whether a service has its log in this test's folder."""
    return os.readlink(process / "fd" / "2").startswith(os.environ["XDG_RUNTIME_DIR"])


def test_a_service_that_is_killed_is_started_again_and_every_result_comes_once(tmp_path):
    done = []
    mixed = noting(tmp_path, 40, 0.02)
    with Client(isolation="none") as client:
        before = node()
        running = client.run(mixed, lambda index, execution: done.append(index))
        found = [next(running)]
        os.kill(before, signal.SIGKILL)
        found += running
        assert node() != before
    assert [execution.outcome for execution in found] == ["passed"] * 40
    assert sorted(done) == list(range(40))


def test_a_killed_service_is_no_matter_for_asyncio_either(tmp_path):
    async def killed():
        running = asyncio.create_task(ajudge(noting(tmp_path, 30, 0.05), isolation="none"))
        await asyncio.to_thread(wait_for, lambda: len(list(tmp_path.iterdir())) > 3)
        os.kill(await asyncio.to_thread(node), signal.SIGKILL)
        return await running

    assert [found.outcome for found in asyncio.run(killed())] == ["passed"] * 30


def test_a_service_that_dies_again_without_a_result_is_an_error():
    ledger = ledger_module.Ledger(programs(1), None, "none", None, None)
    assert ledger.request()
    ledger.begin_again()
    assert ledger.request()
    with pytest.raises(BackendError, match="died twice"):
        ledger.begin_again()


def test_a_caller_that_is_killed_takes_its_waiting_programs_with_it(tmp_path):
    killed = caller(tmp_path, 300, 0.1)
    wait_for(lambda: len(list(tmp_path.iterdir())) > 2)
    killed.kill()
    killed.communicate()
    assert settled(tmp_path) < 100


def test_a_flood_does_not_keep_another_caller_waiting(tmp_path):
    flooding = caller(tmp_path, 2000, 0.03)
    wait_for(lambda: len(list(tmp_path.iterdir())) > 10)
    begun = time.monotonic()
    assert [found.outcome for found in judge(programs(20), isolation="none")] == ["passed"] * 20
    waited = time.monotonic() - begun
    assert flooding.poll() is None
    flooding.kill()
    flooding.communicate()
    assert waited < 5


def flood(program, sent):
    """Send one program again and again, until the service takes no more."""
    connection, _ = service.connect("none")
    connection.settimeout(0.5)
    with connection:
        for number in range(5000):
            connection.sendall(wire.program_line(number, program, with_checks=number == 0))
            sent.append(number)


def test_a_caller_that_sends_without_ever_reading_is_not_read_from(tmp_path):
    sent = []
    with pytest.raises(TimeoutError):
        flood(programs(1, f"import time; time.sleep(1.5); return {{}} # {'x' * 10_000}")[0], sent)
    assert len(sent) < 2000
    assert judge(programs(1), isolation="none")[0].outcome == "passed"


@pytest.mark.parametrize(
    "said",
    [b"no json\n", b"[1]\n", b'{"what": 1}\n', b'{"run": 1, "program": {}}\n', b"[" * 100_000 + b"\n", b"\xff\n"],
    ids=["text", "list", "unknown", "early", "deep", "bytes"],
)
def test_a_caller_that_breaks_the_rules_is_told_and_left(said):
    with dialled() as connection:
        connection.sendall(said)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert "error" in json.loads(answer)
    assert judge(programs(1), isolation="none")[0].outcome == "passed"


def test_a_program_that_is_none_ends_the_connection():
    connection, _ = service.connect("none")
    with connection:
        connection.sendall(wire.line({"run": 1, "program": {"source": 7}, "checks": {}}))
        assert "no program to run" in json.loads(connection.recv(1 << 16))["error"]


def test_a_message_without_an_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(wire, "MAX_LINE", 1000)
    lines = wire.Lines()
    assert list(lines.feed(b"x" * 600)) == []
    with pytest.raises(wire.WireError, match="longer than"):
        list(lines.feed(b"x" * 600))
    with pytest.raises(BackendError, match="run them without the service"):
        wire.program_line(0, program_for(PROBLEM, solution="x" * 2000), with_checks=True)


def test_another_installation_is_refused():
    with dialled() as connection:
        hello = {"hello": {**wire.identity(), "python": ["/another/python", "3.9"]}, "isolation": "none"}
        assert "another installation" in service._ask(connection, hello)["refused"]


def test_a_level_that_there_is_not_is_the_same_error_as_a_pools(monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'none'"):
        Client(isolation="noen")
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    assert judge(programs(1))[0].isolation == "none"


def test_the_timeout_goes_with_the_programs_that_have_no_limit_of_their_own():
    looping = programs(1, "while True: pass")[0]
    limited = PROBLEM.model_copy(update={"limits": Limits(cpu_seconds=0.2)})
    own = program_for(limited, solution="def f():\n    while True: pass # another")
    assert judge([looping], isolation="none", timeout=0.3)[0].cpu_seconds < 1.5
    with Client(isolation="none", timeout=30) as client:
        assert next(client.run([own])).outcome == "timeout"


def test_what_is_in_the_callers_cache_is_not_asked_for(tmp_path):
    for executed in (6, 0):
        with Client(isolation="none", cache=tmp_path) as client:
            assert [found.outcome for found in client.run(programs(6))] == ["passed"] * 6
            assert client.executed == executed


def test_a_cancelled_call_leaves_nothing_waiting_and_the_loop_is_free(tmp_path):
    async def cancelled():
        running = asyncio.create_task(ajudge(noting(tmp_path, 200, 0.1), isolation="none"))
        ticks = 0
        while len(list(tmp_path.iterdir())) < 3:
            await asyncio.sleep(0.01)
            ticks += 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return ticks

    assert asyncio.run(cancelled()) > 10
    assert settled(tmp_path) < 100


def test_many_calls_at_once_under_asyncio():
    async def many():
        calls = [ajudge([program], isolation="none") for program in programs(80, "return {} - 40")]
        return await asyncio.gather(*calls)

    found = [one.outcome for (one,) in asyncio.run(many())]
    assert found == ["wrong_answer"] * 40 + ["passed"] * 40


def test_the_service_is_not_ended_while_others_use_it():
    with Client(isolation="none"):
        assert not stop()
    wait_for(stop)
    assert not wire.socket_path().exists()


def test_an_idle_service_ends_and_takes_its_socket_with_it(runtime):
    path = runtime / "idle.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    command = [sys.executable, "-m", "align.execute.node", "--listen", str(listener.fileno()), "--idle", "0.2"]
    subprocess.run(command, pass_fds=[listener.fileno()], check=True)
    listener.close()
    wait_for(lambda: not path.exists())
    assert service._dial(path) is None


def test_a_service_that_cannot_start_is_an_error_with_its_last_words(monkeypatch):
    wait_for(stop)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(service, "_ENVIRONMENT", ())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BackendError, match="cannot be started"):
        Client(isolation="none")


def test_a_folder_that_others_may_enter_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "align").mkdir(mode=0o755)
    with pytest.raises(BackendError, match="closed to others"):
        wire.socket_path()
    (tmp_path / "align").rmdir()
    (tmp_path / "align").symlink_to(tmp_path)
    with pytest.raises(BackendError, match="closed to others"):
        wire.socket_path()


def test_a_path_that_is_too_long_for_a_socket_says_what_to_do(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(BackendError, match="set XDG_RUNTIME_DIR to a shorter folder"):
        wire.socket_path()


def test_the_service_has_no_secrets_of_the_caller_that_started_it(monkeypatch):
    wait_for(stop)
    monkeypatch.setenv("API_TOKEN", "hush")
    judge(programs(1), isolation="none")
    assert b"hush" not in Path(f"/proc/{node()}/environ").read_bytes()
