"""Each rule of elimination, and what passes all of them."""

import time
from collections.abc import Iterable
from typing import Any

import pytest

from align.evolve import OPERATORS, Rules
from align.evolve.eliminate import Case, ended_badly, find_fault
from align.evolve.known import Known
from align.generate.ask import Prompts
from align.generate.request import Reply
from align.schema import Finish

PARENT = "Write a function that returns the sum of a list of numbers."
INSTRUCTIONS = Prompts().text(
    "evolve", {"problem": "", "operator": "more_steps", "method": Prompts().text("more_steps", {})}
)
HARDER = "Write a function that returns the sum of the even numbers of a list; ignore values below 0."


def reason(
    text: str,
    *,
    parent: str = PARENT,
    finish: Finish = "stop",
    known: Iterable[str] = (),
    operator: str = "more_steps",
    **rules: Any,
) -> str | None:
    case = Case(text.strip(), parent, INSTRUCTIONS, operator)
    fault = find_fault(Reply(text=text, finish=finish), case, Known([parent, *known]), Rules(**rules))
    return fault and fault.reason


def test_a_harder_problem_passes() -> None:
    assert reason(HARDER) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't rewrite this.",
        "As an AI language model, I have no view.",
        "Unfortunately, I cannot help with that request.",
        "I'm afraid I am unable to change this problem.",
        "My apologies, this function cannot be made harder.",
        "申し訳ありませんが、この関数の問題を書き換えることはできません。",
        "抱歉，我无法改写这个函数的问题。",
        "对不起，我不能完成这个请求。",
        "Es tut mir leid, aber ich kann diese Funktion nicht ändern.",
        "Je suis désolé, mais je ne peux pas modifier cette fonction.",
        "Lo siento, no puedo reescribir esta función.",
        "К сожалению, я не могу изменить эту функцию.",
        "죄송합니다. 이 함수 문제를 바꿀 수 없습니다.",
    ],
)
def test_a_refusal_is_told_in_many_languages(text: str) -> None:
    assert reason(text) == "refusal"


@pytest.mark.parametrize("text", ["", "...!?", "the of and to it", "はい。", "承知しました。", "OK!", "好的。"])
def test_an_answer_that_says_nothing_is_empty(text: str) -> None:
    assert reason(text) == "empty"


@pytest.mark.parametrize(
    "text",
    [
        "**New Problem:** Write a function that sums primes.",
        "#Rewritten Prompt#: write a function that sums primes.",
        "Write a function that sums primes. It keeps the name and the parameters of the function, and all tables.",
        "If the problem can be answered in very few logical steps, let it need one more step. Write a function.",
    ],
)
def test_wording_of_the_prompt_is_a_leak(text: str) -> None:
    assert reason(text) == "copies_prompt"


def test_a_prompt_in_another_language_leaks_too() -> None:
    told = "次の問題をもっと難しくしてください。入力または結果に条件を一つ加えること。"
    parent = "整数のリストの合計を返す関数を書いてください。"
    text = f"入力または結果に条件を一つ加えること。{parent}偶数だけを合計します。"
    fault = find_fault(Reply(text=text), Case(text, parent, told), Known([parent]))
    assert fault
    assert fault.reason == "copies_prompt"


def test_wording_that_the_parent_had_before_is_not_copied() -> None:
    parent = "Write a function that puts 'new problem:' before each of the lines."
    assert reason(f"{parent} Skip empty lines.", parent=parent) is None


def test_a_long_problem_may_mention_being_sorry() -> None:
    assert (
        reason("Write a function that says sorry for bad input. " + "Count the words of a line. " * 16, max_growth=None)
        is None
    )
    assert (
        reason("Write a function that returns the text 'sorry' where a list of numbers is empty, else its sum") is None
    )


def test_a_cut_off_text_is_no_problem() -> None:
    assert reason("Write a function that returns the sum of the", finish="length") == "cut_off"


def test_no_answer_says_why_there_is_none() -> None:
    fault = ended_badly(Reply(text="", finish="error", error="content filter"))
    assert fault
    assert (fault.reason, fault.detail) == ("no_answer", "content filter")


@pytest.mark.parametrize("text", [f"{HARDER}\0", f"{HARDER} \ud800"])
def test_what_is_no_text_is_refused(text: str) -> None:
    assert reason(text) == "not_text"


def test_a_text_over_the_limits_is_too_long() -> None:
    assert reason(HARDER, max_words=17) == "too_long"
    assert reason(HARDER, max_words=18) is None
    longer = HARDER + " It skips what is no number and counts what is left over." * 4
    assert reason(longer) == "too_long"
    assert reason(longer, max_growth=None) is None


def test_a_text_without_spaces_has_a_length() -> None:
    parent = "整数のリストの合計を返す関数を書いてください。"
    assert reason(parent + "ただし、負の数は無視してください。", parent=parent) is None
    assert reason(parent + "ただし、負の数は無視してください。" * 20, parent=parent) == "too_long"


@pytest.mark.parametrize(
    "text",
    [
        "sum the list of numbers " * 20_000,
        "(" * 1_000_000,
        f"Sum the list.{chr(10) * 100_000}Skip odd numbers.",
        f"Sum the list.{' ' * 100_000}Skip odd numbers.",
        f"Sum the list. {'*' * 100_000} Skip odd numbers.",
        f"Sum the list. {'a' * 100_000} Skip odd numbers.",
        f"Sum the list. {'write a ' * 20_000}",
        f"Sum the list. {'public a ' * 20_000}",
        f"Sum the list. {'`' * 50_000} Skip {'```' * 20_000} odd numbers.",
        f"Sum the list. {chr(39) * 50_000}",
    ],
)
def test_huge_answers_are_judged_in_time(text: str) -> None:
    started = time.process_time()
    reason(text)
    reason(text, task="any", max_growth=None)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write a function that returns\nthe SUM of a list of numbers", "unchanged"),
        ("Please create a Python function which returns the sum of the list of numbers.", "near_duplicate"),
        ("Write a function that, of a list of numbers, returns the sum.", None),
        ("Write a function that returns the sum of a list of 3 numbers.", None),
        ("Write a function that returns the product of a list of numbers.", None),
    ],
)
def test_the_parent_in_other_words_is_the_parent(text: str, expected: str | None) -> None:
    assert reason(text) == expected


def test_signs_numbers_and_letters_make_another_problem() -> None:
    parent = "Write a function f(s) that counts how often 'a' is in s where n < 3."
    for old, new in (("'a'", "'i'"), ("<", ">="), ("3", "4")):
        assert reason(parent.replace(old, new), parent=parent, near_duplicate=0.0) is None


def test_a_known_text_is_a_duplicate() -> None:
    assert reason("Sum the primes of a list!", known=["sum the primes of a list"]) == "duplicate"


@pytest.mark.parametrize(
    "text",
    [
        "Write a function that sums a list.\n\n```python\ndef total(xs):\n    return sum(xs)\n```",
        "Write a function that sums a list.\n\nSolution:\nuse the built-in sum.",
        "def total(xs):\n    '''Sum the list.'''\n    return sum(xs)",
    ],
)
def test_an_answer_is_no_problem(text: str) -> None:
    assert reason(text) == "solution"


def test_code_that_belongs_to_the_problem_is_no_answer() -> None:
    faulty = "Write a function that sums a list. This is wrong:\n```python\ndef total(xs):\n    return max(xs)\n```"
    assert reason(faulty, operator="misleading_code") is None
    assert reason(f"{faulty} Skip odd numbers.", parent=faulty) is None
    stub = "def double(x):\n    return 2 * x\n\ndef total(xs):\n    '''Sum the doubles of the list.'''"
    assert reason(stub) is None


@pytest.mark.parametrize(
    "text",
    [
        "Write a Java function that returns the sum of the even numbers of a list.",
        "Write a function in C++ that returns the sum of the even numbers of a list.",
        "In Rust, write a function that returns the sum of the even numbers of a list.",
        "Sum the even numbers of this list:\n```js\nconst total = (xs) => 0\n```",
        "整数のリストの偶数だけの合計を返す関数を書いてください。",
        "Schreibe eine Funktion, die die Summe der geraden Zahlen in einer Liste und nicht der ungeraden liefert.",
    ],
)
def test_another_language_is_another_task(text: str) -> None:
    assert reason(text) == "changes_language"


def test_words_that_are_also_languages_demand_none() -> None:
    assert reason("Write a function that returns the swift and rust coloured names in a list, to go with C.") is None
    assert reason("Translate this Java function into a Python function that sums a list of even numbers.") is None


@pytest.mark.parametrize(
    "text",
    [
        "Write a program that reads numbers from standard input and shows the sum of the list.",
        "Create a GUI with a button that sums a list of numbers.",
        "Build a web application that returns the sum of a list of numbers.",
        "Design a class hierarchy for lists of numbers with a method that sums them.",
        "Write a SQL query that sums a list of numbers.",
        "Explain why the sum of numbers is useful.",
        "What a wonderful day for a walk in the park.",
    ],
)
def test_what_one_function_does_not_solve_is_refused_unless_anything_goes(text: str) -> None:
    assert reason(text) == ("changes_language" if "SQL" in text else "not_a_function")
    if "SQL" not in text:
        assert reason(text, task="any") is None


def test_every_heuristic_is_told_from_its_own_wording() -> None:
    for operator in OPERATORS:
        method = Prompts().text(operator, {})
        case = Case(f"{method} Write a function.", PARENT, method, operator)
        fault = find_fault(Reply(text=case.text), case, Known([PARENT]))
        assert fault
        assert fault.reason == "copies_prompt"
