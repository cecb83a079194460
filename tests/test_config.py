import pytest
from pydantic import Field

from align.config import Section, expand, load, unset_variables, validate
from align.errors import ConfigError


class Inner(Section):
    learning_rate: float = 1e-4
    name: str = "x"


class Outer(Section):
    inner: Inner = Inner()
    items: list[Inner] = Field(default_factory=list)
    rounds: int = 1


def build(tmp_path, text, overrides=()):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    document = load(path, overrides)
    return validate(Outer, document, (), document.data)


def test_yaml_1_2_reads_floats_and_keeps_words(tmp_path):
    found = build(tmp_path, "inner: {learning_rate: 5e-7, name: no}\n")
    assert found.inner.learning_rate == 5e-7
    assert found.inner.name == "no"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner:\n  learnign_rate: 1\n", r"r.yaml:2: inner.learnign_rate: unknown key: did you mean 'learning_rate'\?"),
        ("rounds: 1\nrounds: 2\n", r"r.yaml:2: found duplicate key"),
        ("rounds: many\n", r"r.yaml:1: rounds: .*integer.*'many'"),
        ("items:\n  - name: a\n  - nam: b\n", r"r.yaml:3: items.1.nam: unknown key"),
        ("inner: 3\n", r"r.yaml:1: inner"),
        ("a: [1\n", r"r.yaml:2: not YAML"),
        ("- 1\n", r"expected a mapping"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_overrides_reach_into_sections_and_lists_and_name_themselves_when_wrong(tmp_path):
    text = "inner: {name: a}\nitems: [{name: b}]\n"
    found = build(tmp_path, text, ["inner.learning_rate=1e-5", "items.0.name=c", "rounds=3"])
    assert (found.inner.learning_rate, found.items[0].name, found.rounds) == (1e-5, "c", 3)
    with pytest.raises(ConfigError, match=r"override inner.learning_rte: unknown key"):
        build(tmp_path, text, ["inner.learning_rte=1"])
    for wrong in ("rounds", "items.4.name=x", "rounds.x=1"):
        with pytest.raises(ConfigError, match="override"):
            build(tmp_path, text, [wrong])


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_the_environment_is_read_only_where_a_value_is_used(monkeypatch):
    monkeypatch.setenv("ALIGN_X", "here")
    monkeypatch.delenv("ALIGN_Y", raising=False)
    assert expand("${ALIGN_X}/a") == "here/a"
    assert unset_variables({"a": ["${ALIGN_X}", "${ALIGN_Y}"]}) == {"ALIGN_Y"}
    with pytest.raises(ConfigError, match="ALIGN_Y is not set"):
        expand("${ALIGN_Y}")


def test_a_recipe_extends_another_and_every_line_is_named_by_its_own_file(tmp_path):
    (tmp_path / "base.yaml").write_text("inner: {learning_rate: 1e-3, name: base}\nrounds: 2\n")
    found = build(tmp_path, "extends: base.yaml\ninner: {name: own}\n", ["rounds=5"])
    assert (found.inner.learning_rate, found.inner.name, found.rounds) == (1e-3, "own", 5)
    (tmp_path / "base.yaml").write_text("\n\nronds: 2\n")
    with pytest.raises(ConfigError, match=r"base.yaml:3: ronds: unknown key"):
        build(tmp_path, "extends: base.yaml\n")
    (tmp_path / "base.yaml").write_text("extends: r.yaml\n")
    with pytest.raises(ConfigError, match=r"base.yaml:1: extends: 'r.yaml' extends this file in turn"):
        build(tmp_path, "extends: base.yaml\n")
    with pytest.raises(ConfigError, match=r"none.yaml cannot be read"):
        build(tmp_path, "extends: none.yaml\n")


def test_what_is_merged_into_a_section_is_named_by_the_line_where_it_stands(tmp_path):
    text = "inner: &one\n  name: a\nitems:\n  - <<: *one\n  - {<<: *one, name: b}\n"
    assert [item.name for item in build(tmp_path, text).items] == ["a", "b"]
    document = load(tmp_path / "r.yaml")
    assert document.where(("items", 0, "name")).endswith("r.yaml:2: items.0.name")
    assert document.where(("items", 1, "name")).endswith("r.yaml:5: items.1.name")
