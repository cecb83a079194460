"""What the rules say of real text: problems that one function solves, and prompts that ask for other things."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from align.evolve.language import changed_language, demanded
from align.evolve.tasks import other_task, solution
from align.evolve.wording import language_of

HUMANEVAL, MBPP = "data/eval/HumanEval.jsonl.gz", "data/eval/mbpp.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip(f"ALIGN_TEST_DATA: no {path.name}")
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [json.loads(line) for line in file]


def prompts(path: Path) -> list[str]:
    return [row.get("text") or row["prompt"] for row in rows(path)]


@pytest.mark.parametrize("name", [HUMANEVAL, MBPP])
def test_no_benchmark_problem_is_refused(shared: Path, name: str) -> None:
    for prompt in prompts(shared / name):
        assert other_task(prompt) is None, prompt
        assert solution(prompt, "") is None, prompt
        assert demanded(prompt).keys() <= {"python"}, prompt
        assert language_of(prompt) in ("English", None), prompt


def test_nearly_no_exercise_is_refused(shared: Path) -> None:
    exercises = [row["instructions"] for row in rows(shared / "data/tasks/exercism_python_practice.jsonl")]
    assert sum(other_task(text) is not None for text in exercises) <= 10 < len(exercises) == 140


def test_most_prompts_that_are_no_code_are_refused(shared: Path) -> None:
    seeds = [row["instruction"] for row in rows(shared / "data/instruct/self-instruct_seed_tasks.jsonl")]
    assert sum(other_task(text) is not None for text in seeds) >= 140
    assert len(seeds) == 175


@pytest.mark.parametrize("language", ["cpp", "go", "java", "js"])
def test_code_of_another_language_is_seen(shared: Path, language: str) -> None:
    parent = prompts(shared / HUMANEVAL)[0]
    for row in rows(shared / f"data/eval/humaneval-x/humaneval_{language}.jsonl.gz"):
        assert changed_language(row["prompt"], parent, "python"), row["prompt"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("次のリストの合計を返す関数を書いてください。Python で。", "Japanese"),
        ("请编写一个函数，返回列表中所有数字的和。", "Chinese"),
        ("Напишите функцию, которая возвращает сумму списка.", "Cyrillic"),
        ("리스트의 합계를 반환하는 함수를 작성하세요.", "Korean"),
        ("Escribe una función que devuelva la suma de los números de una lista.", "Spanish"),
        ("Write a function that returns the sum of a list.", "English"),
        ("f(xs)", None),
        ("", None),
    ],
)
def test_natural_languages_are_told_apart(text: str, language: str | None) -> None:
    assert language_of(text) == language
