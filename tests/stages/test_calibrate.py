"""The stage that measures synthesised tests by real ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from align.errors import AlignError
from align.io import write
from align.models.entry import AnyEntry
from align.recipe.stage import Context, Counts
from align.schema import Problem
from align.stages import calibrate

MODELS: dict[str, AnyEntry] = {}
PROBLEM = Problem(
    prompt='def f(x):\n    """Double x."""\n',
    entry_point="f",
    tests=["assert f(3) == 6"],
    reference='def f(x):\n    """Double x."""\n    return 2 * x\n',
    meta={"task_id": "mine/1"},
)
TESTS = [f"f({x}) == {2 * x}" for x in range(6)] + ["f(3) == 9"]
SAMPLES = ["    return 2 * x\n", "    return x + x\n", "    return x * x\n"]


def run(folder: Path, problems: list[Problem] | None = None, **changed: Any) -> Counts:
    write(folder / "problems.jsonl", problems or [PROBLEM, Problem(prompt="No tests.")])
    rows = [{"task_id": "mine/1", "samples": TESTS}, {"task_id": "theirs/1", "samples": ["f(1) == 1"]}]
    write(folder / "tests.jsonl", rows)
    write(folder / "samples.jsonl", [{"task_id": "mine/1", "completion": text} for text in SAMPLES])
    config = {
        "problems": str(folder / "problems.jsonl"),
        "tests": str(folder / "tests.jsonl"),
        "continues": "assert ",
        "samples": str(folder / "samples.jsonl"),
        "own_votes": True,
        "isolation": "none",
        "workers": 1,
        **changed,
    }
    return calibrate.run(calibrate.Config.model_validate(config), Context("calibrate", folder / "out", 0, MODELS))


def test_files_of_tests_and_samples_are_measured_and_the_figures_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = run(tmp_path)
    told = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert counts["precision"] == told["sieved"]["precision"]
    assert counts["rejected"] == {}
    assert told["proposed"]["precision"] == pytest.approx(6 / 7, abs=1e-4)
    assert told["sieved"]["precision"] == 1
    assert told["sieved"]["false_pass"] == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == list(calibrate.COLUMNS)
    assert any(line.startswith("by_gate kill_rate passed") for line in printed)
    first = (tmp_path / "out" / "calibration.json").read_bytes()
    run(tmp_path)
    assert (tmp_path / "out" / "calibration.json").read_bytes() == first


def test_every_tier_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    run(tmp_path)
    told = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert set(told["cases_by_tier"]) == {"extracted", "synthesised"}
    assert "with_further" not in told
    run(tmp_path, tiers=["extracted", "synthesised", "differential", "property"])
    more = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert more["proposed"] == told["proposed"]
    assert more["cases_by_tier"]["differential"]["precision"] == 1
    assert list(more["with_further"]) == ["written", "and differential", "and property"]
    assert more["with_further"]["written"]["cases"] < more["with_further"]["and differential"]["cases"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"problems": [Problem(prompt="No tests.")]}, "holds no problem with tests to compare with"),
        ({"problems": [PROBLEM.model_copy(update={"meta": {}})]}, "tests.jsonl: no row is of one of the problems"),
    ],
)
def test_what_is_missing_is_one_clear_line(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AlignError, match=message):
        run(tmp_path, **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": "s", "tiers": ["synthesised"]}, "nobody writes tests: name models or tests"),
        ({"tests": "t"}, "no programs to run tests on: name candidates or samples"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        calibrate.Config.model_validate({"problems": "p", **changed})


def test_a_row_without_texts_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write(path, [{"task_id": "mine/1", "samples": "f(1) == 2"}])
    with pytest.raises(AlignError, match=r"mine\.jsonl:1: expected `samples`, a list of texts"):
        run(tmp_path, tests=str(path))


def test_it_always_runs_programs() -> None:
    assert calibrate.runs_programs(calibrate.Config(problems="p", samples="s"))


def test_the_recipe_of_the_read_me_is_a_configuration() -> None:
    text = (Path(calibrate.__file__).parents[1] / "testgen" / "README.md").read_text()
    (recipe,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    config = calibrate.Config.model_validate(YAML(typ="safe").load(recipe)["stages"]["calibrate"])
    assert config.continues == "assert "
