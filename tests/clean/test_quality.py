"""Quality rules: each with what it drops and what it leaves."""

from typing import Any

import pytest

from align.clean.quality import Quality, parsed
from align.schema import Problem

GOOD = 'def add(a, b):\n    """Add."""\n    # both are numbers\n    return a + b\n'
ABSTRACT = "from abc import abstractmethod\nclass A:\n    @abstractmethod\n    def f(self):\n        ...\n"


def fault(reference: str | None, language: str = "python", entry_point: str | None = None, **rules: Any) -> str | None:
    problem = Problem(prompt="Add two numbers.", reference=reference, language=language, entry_point=entry_point)
    found = Quality(**rules).fault(problem)
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("rules", "bad", "reason"),
    [
        ({"has_reference": True}, None, "no_reference"),
        ({"has_reference": True}, "  \n", "no_reference"),
        ({"parses": True}, "def add(a, b:\n    pass", "does_not_parse"),
        ({"parses": True}, "x = '\x00'", "does_not_parse"),
        ({"parses": True}, "x = '\ud800'", "does_not_parse"),
        ({"parses": True}, "(" * 100_000, "does_not_parse"),
        ({"parses": True}, "-" * 100_000 + "1", "does_not_parse"),
        ({"has_function": True}, "print(1)", "no_function"),
        ({"no_placeholder": True}, "def f():\n    pass", "placeholder"),
        ({"no_placeholder": True}, 'def f():\n    """Doc."""\n    ...', "placeholder"),
        ({"no_placeholder": True}, "class A:\n    def f(self):\n        raise NotImplementedError()", "placeholder"),
        ({"no_placeholder": True}, "def f():\n    # your code here\n    return 1", "placeholder"),
        ({"no_placeholder": True}, "if x:\n    def f():\n        pass", "placeholder"),
        ({"no_placeholder": True}, "def f(): return 1  # TODO: more", "placeholder"),
        ({"min_lines": 2}, "x = 1\n\n\n", "few_lines"),
        ({"max_lines": 2}, "x = 1\n" * 3, "many_lines"),
        ({"max_line_length": 20}, "x = '" + "a" * 30 + "'", "many_line_length"),
        ({"max_mean_line_length": 10.0}, "x = '" + "a" * 30 + "'", "high_mean_line_length"),
        ({"min_alphanumeric": 0.25}, "[[[[[[[(1)]]]]]]]", "low_alphanumeric"),
        ({"min_comments": 0.01}, "x = 1", "low_comments"),
        ({"max_comments": 0.5}, "# long and longer\nx = 1", "high_comments"),
        ({"max_comments": 0.5}, '"""A long docstring that says it all."""\nx = 1', "high_comments"),
    ],
)
def test_a_rule_drops_what_breaks_it(rules: dict[str, Any], bad: str | None, reason: str) -> None:
    assert fault(bad, **rules) == reason
    assert fault(bad) is None


def test_a_good_program_passes_all_rules() -> None:
    rules = {"parses": True, "has_function": True, "no_placeholder": True, "min_lines": 2, "max_lines": 50}
    bounds = {"max_line_length": 1000, "max_mean_line_length": 100.0, "min_alphanumeric": 0.25}
    assert fault(GOOD, **rules, **bounds, min_comments=0.01, max_comments=0.8, has_reference=True) is None


def test_what_is_meant_to_be_empty_is_no_placeholder() -> None:
    assert fault(ABSTRACT, no_placeholder=True) is None
    assert fault("try:\n    f = 1\nexcept ValueError:\n    pass\n", no_placeholder=True) is None
    assert fault("text = 'TODO list'\ndef f(): return text", no_placeholder=True) is None


def test_what_is_nested_too_deep_to_be_written_is_no_placeholder() -> None:
    deep = "-" * 900 + "x"
    assert fault(f"def f():\n    raise {deep}", no_placeholder=True) is None
    assert fault(f"@{deep}\ndef f():\n    pass", no_placeholder=True) == "placeholder"


def test_the_comments_before_the_end_of_a_program_that_is_cut_off_count() -> None:
    assert fault("# TODO: more\nx = (1,\n", no_placeholder=True) == "placeholder"
    assert fault("# a long comment\nx = '''", max_comments=0.5) == "high_comments"


def test_the_entry_point_must_be_defined() -> None:
    assert fault(GOOD, has_function=True, entry_point="add") is None
    assert fault(GOOD, has_function=True, entry_point="sub") == "no_function"


def test_other_languages_are_not_parsed_but_bounded() -> None:
    code = "int add(int a, int b) { // TODO\n return a + b; }"
    assert fault(code, "cpp", parses=True, has_function=True) is None
    assert fault(code, "cpp", no_placeholder=True) == "placeholder"
    assert fault(code, "cpp", max_lines=1) == "many_lines"


def test_words_of_the_prompt_are_bounded() -> None:
    assert fault(None, min_words=3) is None
    assert fault(None, min_words=4) == "few_words"
    assert fault(None, max_words=2) == "many_words"


def test_a_huge_program_is_not_parsed() -> None:
    assert parsed("x = 1\n" * 300_000) == "1800000 characters"
