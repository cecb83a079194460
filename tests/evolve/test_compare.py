"""The judge's word is read strictly."""

import pytest

from align.evolve.compare import judged, read_verdict, request_comparison
from align.generate.ask import Prompts
from align.generate.request import Reply, Sampling


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Equal", "equal"),
        ("different.", "different"),
        ("**Different**", "different"),
        ("Not Equal", "different"),
        ("They differ in their limits.\n\nVerdict: different", "different"),
        ("Your Judgement: Equal", "equal"),
        ("They are equal in depth, so I would say so", None),
        ("Equal or different", None),
        ("Equal\nDifferent", None),
        ("Equal\nbut not quite", None),
        ("", None),
        ("\ud800", None),
    ],
)
def test_a_verdict_is_one_word_on_a_line_of_its_own(text: str, verdict: str | None) -> None:
    assert read_verdict(text) == verdict


def test_what_is_no_verdict_is_kept_apart() -> None:
    for reply in (Reply(text="Maybe."), Reply(text="Equal", finish="length"), Reply(text="", finish="error")):
        found = judged(reply)
        assert found
        assert found.reason == "unjudged"
        assert found.detail


def test_the_judge_is_asked_greedily() -> None:
    request = request_comparison("a", "b", Prompts(), Sampling(temperature=1.0, top_p=0.9), 3)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.0, 1.0)
    assert request.fields == {"problem": "a", "evolved": "b"}
