"""The shipped files of the offline family follow from its operations, and keep evaluation apart."""

import runpy
import shutil
from pathlib import Path

import pytest

from align.generate.family import Family
from align.generate.offline import WRITTEN
from align.io import read
from align.schema import Problem

REPO = Path(__file__).parents[2]
FOLDER = REPO / "data" / "offline"
FAMILY = Family(FOLDER)


@pytest.fixture(scope="module")
def held_out() -> list[Problem]:
    return read(FOLDER / "heldout.jsonl", Problem)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_script_writes_the_shipped_bytes(tmp_path: Path, count: int) -> None:
    shutil.copy(FOLDER / "operations.jsonl", tmp_path)
    main = runpy.run_path(str(REPO / "scripts" / "make_offline_data.py"))["main"]
    main.__globals__["HELD_OUT"] = count
    main(tmp_path)
    assert (tmp_path / "seeds.jsonl").read_bytes() == (FOLDER / "seeds.jsonl").read_bytes()
    shipped = (FOLDER / "heldout.jsonl").read_bytes().splitlines()
    assert (tmp_path / "heldout.jsonl").read_bytes().splitlines() == shipped[:count]


def test_the_files_are_small() -> None:
    assert (FOLDER / "heldout.jsonl").stat().st_size < 2_500_000
    assert (FOLDER / "seeds.jsonl").stat().st_size < 300_000


def test_a_thousand_distinct_problems_are_held_out(held_out: list[Problem]) -> None:
    tasks = {FAMILY.read(str(problem.prompt)) for problem in held_out}
    assert len(tasks) == 1000
    assert all(task.is_held_out for task in tasks)


def test_held_out_tests_are_true_and_no_constant_passes_them(held_out: list[Problem]) -> None:
    for problem in held_out:
        assert len(problem.tests) >= 24
        assert len({test.split(" == ")[1] for test in problem.tests}) > 1
        exec("\n".join([problem.reference or "", *problem.tests]), {})


def test_held_out_tests_have_other_random_inputs_than_written_ones(held_out: list[Problem]) -> None:
    for problem in held_out:
        task = FAMILY.read(str(problem.prompt))
        written = [given for given in task.inputs(20, WRITTEN) if given not in [*task.probes(), [], "", 0]]
        calls = {test.split(" == ")[0] for test in problem.tests}
        assert not [given for given in written if f"assert f({given!r})" in calls]


def test_seeds_are_short_distinct_and_without_tests() -> None:
    seeds = read(FOLDER / "seeds.jsonl", Problem)
    assert len({FAMILY.read(str(problem.prompt)) for problem in seeds}) == len(seeds)
    assert all(len(FAMILY.read(str(problem.prompt)).steps) <= 2 and not problem.tests for problem in seeds)
