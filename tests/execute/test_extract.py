"""Cutting code out of answers; nothing runs here."""

import gzip
import json

import pytest

from align.execute.extract import (
    BLOOMZ_STOPS,
    HUMANEVAL_STOPS,
    extract_code,
    truncate,
    without_main_guard,
)
from align.io import read
from align.schema import Problem

PROMPT = 'def add(a, b):\n    """Add."""\n'
BODY = "    return a + b"
WHOLE = "def add(a, b):\n    return a + b"


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


@pytest.mark.parametrize("fence", ["```python", "```", "~~~py", "````python3", "```python title='a'", "``` Python"])
def test_a_fence_that_is_never_closed_runs_to_the_end(fence):
    assert extract_code(f"Sure:\n{fence}\n{WHOLE}") == WHOLE


@pytest.mark.parametrize("indent", ["   ", "\t", "      "])
def test_a_fence_inside_a_list_loses_the_list_indentation_only(indent):
    block = "".join(f"{indent}{line}\n" for line in ["```python", *WHOLE.split("\n"), "```"])
    assert extract_code(f"1. so\n{block}") == WHOLE


def test_a_fence_shown_in_a_docstring_does_not_end_the_block():
    code = 'def f():\n    """Say so.\n\n    ```\n    f()\n    ```\n    """\n    return 1'
    assert extract_code(f"Sure:\n```python\n{code}\n```\nDone.") == code
    assert extract_code(code) == code


def test_a_transcript_gives_what_was_typed_and_only_where_there_is_no_program():
    shown = ">>> def f():\n...     return 1\n...\n>>> f()\n1\n"
    assert extract_code(fenced(shown)) == "def f():\n    return 1\n\nf()"
    assert extract_code(fenced("def f(): return 2\n", shown), policy="last") == "def f(): return 2"


def test_windows_line_ends_and_a_byte_order_mark_do_not_hide_the_block():
    text = fenced(f"{WHOLE}\n").replace("\n", "\r\n")
    assert extract_code(f"\ufeff{text}") == WHOLE
    assert extract_code(f"\ufeff{WHOLE}") == WHOLE


@pytest.mark.parametrize(
    "prose",
    [
        "Sorry, I cannot.",
        "Hello",
        "",
        "  \n",
        "The answer is simple: add them, then return the sum.",
        "return the sum of both numbers",
        "```python\n```",
        "<think>```python\ndef f(): pass\n```",
    ],
)
@pytest.mark.parametrize("prompt", [None, PROMPT])
def test_prose_holds_no_program(prose, prompt):
    assert extract_code(prose, prompt=prompt) is None


@pytest.mark.parametrize(
    "text",
    [
        "<think>```python\nwrong = 1\n```</think>\n```python\nright = 2\n```",
        "opened by the template```python\nwrong\n```</think>\nright = 2\n",
        "Let me see. <think>no</think>\n<think>\nwrong = 1\n</think>\n```\nright = 2\n```",
        "```python\nright = 2\n```\n<think>\n```python\nwrong = 1\n```",
    ],
)
def test_thinking_is_not_the_answer(text):
    assert extract_code(text) == "right = 2"


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return x",
        "import os",
        "f = lambda x: x",
        "def f(x:\n  no",
        "def f(x):\n\treturn x",
        "x = '<think>'\nprint(x)",
        'def f():\r\n    """```"""\r\n    return 1',
    ],
)
def test_code_without_fences_is_taken_as_it_is(code):
    assert extract_code(code) == code
    assert extract_code(f"\n\n{code}\n\n") == code


def test_prose_around_code_is_cut_where_the_rest_compiles():
    text = f"Here is the function you want:\n\n{WHOLE}\n\nIt adds the numbers.\nNote: it is fast."
    assert extract_code(text) == WHOLE
    assert extract_code(f"{BODY}\n\nThis adds both numbers.", prompt=PROMPT) == PROMPT + BODY
    broken = "Here is the function you want:\n\ndef add(a, b:\n    return a"
    assert extract_code(broken) == broken


def test_a_body_continues_the_prompt():
    assert extract_code(BODY, prompt=PROMPT) == PROMPT + BODY
    assert extract_code(f"```python\n{BODY}\n```", prompt=PROMPT, entry_point="add") == PROMPT + BODY


def test_an_answer_that_defines_the_entry_point_and_cannot_continue_the_prompt_is_whole():
    for text in (WHOLE, f" {WHOLE}", "  def add(a, b):\n      return a + b", f"{PROMPT}{BODY}"):
        code = extract_code(text, prompt=PROMPT, entry_point="add")
        assert code is not None
        assert code.startswith("def add")
        assert code.count("def add") == 1


def test_a_body_that_defines_the_entry_point_once_more_still_continues_the_prompt():
    nested = "    def add(a, b):\n        return a + b"
    assert extract_code(nested, prompt=PROMPT, entry_point="add") == PROMPT + nested


def test_only_a_first_line_that_lost_its_indentation_gets_it_back():
    text = "total = a\n    total += b\n    return total"
    assert extract_code(text, prompt=PROMPT) == f"{PROMPT}    {text}"
    assert extract_code("return a + b", prompt=PROMPT) == PROMPT + BODY
    assert extract_code(WHOLE, prompt=PROMPT) == WHOLE
    still_broken = "total = a\n      total += b\n  return total"
    assert extract_code(still_broken, prompt=PROMPT) == still_broken


def test_a_text_ends_before_the_first_stop_string():
    assert truncate("    return 1\n\nprint(f())\n#", HUMANEVAL_STOPS) == "    return 1\n"
    assert truncate("    return 1\n@cache", BLOOMZ_STOPS) == "    return 1"
    assert truncate("    return 1", HUMANEVAL_STOPS) == "    return 1"
    assert truncate("x", []) == "x"


@pytest.mark.parametrize("test", ["__name__ == '__main__'", '"__main__" == __name__', '(__name__ == "__main__")'])
def test_a_main_guard_is_cut_off_and_nothing_else(test):
    assert without_main_guard(f"{WHOLE}\n\nif {test}:\n    print(add(1, 2))\n") == f"{WHOLE}\n"
    for kept in (WHOLE, "if __name__ == 'x':\n    f()\n", "def f(:", f"if {test}:\n    f()\nelse:\n    g()\n"):
        assert without_main_guard(kept) == kept


@pytest.fixture(scope="module")
def completions():
    """Real completions, one in forty: (problem, completion)."""

    def load(shared):
        problems = {one.meta["task_id"]: one for one in read(shared / "data/eval/HumanEval.jsonl.gz", Problem)}
        with gzip.open(shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz", "rt") as file:
            rows = [json.loads(line) for index, line in enumerate(file) if index % 40 == 0]
        return [(problems[row["task_id"]], row["completion"]) for row in rows]

    return load


def test_real_completions_that_compile_are_the_same_text_behind_their_prompt(shared, completions):
    checked = 0
    for problem, completion in completions(shared):
        if completion.startswith("    ") and compiles(problem.prompt + completion):
            got = extract_code(completion, prompt=problem.prompt, entry_point=problem.entry_point)
            assert got == problem.prompt + completion.rstrip()
            checked += 1
    assert checked > 300


CHATS = {
    "a body in a fence": lambda prompt, body: f"Sure, here it is:\n\n```python\n{body}\n```\nHope it helps!",
    "thinking before": lambda prompt, body: (
        f"<think>\n```python\nx\n```\n</think>So:\n\n~~~py\n{prompt}{body}\n~~~\nBye."
    ),
    "prose around": lambda prompt, body: f"Here is what you need.\n\n{prompt}{body}\n\nThis function does it all.",
    "prose after a body": lambda prompt, body: f"{body}\n\nThis function does what you asked for.",
    "a fence in a list": lambda prompt, body: (
        "1. So\n   ```python\n" + "".join(f"   {line}\n" for line in (prompt + body).split("\n")) + "   ```\n"
    ),
    "windows line ends": lambda prompt, body: f"So\n```python\n{prompt}{body}\n```\n".replace("\n", "\r\n"),
    "no end": lambda prompt, body: f"Sure:\n```python\n{prompt}{body}",
}


@pytest.mark.parametrize("chat", CHATS)
def test_a_real_completion_is_recovered_from_a_chat_around_it(shared, completions, chat):
    checked = 0
    for problem, completion in completions(shared)[::2]:
        prompt, body = problem.prompt.lstrip("\n"), completion.rstrip()
        if body.startswith("    ") and "return" in body and compiles(prompt + body):
            got = extract_code(CHATS[chat](prompt, body), prompt=prompt, entry_point=problem.entry_point)
            assert got == prompt + body
            checked += 1
    assert checked > 100


def test_real_generated_tests_end_before_a_stop_string(shared):
    with gzip.open(shared / "data/ranked/codegen16b_humaneval_tests.jsonl.gz", "rt") as file:
        samples = [text for line in file for text in json.loads(line)["samples"][:5]]
    cut = [truncate(text, HUMANEVAL_STOPS) for text in samples]
    assert all(text.startswith(short) for text, short in zip(samples, cut, strict=True))
    assert not any(stop in short for stop in HUMANEVAL_STOPS for short in cut)


def compiles(source):
    try:
        compile(source, "<test>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True
