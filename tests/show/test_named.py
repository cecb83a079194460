"""What has a name: every record, the parts of a recipe, and the list of it all."""

import json

import pytest

from align import schema
from align.cli import main
from align.models.entry import KINDS
from align.recipe.recipe import TopLevel, kinds
from align.recipe.schema import recipe_schema
from align.schema import Problem, Record
from align.show import show
from align.show.kind import outputs_of
from align.show.named import catalogue
from align.show.record import FILES, OF_KIND, RECORDS
from align.text.template import TEMPLATES

from .conftest import told

PARTS = {"Record", "Hashed", "Message", "Limits"}
PLANNED = {"Dialogue", "UnpairedRow", "MultitaskRow"}
"""Rows that no stage reads or leaves yet."""
NO_RECORDS = {
    "metrics.jsonl",
    "reference.jsonl",
    "groups-rrhf.jsonl",
    "groups-ultrafeedback.jsonl",
    "pairs-chat.jsonl",
}


def refused(capsys, *words: str) -> str:
    assert main(["show", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_is_shown(capsys, name):
    title, found, blank, heading, *rows = told(capsys, name).splitlines()
    assert title.startswith(f"{name}: {RECORDS[name].__doc__.split()[0]}")
    assert found.startswith("found in ")
    assert found.split()[-1] in kinds()
    assert blank == ""
    assert heading.split() == ["field", "type", "default", "what", "it", "is"]
    fields = [row.split()[0] for row in rows if not row.startswith(" ")]
    assert fields == list(RECORDS[name].model_fields)
    assert json.loads(told(capsys, name, "--json"))["properties"].keys() == RECORDS[name].model_fields.keys()


def test_every_record_and_every_file_of_records_is_known():
    records = {name for name, kind in vars(schema).items() if isinstance(kind, type) and issubclass(kind, Record)}
    assert records - PARTS - PLANNED <= {kind.__name__ for kind in RECORDS.values()}
    left = {file for kind in kinds() for file in outputs_of(kind) if file.endswith(".jsonl")}
    assert left - NO_RECORDS == FILES.keys()
    assert {*FILES.values(), *(name for held in OF_KIND.values() for name in held)} == RECORDS.keys()


def test_help_and_place_come_from_the_classes(capsys):
    text = told(capsys, "problem")
    assert "found in problems.jsonl of clean, evolve, plan, tests\n" in text
    assert Problem.model_fields["entry_point"].description in text
    assert "text or list of messages" in text
    assert "\n  memory_mb " in text


@pytest.mark.parametrize(
    ("guess", "name"),
    [
        *((guess, "group") for guess in ("RankedGroup", "ranked_group", "ranked-groups", "GROUP", "groups")),
        *((guess, "sft-row") for guess in ("SftRow", "sft_rows", "sftrow")),
        *((guess, "pair") for guess in ("PreferencePair", "preference-pair", "pairs")),
        *(("answer", "result"), ("results", "result"), ("problems", "problem"), ("Problem", "problem")),
        *(("model", "models"), ("template", "templates"), ("recipes", "recipe"), ("Score", "score")),
    ],
)
def test_a_name_is_found_as_one_would_guess_it(capsys, guess, name):
    assert told(capsys, guess) == told(capsys, name)


def test_spellings_are_no_two_things():
    spellings = [word for one in catalogue() for word in one.words]
    assert len(spellings) == len(set(spellings))


def test_a_recipe_shows_its_top_level(capsys):
    keys = [row.split()[0] for row in told(capsys, "recipe").splitlines()[4:] if not row.startswith(" ")]
    assert keys == ["extends", *TopLevel.model_fields]
    assert json.loads(told(capsys, "recipe", "--json")) == recipe_schema()
    assert "4294967296" in told(capsys, "recipe")


def test_models_are_of_three_kinds(capsys):
    text = told(capsys, "models")
    for key, kind in KINDS.items():
        assert f"\n{kind.__name__.lower()}: " in text
        assert f"\n{key} " in text
    assert json.loads(told(capsys, "models", "--json")).keys() == KINDS.keys()


def test_templates_are_shown_to_the_byte_with_their_use(capsys):
    text = told(capsys, "templates")
    for name, template in TEMPLATES.items():
        assert f"{name}:\n  about: {template.about}\n  prompt: {template.prompt!r}\n" in text
        assert len(template.about) > 20
        assert template.id in text
    assert "  completion: ' {code}'\n" in text
    assert [row["name"] for row in json.loads(told(capsys, "templates", "--json"))] == list(TEMPLATES)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("columns", "columns: a key of "),
        ("decontaminate", "a key of clean: align show clean"),
        ("benchmarks", "a key of recipe: align show recipe"),
        ("base_url", "a key of models: align show models"),
        ("alpaca", "a template: align show templates"),
        ("learning_rate", "under args: of sft or align"),
        ("problm", "did you mean 'problem'?"),
        ("frobnicate", "give a path; stage kinds: align, calibrate, clean, "),
    ],
)
def test_a_wrong_guess_is_told_where_to_look(capsys, word, expected):
    assert expected in refused(capsys, word)


def test_without_a_word_everything_is_listed(capsys):
    show()
    text = capsys.readouterr().out
    for one in catalogue():
        assert one.name in text
    for place in ("a run", "a stage", "a file"):
        assert f"\n{place} " in text
    show(as_json=True)
    assert json.loads(capsys.readouterr().out)["records"].startswith("problem, response")
