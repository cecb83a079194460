import pytest

from align.recipe.recipe import kinds
from align.show.keys import section_rows
from align.show.kind import config_of, show_kind
from align.train.settings import LOSSES


def table(kind: str) -> dict[str, tuple[str, ...]]:
    """Key with its indentation → type, default, help; of equal keys the last."""
    return {row[0]: row[1:] for row in section_rows(config_of(kind))}


@pytest.mark.parametrize("kind", kinds())
def test_every_key_of_a_kind_has_type_default_and_help(kind):
    found = table(kind)
    for name, field in config_of(kind).model_fields.items():
        assert all(found[field.alias or name])
    for row in section_rows(config_of(kind)):
        assert row[3], f"{row[0]} has no help"
        assert "Annotated" not in row[1]
        assert "{'" not in row[2]


def test_types_are_words_with_their_bounds():
    assert table("clean")["decontaminate"][:2] == ("list of files", "[]")
    heuristics = "[add_constraint, rarer_requirement, more_steps, misleading_code, higher_complexity]"
    assert table("evolve")["operators"][:2] == ("list of names", heuristics)
    assert "more_steps" in table("evolve")["operators"][2]
    assert table("score")["models"][:2] == ("map of models", "required")
    assert table("score")["top_p"][:2] == ("float > 0, ≤ 1", "1.0")
    assert table("rank")["isolation"][:2] == ("auto | A | B | none", "auto")
    assert table("rank")["drop_teacher_below"][:2] == ("true | false", "true")
    assert table("align")["max_length"][:2] == ("int > 1", "none")


def test_sections_inside_a_kind_are_spelt_out():
    keys = [row[0] for row in section_rows(config_of("align"))]
    assert keys[keys.index("lora") + 1 : keys.index("lora") + 3] == ["  r", "  lora_alpha"]
    assert keys[keys.index("launch") + 1] == "  config_file"
    assert keys[keys.index("  name: dpo") + 1] == "    beta"
    assert [key.split(": ")[1] for key in keys if key.startswith("  name")] == list(LOSSES)
    assert "    name" not in keys
    assert table("sample")["  temperature"][:2] == ("float or list of floats", "1.0")
    assert table("rank")["  model"][:2] == ("model", "required")


def test_a_kind_says_what_it_does_and_leaves(capsys):
    show_kind("clean")
    first, second, blank, heading, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("clean: Clean problems")
    assert second == "leaves problems.jsonl, rejected.jsonl"
    assert blank == ""
    assert heading.split() == ["key", "type", "default", "what", "it", "is"]
