"""Foreign row forms, translated to our records: the files people already have are read as they are.

Problems: HumanEval, MBPP, CodeAlpaca, `messages`, and those of `align.forms_code`. Groups: RRHF, UltraFeedback. Rows
of ours pass through.
"""

import ast
import builtins
import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import DataError
from .forms_code import evalplus, exercism, input_output, livecodebench, quixbugs
from .schema import PreferencePair, Problem, RankedGroup, Record, SftRow, content_id

Row = dict[str, Any]


def adapt(kind: type[Record], row: Row) -> Row:
    """The row in the form that `kind` validates.

    Raises:
        DataError: the row has none of the forms known for `kind`.
    """
    for form in FORMS.get(kind, ()):
        if form.columns.keys() <= row.keys():
            form.check(row)
            return form.translate(row)
    return row


@dataclass(frozen=True)
class Form:
    """One form of rows, known by its columns."""

    translate: Callable[[Row], Row]
    columns: dict[str, str]
    """Column that tells the form → what it holds."""
    others: dict[str, str] = field(default_factory=dict)
    """The same for columns that may be absent or null."""

    def check(self, row: Row) -> None:
        """Refuse a column that holds something else: the translation relies on it."""
        present = {name: held for name, held in self.others.items() if row.get(name) is not None}
        for name, held in (self.columns | present).items():
            if not HOLDS[held](row[name]):
                raise DataError(f"{name}: must be {held}, found {repr(row[name])[:60]}")


HOLDS: dict[str, Callable[[Any], bool]] = {
    "anything": lambda value: True,
    "text": lambda value: isinstance(value, str),
    "a list of texts": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "a list of numbers": lambda value: isinstance(value, list) and all(isinstance(item, int | float) for item in value),
    "a number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "an object": lambda value: isinstance(value, dict),
    "a list of lists": lambda value: isinstance(value, list) and all(isinstance(item, list) for item in value),
    "a list of objects": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
}
"""What a column may hold → whether a value is that."""


def _humaneval(row: Row) -> Row:
    prompt = row["prompt"]
    solution = row.get("canonical_solution")
    return {
        "prompt": prompt,
        "entry_point": row["entry_point"],
        "tests": [row["test"]],
        "test_kind": "check",
        "reference": None if solution is None else prompt + solution,
        "source": "humaneval",
        "meta": {"task_id": row["task_id"]},
    }


def _mbpp(row: Row) -> Row:
    imports = row.get("test_imports") or []
    return {
        "prompt": row.get("text") or row.get("prompt") or "",
        "entry_point": called_function(row["test_list"]),
        "tests": list(row["test_list"]),
        "test_kind": "asserts",
        "test_imports": list(imports),
        "test_setup": row.get("test_setup_code") or None,
        "reference": row["code"],
        "source": "mbpp",
        "meta": {"task_id": row["task_id"]},
    }


def _alpaca(row: Row) -> Row:
    text = row["instruction"] + (f"\n\n{row['input']}" if row.get("input") else "")
    return _own_columns(row, {"prompt": text}, {"instruction", "input", "output"}, "alpaca")


def _messages(row: Row) -> Row:
    turns = list(row["messages"])
    while turns and turns[-1].get("role") == "assistant":
        turns.pop()
    if not turns:
        raise DataError("messages: no user turn to answer")
    return _own_columns(row, {"prompt": turns}, {"messages"}, "messages")


def _problem(row: Row) -> Row:
    """A row with a prompt: our own form, or somebody's with further columns, which move to `meta`."""
    return _own_columns(row, {}, set(), "")


def _own_columns(row: Row, fields: Row, used: set[str], source: str) -> Row:
    known = Problem.model_fields
    ours = {key: value for key, value in row.items() if key in known and key not in used and value is not None}
    rest = {key: value for key, value in row.items() if key not in known and key not in used}
    for key in rest:
        if close := difflib.get_close_matches(key, known, n=1, cutoff=0.85):
            raise DataError(f"{key}: unknown field, did you mean {close[0]!r}? (map it with `columns:`)")
    translated = {"source": source, **ours, **fields}
    if rest:
        translated["meta"] = {**rest, **(translated.get("meta") or {})}
    return translated


def _rrhf(row: Row) -> Row:
    k = len(row["responses"])
    return _group(row["query"], row["responses"], row["scores"], ["student"] * k, [""] * k)


def _ultrafeedback(row: Row) -> Row:
    answers = [answer for answer in row["completions"] if isinstance(answer.get("overall_score"), int | float)]
    if not answers:
        raise DataError("completions: none has a number as its overall_score")
    if not all(isinstance(answer.get("response"), str) for answer in answers):
        raise DataError("completions: one has no text as its response")
    return _group(
        row["instruction"],
        [answer["response"] for answer in answers],
        [answer["overall_score"] for answer in answers],
        ["student"] * len(answers),
        [str(answer.get("model", "")) for answer in answers],
    )


def _group(prompt: str, responses: list[str], scores: list[float], roles: list[str], models: list[str]) -> Row:
    return {
        "problem_id": content_id(prompt),
        "prompt": prompt,
        "responses": list(responses),
        "scores": [float(score) for score in scores],
        "roles": roles,
        "models": models,
    }


def _pair(row: Row) -> Row:
    if not all(isinstance(row[name], str) for name in ("prompt", "chosen", "rejected")):
        raise DataError("prompt, chosen and rejected must be final text, not messages: render them first")
    kept = {key: value for key, value in row.items() if key in PreferencePair.model_fields}
    return {"problem_id": content_id(row["prompt"]), **kept}


def _sft(row: Row) -> Row:
    return {"prompt": row["prompt"], "completion": row["completion"]}


def called_function(tests: list[str]) -> str | None:
    """The name of the first function that the asserts call by name and that is no builtin."""
    for test in tests:
        try:
            tree = ast.parse(test.strip())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not hasattr(builtins, node.func.id):
                return node.func.id
    return None


FORMS: dict[type[Record], list[Form]] = {
    Problem: [
        Form(
            evalplus,
            {
                "task_id": "anything",
                "prompt": "text",
                "entry_point": "text",
                "canonical_solution": "text",
                "base_input": "a list of lists",
            },
            {"plus_input": "a list of lists", "atol": "a number"},
        ),
        Form(input_output, {"input_output": "anything"}, {"starter_code": "text"}),
        Form(livecodebench, {"question_content": "text", "public_test_cases": "anything"}),
        Form(
            exercism,
            {"module": "text", "test": "text", "example": "text", "stub": "text", "instructions": "text"},
            {"instructions_append": "text"},
        ),
        Form(quixbugs, {"name": "text", "buggy": "text", "correct": "text", "json_testcases": "text"}),
        Form(
            _humaneval,
            {"task_id": "anything", "prompt": "text", "entry_point": "text", "test": "text"},
            {"canonical_solution": "text"},
        ),
        Form(
            _mbpp,
            {"task_id": "anything", "code": "text", "test_list": "a list of texts"},
            {"text": "text", "prompt": "text", "test_imports": "a list of texts", "test_setup_code": "text"},
        ),
        Form(_problem, {"prompt": "anything"}, {"meta": "an object"}),
        Form(_alpaca, {"instruction": "text"}, {"input": "text", "meta": "an object"}),
        Form(_messages, {"messages": "a list of objects"}, {"meta": "an object"}),
    ],
    RankedGroup: [
        Form(_rrhf, {"query": "text", "responses": "a list of texts", "scores": "a list of numbers"}),
        Form(_ultrafeedback, {"instruction": "text", "completions": "a list of objects"}),
    ],
    PreferencePair: [Form(_pair, {"prompt": "anything", "chosen": "anything", "rejected": "anything"})],
    SftRow: [Form(_sft, {"prompt": "anything", "completion": "anything"})],
}
