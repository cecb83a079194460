"""Run folders made by hand, as the engine leaves them."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from align.generate.request import Sampling
from align.io import sha256_file, write, write_json
from align.recipe.workspace import Workspace, digest
from align.schema import Problem
from align.score.compare import Answer, compare

GOOD, WRONG = "def add(a, b):\n    return a + b", "def add(a, b):\n    return a - b"
METRICS = [
    {"step": 10, "loss": 0.75, "loss/rank": 0.25, "logps/best": -0.5, "logps/worst": -1.5, "rank/accuracies": 0.625},
    {"step": 20, "loss": 0.5, "loss/rank": 0.125, "logps/best": -0.25, "logps/worst": -2.5, "rank/accuracies": 0.875},
]


def sample(model: str, problem: str, passed: bool, *, code: str | None = None, index: int = 0) -> Answer:
    """One scored sample."""
    return Answer(
        model=model,
        problem_id=problem,
        sample_index=index,
        code=code if code is not None else GOOD if passed else WRONG,
        passed=passed,
        outcome="passed" if passed else "wrong_answer",
        reason=None if passed else "AssertionError",
        tests_passed=4 if passed else 1,
        tests_total=4,
        isolation="none",
    )


@dataclass
class Run:
    """A run below `folder.parent`, grown stage by stage."""

    folder: Path
    order: Sequence[str]

    def begin(self, stage: str, key: str = "") -> Path:
        """The folder of a stage that is not done."""
        folder = self.folder / f"{stage}-{(key or digest(stage))[:12]}"
        folder.mkdir(parents=True)
        return folder

    def finish(
        self, stage: str, kind: str, counts: Mapping[str, Any], config: Any = None, inputs: Any = None, key: str = ""
    ) -> None:
        """Mark it done, and record it in `run.json`."""
        workspace = Workspace(self.folder.parent, self.folder.name)
        folder = self.folder / f"{stage}-{(key or digest(stage))[:12]}"
        facts = {"name": stage, "kind": kind, "key": key or digest(stage), "config": config or {}, "counts": counts}
        measured = {"seconds": 1.5, "versions": {"python": "3.11.7"}, "commit": "c0ffee" * 6 + "abcd"}
        workspace.finish(folder, {**facts, **measured, "inputs": inputs or {}, "seed": 0, "version": 1})
        known = {"recipe": "recipes/toy.yaml", "run": "toy", "seed": 7, "overrides": ["seed=7"]}
        workspace.record(stage, folder, {**known, "order": list(self.order)})

    def score(
        self, answers: Mapping[str, Sequence[Answer]], problems: Path, k: Sequence[int] = (1,), **more: Any
    ) -> None:
        """Add a score stage that is done; `more` is what else its `score.json` says."""
        folder = self.begin("score")
        n = 1 + max(row.sample_index for rows in answers.values() for row in rows)
        write(folder / "results.jsonl", [row for rows in answers.values() for row in rows])
        write_json(folder / "score.json", compare(answers, k, n=n, sampling=Sampling(temperature=0.5)) | more)
        config = {"problems": str(problems), "models": dict.fromkeys(answers, "$rrtf/model")}
        self.finish("score", "score", {"problems": 2}, config, {"problems": sha256_file(problems)})


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run of three stages; none is done."""
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path / "runs" / "toy", ["clean", "rrtf", "score"])


@pytest.fixture
def trained(run) -> Run:
    """A run whose data and training are done."""
    write(run.begin("clean") / "problems.jsonl", [])
    run.finish("clean", "clean", {"kept": 1234, "rejected": {"contaminated": 56}})
    write(run.begin("rrtf") / "metrics.jsonl", METRICS)
    run.finish("rrtf", "align", {"rows": 1200, "trained_on": 1100, "dropped": {}}, {"data": "$clean/problems.jsonl"})
    return run


@pytest.fixture
def problems() -> list[Problem]:
    """Four problems."""
    return [Problem(prompt=f"Add number {index}.", tests=["assert add(1, 2) == 3"]) for index in range(4)]


@pytest.fixture
def finished(trained, problems, tmp_path) -> Run:
    """A finished run: the second model fixes two problems, breaks one and keeps one."""
    path = tmp_path / "heldout.jsonl"
    write(path, problems)
    (tmp_path / "recipes").mkdir()
    # enough of a recipe to say where the problems are
    (tmp_path / "recipes" / "toy.yaml").write_text(
        json.dumps({"benchmarks": {"heldout": os.fspath(path)}, "stages": {"clean": {"problems": "heldout"}}})
    )
    ids = [problem.id for problem in problems]
    before, after = (False, False, True, True), (True, True, False, True)
    trained.score(
        {
            "sft": [sample("sft", id, passed) for id, passed in zip(ids, before, strict=True)],
            "rrtf": [sample("rrtf", id, passed) for id, passed in zip(ids, after, strict=True)],
        },
        path,
    )
    return trained
