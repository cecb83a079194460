"""Overlap with benchmarks."""

from pathlib import Path

import pytest

from align.clean import decontaminate
from align.clean.decontaminate import NGRAM
from align.generate.family import Family
from align.io import read
from align.schema import Problem

FOLDER = Path(__file__).parents[2] / "data" / "offline"
LONG = "given a list of rainfall figures for each day return the longest run of days without any rain at all"


@pytest.fixture(scope="module")
def held_out() -> list[Problem]:
    return read(FOLDER / "heldout.jsonl", Problem)


def test_a_shared_run_of_words_is_found_and_named() -> None:
    benchmark = [Problem(prompt=LONG, meta={"task_id": "Rain/7"})]
    near = Problem(prompt=f"In Python: {LONG.upper()}; print it.")
    far = Problem(prompt="Given a list of numbers, return the longest run of numbers without any zero.")
    kept, rejected = decontaminate([near, far], [("rain", benchmark)])
    assert kept == [far]
    assert rejected[0].reason == "contaminated"
    assert str(rejected[0].detail).startswith("rain Rain/7: given a list of rainfall")


def test_a_benchmark_loses_all_of_itself(held_out: list[Problem]) -> None:
    assert decontaminate(held_out, [("itself", held_out)])[0] == []


def test_reworded_ends_of_held_out_problems_are_mostly_found(held_out: list[Problem]) -> None:
    family = Family(FOLDER)
    near = []
    for problem in held_out:
        task = family.read(str(problem.prompt))
        end = family.kinds[task.domain, "end"]
        other = next(operation for operation in end if operation.name != task.steps[-1].name)
        changed = task.steps[-1].__class__(other, other.name, k=3, c="a")
        near.append(Problem(prompt=type(task)(task.domain, (*task.steps[:-1], changed)).text))
    kept, _ = decontaminate(near, [("held out", held_out)])
    assert len(kept) < 0.6 * len(near)


def test_the_offline_family_is_not_emptied(held_out: list[Problem]) -> None:
    seeds = read(FOLDER / "seeds.jsonl", Problem)
    assert len(decontaminate(seeds, [("held out", held_out)])[0]) > 0.9 * len(seeds)


def test_real_benchmarks_do_not_hit_each_other_by_the_way(shared: Path) -> None:
    folder = shared / "data" / "eval"
    humaneval, mbpp = read(folder / "HumanEval.jsonl.gz", Problem), read(folder / "mbpp.jsonl", Problem)
    _, rejected = decontaminate(mbpp, [("humaneval", humaneval)], NGRAM)
    assert len(rejected) < 0.02 * len(mbpp)
    assert decontaminate(humaneval, [("humaneval", humaneval)], NGRAM)[0] == []
