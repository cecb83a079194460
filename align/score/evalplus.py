"""EvalPlus's result file, which `evalplus.evaluate` writes and goes on from.

    {"date": …, "hash": …, "eval": {task_id: [{"task_id", "solution", "base_status", "plus_status",
                                               "base_fail_tests", "plus_fail_tests"}]}}

As of evalplus 0.3.1 (`evaluate.py`, `data/utils.py`): it computes its pass@k from such a file beside the
samples, and runs nothing again. Judges nothing and computes no pass@k. Problem files are read by `align.forms`,
samples by `samples`.
"""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..execute import Execution
from ..schema import NO_VERDICT, Problem
from .samples import Sample

PASS, FAIL, TIMEOUT = "pass", "fail", "timeout"
RESULTS = "eval_results.json"


def evalplus_results(
    samples: Sequence[Sample], executions: Sequence[Execution], data_hash: str, *, now: datetime | None = None
) -> dict[str, Any]:
    """The content of a result file.

    Problems with a sample that has no verdict are left out, as pass@k leaves them out. `plus_status` is None where a
    problem has no plus inputs, which is what `evalplus.evaluate --base-only` writes. As EvalPlus stops at the first
    failing test, that one's input is given, where the problem's tests are inputs. It runs the base and the plus tests
    apart: after a timeout in the base tests our plus status is `timeout`, theirs is whatever the plus tests give.

    Args:
        samples: from `read_samples`.
        executions: what came of each, in the same order.
        data_hash: of the problem file, from `data_hash`.
        now: the date; the present by default.
    """
    results: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    unjudged = set()
    for sample, execution in zip(samples, executions, strict=True):
        task = str(sample.task_id)
        results[task].append(_result(task, sample, execution))
        if execution.outcome in NO_VERDICT:
            unjudged.add(task)
    date = (now or datetime.now()).strftime("%Y-%m-%d %H:%M")
    kept = {task: found for task, found in results.items() if task not in unjudged}
    return {"date": date, "hash": data_hash, "eval": kept}


def data_hash(problems: Path) -> str:
    """EvalPlus's hash of a problem file: md5 of its text.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with gzip.open(problems) if problems.suffix == ".gz" else open(problems, "rb") as file:
            return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
    except (OSError, EOFError) as error:
        raise DataError(f"{problems}: cannot be read ({error})") from None


def results_path(samples: Path) -> Path:
    """Where `evalplus.evaluate` looks for the results of samples."""
    if samples.is_dir():
        return samples / RESULTS
    return samples.with_name(samples.name.replace(".jsonl", f"_{RESULTS}"))


def _result(task: str, sample: Sample, execution: Execution) -> dict[str, Any]:
    problem = sample.problem
    base, total = _base_tests(problem), len(problem.tests)
    failed = _failed(execution, total)
    return {
        "task_id": task,
        "solution": _solution(sample),
        "base_status": _status(execution, failed, range(base)),
        "plus_status": _status(execution, failed, range(base, total)) if base < total else None,
        "base_fail_tests": _inputs(problem, failed, range(base)),
        "plus_fail_tests": _inputs(problem, failed, range(base, total)),
    }


def _base_tests(problem: Problem) -> int:
    """How many of the tests are base tests; all of them in files that know no others."""
    found = problem.meta.get("base_tests") if problem.test_kind == "calls" else None
    return found if isinstance(found, int) else len(problem.tests)


def _solution(sample: Sample) -> str:
    prompt = sample.problem.prompt
    return f"{prompt}{sample.text}" if sample.form == "completion" and isinstance(prompt, str) else sample.text


def _failed(execution: Execution, total: int) -> list[int]:
    """Indices of the tests that did not pass: all of them where none was reached."""
    if execution.outcome == "passed":
        return []
    # asserts are counted, where the tests are a source text: they tell nothing of its place among the tests
    if execution.tests_total != total or execution.failed_tests is None:
        return list(range(total))
    return execution.failed_tests


def _status(execution: Execution, failed: Sequence[int], tests: range) -> str:
    if not any(index in tests for index in failed):
        return PASS
    return TIMEOUT if execution.outcome == "timeout" and _stopped(failed) < tests.stop else FAIL


def _stopped(failed: Sequence[int]) -> int:
    """Where a timeout ended the tests: nothing from there on has passed."""
    first = failed[-1]
    for index in reversed(failed):
        if index < first - 1:
            break
        first = index
    return first


def _inputs(problem: Problem, failed: Sequence[int], tests: range) -> list[Any]:
    """The arguments of the first failing test, as plain lists where they were tuples or sets."""
    first = next((index for index in failed if index in tests), None)
    if first is None or problem.test_kind != "calls":
        return []
    return [_plain(json.loads(problem.tests[first])["input"])]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        (name, content), *others = value.items() or [("", None)]
        if name.startswith("$") and not others and isinstance(content, list):
            return _plain(content)
        return {key: _plain(one) for key, one in value.items()}
    return value
