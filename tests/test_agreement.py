"""scripts/bench/agreement.py: the file that both judge, what counts as a disagreement, and that there is none."""

import importlib
import importlib.util
import json
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
ROW = {
    "task_id": "HumanEval/0",
    "prompt": "def twice(x):\n",
    "canonical_solution": "    return [x, x]\n",
    "entry_point": "twice",
    "test": "def check(candidate):\n    assert candidate(1) == [1, 1]\n    assert candidate((2,)) == [(2,), (2,)]\n",
}


@pytest.fixture
def agreement(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "scripts" / "bench"))
    return importlib.import_module("agreement")


def test_a_problem_of_humaneval_becomes_one_of_evalpluss_form(agreement, tmp_path):
    agreement.write_lines(tmp_path / "p.jsonl", [agreement.evalplus_row(ROW)])
    row = json.loads((tmp_path / "p.jsonl").read_text())
    assert (row["base_input"], row["plus_input"], row["atol"]) == ([[1], [[2]]], [], 0)
    with pytest.raises(ValueError, match="not JSON compliant"):
        agreement.write_lines(tmp_path / "p.jsonl", [{"x": float("inf")}])


def test_only_a_pass_or_a_lacking_verdict_disagrees(agreement):
    ours = {("HumanEval/1", 0): "pass", ("HumanEval/1", 1): "timeout", ("HumanEval/10", 0): "pass"}
    theirs = {("HumanEval/1", 0): "fail", ("HumanEval/1", 1): "fail", ("HumanEval/2", 0): "fail"}
    assert list(agreement.disagreements(ours, theirs)) == [
        "HumanEval/1 sample 0: align pass, evalplus fail",
        "HumanEval/2 sample 0: align no verdict, evalplus fail",
        "HumanEval/10 sample 0: align pass, evalplus no verdict",
    ]
    assert not list(agreement.disagreements({("HumanEval/32", 0): "pass"}, {("HumanEval/32", 0): "fail"}))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("evalplus") is None, reason="pip install '.[bench]'")
def test_evalplus_gives_the_same_verdicts(agreement, shared, tmp_path):
    results = tmp_path / "found.json"
    assert agreement.main(["--shared", str(shared), "--quick", "--json", str(results)]) == 0
    assert json.loads(results.read_text())["compared"] == 120
