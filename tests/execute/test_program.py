"""Joining what a model wrote with its problem's tests; nothing runs here."""

from dataclasses import replace

import pytest

from align.execute import program_for
from align.schema import Limits, Message, Problem

PROMPT = 'def add(a, b):\n    """Add."""\n'
CHECK = Problem(prompt=PROMPT, entry_point="add", tests=["def check(f):\n    assert f(1, 2) == 3"], test_kind="check")
ASSERTS = Problem(prompt="Write add.", entry_point="add", tests=["assert add(1, 2) == 3", "assert add(0, 0) == 0"])


def test_a_completion_continues_the_prompt_and_a_solution_runs_after_it():
    assert program_for(CHECK, completion="    return a + b\n").source == f"{PROMPT}    return a + b\n"
    whole = program_for(CHECK, solution="def add(a, b): return a + b")
    assert (whole.prelude, whole.source) == (PROMPT, "def add(a, b): return a + b")


def test_a_prompt_that_no_program_can_begin_with_is_not_put_in_front():
    code = "def add(a, b): return a + b"
    assert program_for(ASSERTS, completion=code).source == code
    chat = Problem(prompt=[Message(role="user", content="Write add.")], tests=ASSERTS.tests)
    assert program_for(chat, completion=code).source == code


def test_either_a_completion_or_a_solution_is_needed():
    for answers in ({}, {"completion": "", "solution": ""}):
        with pytest.raises(TypeError, match="completion or solution"):
            program_for(CHECK, **answers)


def test_the_key_follows_what_is_run_and_not_the_limits():
    one = program_for(ASSERTS, solution="def add(a, b): return a + b")
    assert replace(one, limits=Limits(cpu_seconds=9)).key == one.key
    others = [replace(one, source="x"), replace(one, prelude="x")]
    changes = ({"tests": ("x",)}, {"setup": "x"}, {"entry_point": "x"}, {"exports": {}}, {"kind": "io"}, {"atol": 0.1})
    others += [replace(one, checks=replace(one.checks, **change)) for change in changes]
    assert len({one.key, *(other.key for other in others)}) == 1 + len(others)


def test_all_programs_of_a_problem_share_its_checks():
    again = Problem.model_validate(ASSERTS.model_dump())
    programs = [program_for(problem, solution=text) for problem in (ASSERTS, again) for text in ("a", "b")]
    assert len({id(program.checks) for program in programs}) == 1


@pytest.mark.parametrize(
    ("problem", "source", "profile"),
    [
        (ASSERTS, "import numpy as np", "numpy"),
        (ASSERTS, "mynumpyish = 1", "std"),
        (ASSERTS.model_copy(update={"tests": ["import numpy\nassert add(1, 2) == 3"]}), "", "numpy"),
        (CHECK, "", "std"),
    ],
)
def test_the_profile_has_numpy_where_the_word_occurs(problem, source, profile):
    assert program_for(problem, solution=source).profile == profile


def test_other_languages_say_so():
    assert program_for(Problem(prompt="", language="rust"), solution="").unsupported == "rust is not run"
