"""The card beside a data set."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from align.io import write
from align.models.entry import Endpoint, Offline
from align.recipe.card import NAME, write_card
from align.schema import Problem

MADE = [
    {
        "name": "evolve",
        "kind": "evolve",
        "counts": {"kept": 3, "rejected": {"refusal": 1}},
        "prompts": ["evolve@12345678"],
        "config": {"problems": "seeds.jsonl", "model": "teacher", "temperature": 1.0},
        "seed": 4,
    },
    {
        "name": "clean",
        "kind": "clean",
        "counts": {"kept": 2, "rejected": {"contaminated": 7}},
        "config": {"problems": "$evolve/problems.jsonl", "decontaminate": ["humaneval"]},
        "seed": 4,
    },
]
MODELS = {
    "teacher": Endpoint(base_url="http://10.1.2.3/v1", model="big/model", api_key="${SECRET}"),
    "other": Offline(offline="/somewhere/data"),
}


def card(folder: Path, made: list = MADE) -> str:
    write_card(folder, "mine: clean", made, MODELS, [folder / "problems.jsonl"])
    return (folder / NAME).read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problems = [
        Problem(prompt="a", source="exercism", licence="MIT"),
        Problem(prompt="b", source="exercism", licence="MIT"),
        Problem(prompt="c"),
    ]
    write(tmp_path / "problems.jsonl", problems)
    write(tmp_path / "rejected.jsonl", [])
    return tmp_path


def test_what_is_measured_is_no_record_and_changes_no_byte(folder: Path) -> None:
    before = card(folder)
    write(folder / "timings.jsonl", [{"cpu_seconds": 1.0}])
    assert card(folder) == before


def test_the_head_is_what_the_hub_reads(folder: Path) -> None:
    _, head, _ = card(folder).split("---\n", 2)
    found = YAML(typ="safe").load(head)
    assert found["license"] == ["MIT", "unknown"]
    assert found["size_categories"] == ["n<1K"]
    assert {config["data_files"] for config in found["configs"]} == {"problems.jsonl", "rejected.jsonl"}


def test_it_tells_models_prompts_settings_counts_licences_and_decontamination(folder: Path) -> None:
    text = card(folder)
    for told in (
        "`big/model` behind an OpenAI-compatible server | evolve |",
        "evolve@12345678",
        "temperature: 1.0",
        "kept 3, rejected 1 (refusal 1)",
        "| exercism | MIT | 2 |",
        "| unknown | unknown | 1 |",
        "against `humaneval`: 7 dropped",
        "Seed 4",
    ):
        assert told in text


def test_a_set_that_was_compared_with_nothing_says_so(folder: Path) -> None:
    assert "do not measure on a benchmark" in card(folder, MADE[:1])


def test_it_names_no_address_no_key_and_no_model_that_was_not_used(folder: Path) -> None:
    text = card(folder)
    for hidden in ("10.1.2.3", "SECRET", "somewhere", "other"):
        assert hidden not in text


def test_a_source_cannot_break_the_table(folder: Path) -> None:
    write(folder / "problems.jsonl", [Problem(prompt="a", source="x | y\n## Injected")])
    assert "| x ¦ y ## Injected | unknown | 1 |" in card(folder)


def test_the_same_run_gives_the_same_bytes(folder: Path) -> None:
    first = card(folder)
    assert card(folder) == first
    assert json.dumps(str(folder)) not in first
