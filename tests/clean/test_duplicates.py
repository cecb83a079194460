"""Exact duplicates."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from align.clean.chain import Chain
from align.clean.checks import Rules
from align.clean.duplicates import Compared, first_of_equal
from align.schema import Message, Problem, Rejected


def split(problems: list[Problem], compare: Compared = "prompt") -> tuple[list[Problem], list[Rejected]]:
    """What a cleaning keeps and drops that looks for duplicates alone."""
    with TemporaryDirectory() as folder:
        found = list(Chain(Rules(compare=compare), Path(folder), workers=1).run(problems))
    kept = [problem for problem, one in zip(problems, found, strict=True) if one.fault is None]
    return kept, [Rejected.model_validate(json.loads(one.rejected)) for one in found if one.fault]


def test_the_first_of_equal_texts_is_kept_in_order() -> None:
    problems = [Problem(prompt=text) for text in ("Sum a list.", "Sort it.", "sum  A LIST", "Sum two lists.")]
    kept, rejected = split(problems)
    assert kept == [problems[0], problems[1], problems[3]]
    assert [(entry.reason, entry.detail) for entry in rejected] == [("duplicate", f"of {problems[0].id}")]
    assert rejected[0].record["prompt"] == "sum  A LIST"


def test_a_chat_repeats_the_same_text() -> None:
    problems = [Problem(prompt="Sum."), Problem(prompt=[Message(role="user", content="sum")])]
    assert len(split(problems)[0]) == 1


def test_operators_and_languages_tell_problems_apart() -> None:
    problems = [Problem(prompt="Return a + b."), Problem(prompt="Return a - b."), Problem(prompt="Return a != b")]
    problems += [Problem(prompt="Return a = b"), Problem(prompt="Return a + b.", language="go")]
    assert split(problems)[0] == problems


def test_a_text_of_signs_alone_is_compared_too() -> None:
    assert len(split([Problem(prompt="?"), Problem(prompt="!"), Problem(prompt=" ? ")])[0]) == 2


def test_references_are_compared_where_that_is_asked() -> None:
    def problem(prompt: str, reference: str | None) -> Problem:
        return Problem(prompt=prompt, reference=reference)

    problems = [problem("Add.", "a+b"), problem("Plus.", "a + b"), problem("Add!", "a +  b"), problem("Add", None)]
    problems.append(problem("Add", None))
    assert len(split(problems)[0]) == 2
    # without a reference there is nothing to compare
    assert split(problems, "reference")[0] == [problems[0], *problems[3:]]
    assert split(problems, "both")[0] == [*problems[:2], *problems[3:]]


def test_half_a_surrogate_pair_is_compared() -> None:
    problems = [Problem(prompt=f"a {half} b") for half in ("\ud800", "c", "\ud800")]
    assert split(problems)[0] == problems[:2]


def test_the_first_of_equal_keys_is_found_as_a_table_would() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 12, (500, 2)).astype(np.uint64)
    first: dict[tuple[int, ...], int] = {}
    expected = [first.setdefault(tuple(key), row) for row, key in enumerate(keys.tolist())]
    assert first_of_equal(keys).tolist() == expected
    assert first_of_equal(keys[:0]).tolist() == []
