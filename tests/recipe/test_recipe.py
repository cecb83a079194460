import pytest

from align.errors import ConfigError
from align.recipe import Recipe
from align.recipe.recipe import run_name
from align.train.arguments import TRACKERS

MISTAKES = {
    "stages:\n  make: {use: toy_mak}\n": r":2: stages.make: no stage kind 'toy_mak': did you mean 'toy_make'\?",
    "stages:\n  make: {use: toy_make, round: 3}\n": r":2: stages.make.round: unknown key: did you mean 'rounds'\?",
    "stages:\n  d: {use: toy_double, data: $mak/numbers.jsonl}\n": r":2: stages.d.data: .* names no earlier stage",
    "stages:\n  make: {use: toy_make}\n  d: {use: toy_double, data: $make/number.jsonl}\n": (
        r":3: stages.d.data: make leaves no 'number.jsonl': did you mean 'numbers.jsonl'\?"
    ),
    "stages:\n  d: {use: toy_double}\n": r":2: stages.d.data: Field required|missing",
    "stages:\n  d: {use: toy_double, data: none.jsonl}\n": r":2: stages.d.data: no file 'none.jsonl'",
    "stages:\n  make: {use: toy_make, rounds: 1.5}\n": r":2: stages.make.rounds: .*1.5",
    "stage:\n  make: {}\n": r":1: stage: unknown key: did you mean 'stages'\?",
    "stages:\n  a: {use: toy_make}\n  a: {use: toy_make}\n": r":3: found duplicate key",
    "models:\n  m: {modle: x}\nstages: {a: {}}\n": r":2: models.m: give exactly one of model_name_or_path",
    "models:\n  m: {model_name_or_path: x, dtyp: y}\nstages: {a: {}}\n": r":2: models.m.dtyp: unknown key",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_with_file_line_and_cure(toys, text):
    with pytest.raises(ConfigError, match=MISTAKES[text]) as caught:
        toys(text=text)
    assert "\n" not in str(caught.value)


def test_a_key_written_into_a_recipe_is_refused_and_not_repeated(toys):
    text = "models:\n  t: {base_url: http://localhost:1/v1, model: m, api_key: sk-secret}\nstages: {a: {}}\n"
    with pytest.raises(ConfigError, match="not written into a recipe") as caught:
        toys(text=text)
    assert "sk-secret" not in str(caught.value)


def test_a_run_is_named_by_the_path_below_recipes(tmp_path):
    assert run_name(tmp_path / "recipes" / "bloomz" / "tiny.yaml") == "bloomz/tiny"
    assert run_name(tmp_path / "mine.yaml") == "mine"


def test_relative_paths_are_found_below_the_recipe_and_then_below_its_repository(toys, tmp_path):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "here.jsonl").write_text("{}\n")
    recipe = toys("stages.make.source=here.jsonl")
    assert recipe.path("here.jsonl") == tmp_path / "here.jsonl"
    (tmp_path / "recipes" / "here.jsonl").write_text("{}\n")
    assert recipe.path("here.jsonl") == tmp_path / "recipes" / "here.jsonl"


def test_a_benchmark_is_named_where_a_file_is_wanted(toys, tmp_path):
    (tmp_path / "recipes" / "set.jsonl").write_text("{}\n")
    text = "benchmarks: {mine: set.jsonl}\nstages:\n  make: {use: toy_make, source: mine}\n"
    assert isinstance(toys(text=text), Recipe)


def test_unset_variables_and_hub_ids_are_notes_not_errors(toys, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    text = """
models:
  t: {base_url: "${NOWHERE}", model: m, api_key: "${NOWHERE}"}
  s: {model_name_or_path: owner/name}
benchmarks: {b: hf://datasets/o/n@main/test}
stages:
  make: {use: toy_make, source: b}
  sft: {model: s, data: hf://datasets/o/n@main/test, args: {report_to: clearml}}
"""
    monkeypatch.setitem(TRACKERS, "clearml", ("no_module_of_this_name",))
    notes = toys(text=text).notes()
    assert "stages.sft.args.report_to: clearml is not installed here" in notes
    assert any("NOWHERE" in note for note in notes)
    assert any("owner/name" in note for note in notes)
    assert any("hf://datasets/o/n@main/test" in note for note in notes)
