"""A run folder made by hand, and the command with a pipe as its output."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from align.cli import main
from align.generate.request import Sampling
from align.io import write, write_json
from align.recipe.workspace import Workspace
from align.score.compare import Answer, compare

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS")}


def align(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command whose output is a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "align", *words],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def told(capsys, *words: object) -> str:
    """What `align show` prints where there is no terminal."""
    assert main(["show", *map(str, words)]) == 0
    return capsys.readouterr().out


def answers(model: str, passed: Sequence[bool]) -> list[Answer]:
    facts = {"sample_index": 0, "code": "x", "reason": None, "tests_passed": 1, "tests_total": 1, "isolation": "none"}
    return [
        Answer(model=model, problem_id=str(i), passed=good, outcome="passed" if good else "wrong_answer", **facts)
        for i, good in enumerate(passed)
    ]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with a data stage, a stage that is not done, and two score stages on different problems."""
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path / "runs", "toy")
    order = ["clean", "rrtf", "score", "score-hard"]

    def finish(stage, kind, counts, config=None, score=None):
        folder = workspace.folder / f"{stage}-0123456789ab"
        write(folder / "problems.jsonl", [])
        if score:
            write_json(folder / "score.json", score)
        facts = {"name": stage, "kind": kind, "key": "0123456789ab", "config": config, "counts": counts}
        workspace.finish(folder, {**facts, "seconds": 1.5, "seed": 7, "commit": None, "versions": {"align": "0.1.0"}})
        workspace.record(stage, folder, {"recipe": "r.yaml", "run": "toy", "seed": 7, "order": order})

    finish("clean", "clean", {"kept": 11449, "rejected": {"contaminated": 1551, "duplicate": 12}})
    easy, hard = (True, True, False, True), (False, True, False, False)
    for stage, problems, passed in (("score", "heldout", easy), ("score-hard", "$clean/problems.jsonl", hard)):
        steps = {f"rrtf@{step}": answers("m", passed) for step in range(25, 275, 25)}
        measured = compare({"sft": answers("sft", passed[::-1]), **steps}, [1], n=1, sampling=Sampling())
        finish(stage, "score", {"problems": 4}, {"problems": problems}, measured)
    return workspace.folder
