"""Requests to chat models."""

import pytest
from jinja2 import UndefinedError

from align.evolve import OPERATORS
from align.generate.ask import FOLDER, ask, derive_seed, template_id
from align.generate.request import Request, Sampling

PROBLEM = "Compare a < b & c > d.\n{{ braces }} {% tags %}  two spaces"
FIELDS = {
    "solve": {"problem": PROBLEM, "entry_point": "f", "signature": "def f(a, b):"},
    "evolve": {"problem": PROBLEM, "operator": "more_steps", "method": OPERATORS["more_steps"]},
    "write_tests": {"problem": PROBLEM, "count": "17", "entry_point": "f", "signature": "def f(a, b):"},
}


def content(request: Request) -> str:
    assert isinstance(request.prompt, list)
    return request.prompt[0].content


def test_every_template_is_tested_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(FIELDS)


@pytest.mark.parametrize("purpose", FIELDS)
def test_every_field_appears_word_for_word_in_the_prompt(purpose: str) -> None:
    request = ask(purpose, FIELDS[purpose], Sampling(), 0)
    assert request.fields == FIELDS[purpose]
    for value in FIELDS[purpose].values():
        assert value in content(request)


@pytest.mark.parametrize("purpose", ["solve", "write_tests"])
def test_the_entry_point_is_named_where_there_is_no_signature(purpose: str) -> None:
    fields = {**FIELDS[purpose], "entry_point": "only_name", "signature": ""}
    assert "only_name" in content(ask(purpose, fields, Sampling(), 0))


@pytest.mark.parametrize("purpose", FIELDS)
def test_a_missing_field_is_a_fault_not_a_gap_in_the_text(purpose: str) -> None:
    with pytest.raises(UndefinedError):
        ask(purpose, {}, Sampling(), 0)


def test_template_ids_differ() -> None:
    assert len({template_id(purpose) for purpose in FIELDS}) == len(FIELDS)


def test_derived_seeds_differ_between_neighbours_and_fit_63_bits() -> None:
    seeds = {derive_seed("sample", seed, index) for seed in range(30) for index in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
