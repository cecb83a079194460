"""The shipped text and tasks of data/multitask follow from its world, are parallel, and keep evaluation apart."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from align.mix import Rows, raw, read_templates

REPO = Path(__file__).parents[1]
FOLDER = REPO / "data" / "multitask"
LANGUAGES = ("en", "es", "zh")
TASKS = sorted(path.name for path in (FOLDER / "tasks").iterdir())
HELD_OUT = {"city", "pet", "cloze"}
ABOUT = {"job", "favourite", "fruit"}
"""Tasks about people: some are asked about in training, the others in tests."""


def task_rows(task: str, split: str, language: str) -> list[dict]:
    path = FOLDER / "tasks" / task / f"{split}.{language}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def trained_on() -> str:
    """All that any training reads: the plain text and the training rows."""
    files = [FOLDER / "text.jsonl", *sorted((FOLDER / "tasks").glob("*/train.*.jsonl"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_the_script_writes_the_shipped_bytes(tmp_path):
    shutil.copy(FOLDER / "world.yaml", tmp_path)
    subprocess.run([sys.executable, REPO / "scripts" / "make_multitask_data.py", tmp_path], check=True)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jsonl"))
    assert written == sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.jsonl"))
    for path in written:
        assert (tmp_path / path).read_bytes() == (FOLDER / path).read_bytes(), path


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("task", TASKS)
def test_row_n_says_the_same_in_every_language(task):
    for split in ("test",) if task in HELD_OUT else ("train", "test"):
        english, *others = (task_rows(task, split, language) for language in LANGUAGES)
        for rows in others:
            assert [row["id"] for row in rows] == [row["id"] for row in english]
            assert all(row.keys() == one.keys() for row, one in zip(rows, english, strict=True))
            for column in {"label", "question"} & english[0].keys():
                assert [row[column] for row in rows] == [row[column] for row in english]


def test_held_out_tasks_have_no_training_rows():
    for task in HELD_OUT:
        assert not list((FOLDER / "tasks" / task).glob("train.*"))


def test_what_test_rows_translate_no_text_and_no_training_row_translates():
    text = (FOLDER / "text.jsonl").read_text(encoding="utf-8")
    for language in LANGUAGES:
        trained = {row["target"] for row in task_rows("translate", "train", language)}
        for row in task_rows("translate", "test", language):
            assert row["target"] not in text
            assert row["target"] not in trained


@pytest.mark.parametrize("task", sorted(ABOUT | {"city", "pet"}))
def test_plain_text_tells_what_tests_ask_about_people(task):
    lines = (FOLDER / "text.jsonl").read_text(encoding="utf-8").splitlines()
    sentences = {one for line in lines for one in re.split(r"[.。\n]", json.loads(line)["completion"])}
    for language in LANGUAGES:
        told = {(row["person"], row[f"option{row['label'] + 1}"]) for row in task_rows(task, "test", language)}
        for person, value in told:
            assert any(person in one and value in one for one in sentences), (person, value)


@pytest.mark.parametrize("task", sorted(set(TASKS) - HELD_OUT))
def test_no_test_row_is_a_training_row(task):
    for language in LANGUAGES:
        train, test = (
            {json.dumps(row | {"id": 0}) for row in task_rows(task, split, language)} for split in ("train", "test")
        )
        assert not train & test


def test_what_is_asked_about_in_a_test_is_asked_about_in_no_training_row():
    for task, column in (("kind", "the"), ("opposite", "word"), *((task, "person") for task in sorted(ABOUT))):
        for language in LANGUAGES:
            train, test = ({row[column] for row in task_rows(task, split, language)} for split in ("train", "test"))
            assert test
            assert not train & test


@pytest.mark.parametrize("task", TASKS)
def test_every_template_fits_every_row(task):
    templates = read_templates(FOLDER / "templates" / f"{task}.yaml")
    assert {template.language for template in templates} == set(LANGUAGES)
    for template in templates:
        for language in LANGUAGES if template.language == "en" else (template.language,):
            rows = Rows(raw(FOLDER / "tasks" / task / f"test.{language}.jsonl"), template)
            assert len(list(rows)) == len(task_rows(task, "test", language))
            assert not rows.dropped


def test_labels_are_balanced():
    for task in TASKS:
        labels = [row["label"] for row in task_rows(task, "test", "en") if "label" in row]
        for label in set(labels):
            assert labels.count(label) / len(labels) > 0.5 / len(set(labels)), task


def test_no_benchmark_sentence_is_inside(shared, trained_on):
    for language in ("zh", "id"):
        lines = (shared / "data" / "multitask" / "xcopa" / f"test.{language}.jsonl").read_text("utf-8").splitlines()
        assert lines
        for row in map(json.loads, lines):
            assert all(row[column] not in trained_on for column in ("premise", "choice1", "choice2"))
