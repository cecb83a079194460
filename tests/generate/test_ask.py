"""Requests to chat models."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from align.errors import ConfigError
from align.evolve import OPERATORS
from align.generate.ask import FIELDS as PURPOSES
from align.generate.ask import FOLDER, Prompts, derive_seed
from align.generate.request import Request, Sampling

PROBLEM = "Compare a < b & c > d.\n{{ braces }} {% tags %}  two spaces"
INTERFACE = {"entry_point": "f", "signature": "def f(a, b):"}
EVOLVE = {"problem": PROBLEM, "operator": "more_steps", "method": "Let it need one more step."}
FIELDS = {
    "interface": {"problem": PROBLEM},
    "solve": {"problem": PROBLEM, **INTERFACE},
    "evolve": EVOLVE,
    "evolve_wizardcoder": EVOLVE,
    "compare": {"problem": PROBLEM, "evolved": f"{PROBLEM}\nTwice."},
    "plan": {"problem": PROBLEM, **INTERFACE},
    "write_tests": {"problem": PROBLEM, "count": "17", **INTERFACE},
    **{
        purpose: {"problem": PROBLEM, "answers": "[1]\n[2]", "form": "1 or 2"}
        for purpose in PURPOSES
        if purpose.startswith("judge_")
    },
}
"""Purpose → fields; the heuristics are templates too, whose text is the `method` of others."""


def content(request: Request) -> str:
    assert isinstance(request.prompt, list)
    return request.prompt[0].content


def test_every_template_is_tested_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.jinja")} == {*FIELDS, *OPERATORS}


@pytest.mark.parametrize("purpose", FIELDS)
def test_every_field_appears_word_for_word_in_the_prompt(purpose: str) -> None:
    request = Prompts().ask(purpose, FIELDS[purpose], Sampling(), 0)
    assert request.fields == FIELDS[purpose]
    for value in FIELDS[purpose].values():
        assert value in content(request)


@pytest.mark.parametrize("purpose", ["solve", "plan", "write_tests"])
def test_the_entry_point_is_named_where_there_is_no_signature(purpose: str) -> None:
    fields = {**FIELDS[purpose], "entry_point": "only_name", "signature": ""}
    assert "only_name" in content(Prompts().ask(purpose, fields, Sampling(), 0))


@pytest.mark.parametrize("purpose", FIELDS)
def test_a_missing_field_is_a_fault_not_a_gap_in_the_text(purpose: str) -> None:
    with pytest.raises(UndefinedError):
        Prompts().ask(purpose, {}, Sampling(), 0)


def test_template_ids_differ() -> None:
    purposes = {*FIELDS, *OPERATORS}
    assert len({Prompts().id(purpose).partition("@")[2] for purpose in purposes}) == len(purposes)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_heuristic_is_a_file_that_may_be_ones_own_and_may_show_the_problem(operator: str, tmp_path: Path) -> None:
    assert Prompts().text(operator, {"problem": PROBLEM}).strip()
    (tmp_path / "own.jinja").write_text("Harder, please: {{ problem }}")
    own = Prompts({operator: tmp_path / "own.jinja"})
    assert own.text(operator, {"problem": PROBLEM}) == f"Harder, please: {PROBLEM}"
    assert own.id(operator) != Prompts().id(operator)


@pytest.mark.parametrize(
    ("purpose", "source", "message"),
    [
        ("evolve", "{{ problem }}\n{{ metod }}", r"own.jinja:2: evolve has no field 'metod': did you mean 'method'"),
        ("evolve", "{{ method }}", r"own.jinja:1: the template never shows \{\{ problem \}\}"),
        ("compare", "{{ problem }}{% if %}", r"own.jinja:1: not a Jinja template"),
        ("more_steps", "{{ method }}", r"own.jinja:1: more_steps has no field 'method'"),
        ("evolv", "{{ problem }}", r"there is no prompt 'evolv': did you mean 'evolve'"),
    ],
)
def test_a_template_that_cannot_be_filled_is_one_clear_line(
    purpose: str, source: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "own.jinja").write_text(source)
    with pytest.raises(ConfigError, match=message):
        Prompts({purpose: tmp_path / "own.jinja"})


def test_derived_seeds_differ_between_neighbours_and_fit_63_bits() -> None:
    seeds = {derive_seed("sample", seed, index) for seed in range(30) for index in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
