"""EvalPlus's files: its result file as `evalplus.evaluate` reads it, and a folder of samples."""

import gzip
import hashlib
import json
from datetime import datetime

import pytest

from align.errors import DataError
from align.execute import Execution
from align.schema import Problem
from align.score.evalplus import data_hash, evalplus_results, results_path
from align.score.samples import Sample, folder_rows

CALLS = Problem(
    prompt="def f(x):\n",
    entry_point="f",
    test_kind="calls",
    tests=[json.dumps({"input": [{"$t": [number, [number]]}]}) for number in range(5)],
    meta={"task_id": "HumanEval/3", "base_tests": 3},
)
CHECK = Problem(prompt="def f(x):\n", entry_point="f", test_kind="check", tests=["def check(f): assert f(1)"])


def execution(outcome, failed=None, total=5):
    held = 0 if failed is None and outcome != "passed" else total - len(failed or [])
    return Execution(outcome, None, held, total, failed, "none", None, 0.1)


def results(problem, *executions, form="completion"):
    samples = [Sample("HumanEval/3", index, problem, form, "    return x") for index in range(len(executions))]
    return evalplus_results(samples, executions, "d41d", now=datetime(2026, 2, 3, 4, 5))


def statuses(*executions, problem=CALLS):
    rows = results(problem, *executions)["eval"]["HumanEval/3"]
    return [(row["base_status"], row["plus_status"]) for row in rows]


def test_a_result_has_the_form_that_evalplus_writes():
    assert results(CALLS, execution("wrong_answer", [1, 2, 4])) == {
        "date": "2026-02-03 04:05",
        "hash": "d41d",
        "eval": {
            "HumanEval/3": [
                {
                    "task_id": "HumanEval/3",
                    "solution": "def f(x):\n    return x",
                    "base_status": "fail",
                    "plus_status": "fail",
                    "base_fail_tests": [[[1, [1]]]],
                    "plus_fail_tests": [[[4, [4]]]],
                }
            ]
        },
    }


def test_base_and_plus_tests_have_a_status_each():
    assert statuses(
        execution("passed"),
        execution("wrong_answer", [4]),
        execution("wrong_answer", [0]),
        execution("compile_error"),
        execution("runtime_error", [0, 1, 2, 3, 4]),
    ) == [("pass", "pass"), ("pass", "fail"), ("fail", "pass"), ("fail", "fail"), ("fail", "fail")]


def test_a_timeout_belongs_to_the_tests_that_it_ended():
    assert statuses(
        execution("timeout", [3, 4]),
        execution("timeout", [1, 2, 3, 4]),
        execution("timeout", [0, 4]),
        execution("timeout"),
    ) == [("pass", "timeout"), ("timeout", "timeout"), ("fail", "timeout"), ("timeout", "timeout")]


def test_without_plus_inputs_there_is_no_plus_status():
    base_only = CALLS.model_copy(update={"meta": {"task_id": "HumanEval/3", "base_tests": 5}})
    assert statuses(execution("passed"), execution("wrong_answer", [4]), problem=base_only) == [
        ("pass", None),
        ("fail", None),
    ]


def test_a_test_source_whose_asserts_are_counted_has_a_base_status_only():
    found = results(CHECK, execution("wrong_answer", [6], 7), execution("passed", None, 7), form="solution")
    first, second = found["eval"]["HumanEval/3"]
    assert (first["base_status"], second["base_status"], first["plus_status"]) == ("fail", "pass", None)
    assert (first["base_fail_tests"], first["solution"]) == ([], "    return x")


@pytest.mark.parametrize("outcome", ["unsupported", "test_error", "infra_error"])
def test_what_has_no_verdict_is_never_written_as_a_failure(outcome):
    assert results(CALLS, execution("passed"), execution(outcome))["eval"] == {}


def test_the_hash_is_that_of_the_text(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(b'{"task_id": 1}\n')
    with gzip.open(tmp_path / "p.jsonl.gz", "wb") as file:
        file.write(b'{"task_id": 1}\n')
    expected = hashlib.md5(b'{"task_id": 1}\n').hexdigest()
    assert [data_hash(tmp_path / name) for name in ("p.jsonl", "p.jsonl.gz")] == [expected, expected]
    with pytest.raises(DataError, match="cannot be read"):
        data_hash(tmp_path / "none")


def test_results_lie_where_evalplus_looks_for_them(tmp_path):
    assert results_path(tmp_path) == tmp_path / "eval_results.json"
    assert results_path(tmp_path / "s.jsonl") == tmp_path / "s_eval_results.json"


def test_a_folder_of_samples_is_read_in_the_order_of_its_numbers(tmp_path):
    for task in ("HumanEval_10", "HumanEval_9"):
        (tmp_path / task).mkdir()
        for number in (10, 2):
            (tmp_path / task / f"{number}.py").write_text(f"# {number}")
    (tmp_path / "eval_results.json").write_text("{}")
    assert [(row["task_id"], row["solution"]) for _, row in folder_rows(tmp_path)] == [
        ("HumanEval/9", "# 2"),
        ("HumanEval/9", "# 10"),
        ("HumanEval/10", "# 2"),
        ("HumanEval/10", "# 10"),
    ]
