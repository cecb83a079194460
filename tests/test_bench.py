"""scripts/bench: what hostile programs must come to, what is measured, and what counts as growth."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
BENCH = REPO / "scripts" / "bench"
ROW = {
    "task_id": "T/0",
    "prompt": "def twice(x):\n",
    "canonical_solution": "    return (x, x)\n",
    "entry_point": "twice",
    "test": "def check(candidate):\n    assert candidate(1) == (1, 1)\n    assert twice([2]) == ([2], [2])\n",
}


@pytest.fixture
def module(monkeypatch):
    """A module of the bench by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


@pytest.mark.parametrize(
    ("must", "outcome", "reason", "right"),
    [
        ("anything but pass", "wrong_answer", None, True),
        ("anything but pass (only if the escape worked)", "passed", None, False),
        ("anything but pass", "unsupported", None, False),
        ("anything but pass", "infra_error", None, False),
        ("pass (right answers were given)", "passed", None, True),
        ("pass or runtime_error", "timeout", None, False),
        ("memory or timeout", "runtime_error", "memory", True),
        ("memory or timeout", "runtime_error", "output_limit", False),
        ("memory or timeout", "wrong_answer", "memory", False),
        ("runtime_error (crash) or memory or timeout", "runtime_error", "SIGSEGV", True),
    ],
)
def test_an_outcome_fits_what_a_hostile_program_must_come_to(module, must, outcome, reason, right):
    assert module("hostile").fits(must, outcome, reason) is right


def test_a_verdict_that_nobody_knows_is_refused(module, tmp_path, capsys):
    row = {"id": "x", "kind": "forge", "prompt": "", "entry_point": "f", "code": "", "test": ""}
    path = tmp_path / "hostile.jsonl"
    path.write_text(json.dumps({**row, "must": {"verdict": "explodes"}}) + "\n")
    assert module("hostile").main([str(path)]) == 2
    assert f"{path}:1: must: verdict 'explodes' is none of" in capsys.readouterr().err


def test_a_right_program_of_an_unknown_problem_looks_its_answers_up(module):
    hostile = module("hostile")
    row = {
        "prompt": "# triple",
        "entry_point": "triple",
        "test": "",
        "inputs": [[2], [[1]]],
        "expected": [6, [1, 1, 1]],
    }
    space: dict[str, object] = {}
    exec(hostile.honest(row, hostile.problem_of(row, "calls"), "mark").source, space)
    assert [space["triple"](2), space["triple"]([1])] == [6, [1, 1, 1]]


def test_the_inputs_of_tests_are_recorded_even_where_they_call_the_solution_by_its_name(module):
    inputs, expected = module("checkset").recorded(ROW)
    assert (inputs, expected) == ([[1], [[2]]], [(1, 1), ([2], [2])])


def test_no_two_checks_are_the_same_text(module):
    checks = module("checkset").canonical({"T/0": ROW}, 8)
    assert len({check["completion"] for check in checks}) == 8


@pytest.mark.parametrize("method", ["in_process", "fork_exec"])
def test_the_floors_tell_right_programs_from_wrong_ones(module, method, tmp_path):
    checkset, out = module("checkset"), tmp_path / "out.json"
    checks = [checkset.made(ROW, text) for text in ("    return (x, x)\n", "    return x\n", "    quit(0)\n")]
    (tmp_path / "in.json").write_text(json.dumps(checkset.work(checks, {"T/0": ROW})))
    command = [sys.executable, "-I", "-S", str(BENCH / "floors.py"), method, str(tmp_path / "in.json"), str(out)]
    subprocess.run(command, check=True)
    assert json.loads(out.read_text())["passed"] == [True, False, False]


def test_cpu_seconds_of_children_are_counted(module):
    burner = "import time\nwhile time.process_time() < 0.2: pass"
    command = [
        sys.executable,
        "-S",
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burner!r}])",
    ]
    assert 0.2 <= module("usage").cpu_seconds(command) < 1.5


def test_growth_is_told_from_noise(module):
    endurance = module("endurance")
    first = endurance.Look(10, 3, 0, 20, 50.0, 40.0, 2)
    assert not list(endurance.growth([first, first, replace(first, fds=22, supervisor_mb=60.0)]))
    grown = [first, first, replace(first, fds=200, zombies=1, temporary_files=3)]
    names = ["zombies grew from 0 to 1", "fds grew from 20 to 200", "temporary_files grew from 2 to 3", "1 zombies"]
    assert list(endurance.growth(grown)) == names


def test_a_sample_without_verdict_never_agrees_with_the_truth(module):
    truth = module("truth")
    from align.execute import Execution

    failing = truth.Sample("T/0", 0, "", "failed: ")
    unsupported = Execution("unsupported", None, 0, 0, None, "none", None, 0.0)
    assert truth.differs(failing, unsupported)
    assert not truth.differs(failing, replace(unsupported, outcome="timeout"))
