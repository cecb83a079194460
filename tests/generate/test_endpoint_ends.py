"""How asking an endpoint ends: killed, interrupted, or with a full disk; nothing that was paid is lost."""

import inspect
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faulty_server import FaultyServer, randomly, says

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("align.generate.dispatch.BACKOFF_LEAST", 0.01)
    monkeypatch.setattr("align.generate.traffic.REST_LEAST", 0.05)


def asked(options: dict[str, Any], folder: Path, count: int) -> None:
    """Ask so many questions, and leave the answers in `out.jsonl`."""
    import align.generate.dispatch
    from align.generate import Request, Sampling
    from align.generate.answer import answer
    from align.generate.endpoint import EndpointGenerator
    from align.io import write
    from align.models.entry import Endpoint
    from align.schema import Message

    align.generate.dispatch.BACKOFF_LEAST = 0.02
    sampling = Sampling(max_new_tokens=100)
    requests = [
        Request(prompt=[Message(role="user", content=f"question {i}")], sampling=sampling) for i in range(count)
    ]
    generator = EndpointGenerator(Endpoint(**options), folder / "replies")
    write(folder / "out.jsonl", answer(generator, requests, folder / "journal.jsonl", "asked"))


CHILD = f"""
import json, sys
from pathlib import Path
from typing import Any
{inspect.getsource(asked)}
asked(json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
"""


def child(options: dict[str, Any], folder: Path, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CHILD, json.dumps(options), str(folder), str(count)]
    environment = os.environ | {"A_KEY": SECRET}
    # a job in the background of a shell, as a test run may be, is born deaf to Ctrl-C
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=hears)


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_three_kills_among_faults_lose_nothing_and_repeat_only_what_was_in_flight(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    most = 32
    monkeypatch.setenv("A_KEY", SECRET)
    with FaultyServer(plan=randomly(0.2, seed=1), delay=0.005, key=SECRET) as server:
        more = {"api_key": "${A_KEY}", "max_concurrency": most, "request_timeout": 0.7, "max_retries": 12}
        options = {"base_url": server.url, "model": "m", **more}
        draw, said = random.Random(time.time()), ""
        for kill in range(1, 4):
            process, due = child(options, tmp_path / "a", count), int(count * (kill - draw.random()) / 4) + 1
            while len(server.paid) < due and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it was killed"
            process.send_signal(signal.SIGKILL)
            said += process.communicate()[1]
        process = child(options, tmp_path / "a", count)
        said += process.communicate(timeout=200)[1]
        assert process.returncode == 0, said
        assert len(server.paid) == count
        assert server.paid.total() <= count + 3 * most
        assert sum(server.attempts.values()) > 1.1 * count
    with FaultyServer(key=SECRET) as server:
        asked(options | {"base_url": server.url}, tmp_path / "b", count)
        said += capfd.readouterr().err
    assert (tmp_path / "a" / "out.jsonl").read_bytes() == (tmp_path / "b" / "out.jsonl").read_bytes()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(SECRET not in path.read_text() for path in files)
    assert SECRET not in said


def test_ctrl_c_keeps_what_is_in_flight_and_ends(tmp_path: Path) -> None:
    with FaultyServer(delay=0.5) as server:
        process = child({"base_url": server.url, "model": "m", "max_concurrency": 8}, tmp_path, 200)
        while server.paid.total() < 20 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
        assert "requests in flight are awaited" in said
        assert "KeyboardInterrupt" in said
        assert server.paid.total() == len(server.bodies) < 60
        lines = [json.loads(line) for line in next((tmp_path / "replies").glob("*.jsonl")).read_text().splitlines()]
        assert sum("key" in line for line in lines) == server.paid.total()


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with FaultyServer(plan=lambda request, _: None, delay=15.0) as server:
        process = child({"base_url": server.url, "model": "m", "max_concurrency": 8}, tmp_path, 200)
        while len(server.bodies) < 8 and process.poll() is None:
            time.sleep(0.01)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        threading.Timer(1.0, process.send_signal, [signal.SIGINT]).start()
        process.communicate(timeout=20)
        assert time.monotonic() - started < 8
    lines = [json.loads(line) for line in next((tmp_path / "replies").glob("*.jsonl")).read_text().splitlines()]
    # what was given up may be paid
    assert lines[-1]["closed"]
    assert lines[-1]["spent"][0] == 8


def test_a_full_disk_is_one_line_and_what_was_paid_before_is_kept(tmp_path: Path) -> None:
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000000, 5000000)); import signal;"
    script += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    big = "x" * 100_000

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"message": {"content": says(request) + big}, "finish_reason": "stop"}]}

    with FaultyServer(reply=reply, delay=0.05) as server:
        options = json.dumps({"base_url": server.url, "model": "m", "max_concurrency": 4})
        command = [sys.executable, "-c", script + CHILD, options, str(tmp_path), "200"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert found.returncode != 0
        assert "cannot be written (File too large): make room and run again" in found.stderr.splitlines()[-1]
        file = next((tmp_path / "replies").glob("*.jsonl"))
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        kept = sum("key" in line for line in lines)
        # those in flight when the disk was full are all that may be lost
        assert len(server.bodies) - 8 <= kept < 60
        asked(json.loads(options), tmp_path, 100)
    assert Counter(server.paid.values())[2] <= 8
