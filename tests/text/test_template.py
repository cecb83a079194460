"""Templates give final text, and each has an id that follows its text."""

import ast
import gzip
import json
from pathlib import Path

import pytest

from align.errors import ConfigError, DataError
from align.io import read
from align.schema import Message, Problem
from align.text.template import TEMPLATES, Template, completion_text, prompt_text, render

ADD = Problem(prompt="Add {two} numbers.")
HUMANEVAL = Problem(prompt='import math\n\n\ndef root(x: int):\n    """Root of x.\n\n    >>> root(4)\n    2\n    """\n')


def test_plain_text_ends_with_one_newline_and_braces_stay() -> None:
    assert render("plain", ADD) == "Add {two} numbers.\n"
    assert completion_text("plain", "return {1: 2}") == "return {1: 2}"


def test_raw_text_is_the_prompt_itself() -> None:
    assert render("raw", HUMANEVAL) == HUMANEVAL.prompt


def test_pangu_coder2_puts_the_prompt_in_quotes() -> None:
    assert render("pangu-coder2", ADD) == '"""\nAdd {two} numbers.\n"""\n'


def test_humaneval_moves_the_docstring_before_the_signature() -> None:
    assert render("humaneval", HUMANEVAL) == (
        '"""\nRoot of x.\n\n>>> root(4)\n2\n"""\nimport math\n\n\ndef root(x: int):\n'
    )


def test_bloomz_has_one_space_that_belongs_to_the_completion() -> None:
    assert render("bloomz", ADD) + completion_text("bloomz", "x = 1") == "Add {two} numbers. x = 1"


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"humaneval"}))
def test_every_template_holds_the_prompt_and_the_code_word_for_word(name: str) -> None:
    assert ADD.prompt in render(name, ADD)
    assert "def f(): pass" in completion_text(name, "def f(): pass")


def test_the_id_changes_with_the_text_alone() -> None:
    assert Template("a", "{prompt}").id == Template("a", "{prompt}").id
    assert Template("a", "{prompt}").id != Template("a", "{prompt}\n").id
    assert Template("a", "{prompt}", completion="{code}\n").id != Template("a", "{prompt}").id


def test_an_unknown_template_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'plain'"):
        render("plane", ADD)


def test_a_template_for_evaluation_refuses_completions() -> None:
    with pytest.raises(ConfigError, match="cannot train"):
        completion_text("humaneval", "return 1")


def test_humaneval_without_a_docstring_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="needs a prompt that ends with a docstring"):
        render("humaneval", ADD)


def test_one_user_turn_is_text_and_a_longer_chat_is_refused() -> None:
    user = Message(role="user", content="Add.")
    assert prompt_text(Problem(prompt=[user])) == "Add."
    with pytest.raises(DataError, match="chat of 2 turns"):
        render("plain", Problem(prompt=[Message(role="system", content="Be brief."), user]))


def test_every_humaneval_prompt_with_its_solution_still_parses_when_rearranged(shared: Path) -> None:
    path = shared / "data" / "eval" / "HumanEval.jsonl.gz"
    with gzip.open(path, "rt") as file:
        solutions = [json.loads(line)["canonical_solution"] for line in file]
    for problem, solution in zip(read(path, Problem), solutions, strict=True):
        ast.parse(render("humaneval", problem) + solution)


def test_mbpp_shows_the_first_assert_alone_and_nothing_where_there_is_none() -> None:
    asserts = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
    shown = Problem(prompt="Add two numbers.", tests=asserts)
    assert render("mbpp", shown) == '"""\nAdd two numbers.\nassert add(1, 2) == 3\n"""\n'
    assert render("mbpp", Problem(prompt="Add two numbers.")) == '"""\nAdd two numbers.\n"""\n'
    assert "candidate" not in render("mbpp", HUMANEVAL)
