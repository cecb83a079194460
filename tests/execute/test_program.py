"""Cutting code out of answers, and joining it with tests; nothing runs here."""

from dataclasses import replace

import pytest

from align.execute import extract_code, program_for
from align.schema import Limits, Message, Problem

PROMPT = 'def add(a, b):\n    """Add."""\n'
CHECK = Problem(prompt=PROMPT, entry_point="add", tests=["def check(f):\n    assert f(1, 2) == 3"], test_kind="check")
ASSERTS = Problem(prompt="Write add.", entry_point="add", tests=["assert add(1, 2) == 3", "assert add(0, 0) == 0"])


def fenced(*blocks, tag="python"):
    return "Here it is.\n" + "\nand\n".join(f"```{tag}\n{block}```" for block in blocks) + "\nDone."


def test_the_block_that_defines_the_entry_point_is_taken():
    text = fenced("def f():\n    return 1\n", "print(f())\n")
    assert extract_code(text, entry_point="f") == "def f():\n    return 1"


def test_of_two_blocks_that_define_it_the_later_is_taken():
    assert extract_code(fenced("def f(): pass\n", "def f(): return 2\n"), entry_point="f") == "def f(): return 2"


@pytest.mark.parametrize(("policy", "index"), [("first", 0), ("last", 2), ("longest", 1), ("entry_point", 2)])
def test_a_policy_chooses_the_block(policy, index):
    blocks = ["a = 1\n", "bb = 2222\n", "c = 3\n"]
    assert extract_code(fenced(*blocks), policy=policy) == blocks[index].rstrip()


def test_output_shown_in_another_language_is_not_the_program():
    text = fenced("def f(): return 1\n") + "\n```text\n1\n```\n```bash\npython f.py\n```"
    assert extract_code(text) == "def f(): return 1"


def test_a_fence_that_is_never_closed_runs_to_the_end():
    assert extract_code("```python\ndef f():\n    return 1") == "def f():\n    return 1"


def test_a_fence_inside_a_list_loses_the_list_indentation_only():
    assert extract_code("1. so\n   ```python\n   def f():\n       return 1\n   ```") == "def f():\n    return 1"


@pytest.mark.parametrize(
    "prose",
    [
        "Sorry, I cannot.",
        "Hello",
        "",
        "  \n",
        "The answer is simple: add them, then return the sum.",
        "```python\n```",
        "<think>```python\ndef f(): pass\n```",
    ],
)
def test_prose_holds_no_program(prose):
    assert extract_code(prose) is None


def test_thinking_is_not_the_answer():
    text = "<think>```python\nwrong = 1\n```</think>\n```python\nright = 2\n```"
    assert extract_code(text) == "right = 2"
    assert extract_code("opened by the template```python\nwrong\n```</think>\nright = 2\n") == "right = 2"


@pytest.mark.parametrize("code", ["def f(x):\n    return x", "import os", "f = lambda x: x", "def f(x:\n  no"])
def test_code_without_fences_is_taken_as_it_is(code):
    assert extract_code(code) == code
    assert extract_code(f"\n\n{code}\n\n") == code


def test_a_body_continues_the_prompt():
    body = "    return a + b"
    assert extract_code(body, prompt=PROMPT) == PROMPT + body
    assert extract_code(f"```python\n{body}\n```", prompt=PROMPT, entry_point="add") == PROMPT + body


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
    for change in ({"source": "x"}, {"tests": "x"}, {"prelude": "x"}, {"setup": "x"}, {"entry_point": "x"}):
        assert replace(one, **change).key != one.key


@pytest.mark.parametrize("kind", ["calls", "io", "unittest"])
def test_kinds_that_are_not_run_say_so(kind):
    problem = Problem(prompt="", tests=["x"], test_kind=kind)
    assert program_for(problem, solution="").unsupported == f"test_kind {kind} is not run yet"


def test_other_languages_say_so():
    assert program_for(Problem(prompt="", language="rust"), solution="").unsupported == "rust is not run"
