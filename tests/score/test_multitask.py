"""Models compared on tasks: a figure is that of the tables behind it, differences are paired by example."""

import random

import pytest

from align.errors import DataError
from align.generate.request import Reply
from align.score.example import Question
from align.score.multitask import ChoiceResult, Figures, compare, text_result

RIGHT = {"good": 0.8, "poor": 0.5}


def choices(model: str, noise: float = 0.0) -> list[ChoiceResult]:
    rows = []
    for language in ("en", "sw"):
        for template in ("a", "b", "c"):
            for n in range(120):
                # one luck an example: models that differ little differ on the same examples
                luck = random.Random(f"{language}{n}").random() + noise * (template == "a")
                good = luck < RIGHT[model]
                place = {"id": str(n), "task": "t", "language": language, "template": template, "answer": 0}
                logprobs = [-1.0, -2.0] if good else [-2.0, -1.0]
                rows.append(ChoiceResult(**place, logprobs=logprobs, tokens=[1, 1], characters=[1, 1], model=model))
    return rows


def question(n: int, reference: str = "12") -> Question:
    place = {"id": str(n), "task": "m", "language": "en", "template": "p", "split": "test"}
    return Question(**place, prompt="How many?", references=[reference])


@pytest.mark.parametrize("measure", ["best", "median"])
def test_a_tasks_figure_is_that_of_its_table_and_the_difference_is_paired(measure):
    results = {name: choices(name, noise=0.1) for name in RIGHT}
    found = compare(list(RIGHT), {"t": (results, Figures(measure=measure))})
    for name in RIGHT:
        value, low, high = found["models"][name]["tasks"]["t"]
        assert [value, low, high] == list(found["details"][name]["t"]["sum"][measure].values())
        assert low < value < high
    pair = found["paired"]["good-poor"]["tasks"]["t"]
    good, poor = (found["models"][name]["tasks"]["t"] for name in RIGHT)
    assert pair["delta"] == pytest.approx(good[0] - poor[0], abs=2e-3)
    # both models share their luck: the difference is surer than either
    assert pair["low"] > 0
    assert pair["high"] - pair["low"] < (good[2] - good[1]) + (poor[2] - poor[1])
    assert found["paired"]["poor-good"]["tasks"]["t"]["delta"] == -pair["delta"]
    assert found["models"]["good"]["examples"] == 120


def test_the_last_number_counts_where_answers_are_numbers_and_the_text_where_not():
    texts = ["3 and 9 make 12.", "12, no: 13", "twelve"]
    rows = [text_result("a", question(n), Reply(text=text), ["exact_match", "chrf"]) for n, text in enumerate(texts)]
    assert [row.metrics["exact_match"] for row in rows] == [1, 0, 0]
    written = text_result("a", question(0, "A cat."), Reply(text=" a cat"), ["exact_match"])
    assert (written.metrics, written.output) == ({"exact_match": 1.0}, "a cat")
    found = compare(["a"], {"m": ({"a": rows}, Figures(metrics=["exact_match", "chrf", "length"]))})
    assert found["models"]["a"]["tasks"]["m"][0] == pytest.approx(33.333)
    detail = found["details"]["a"]["m"]["templates"]["p"]["en"]
    assert detail["exact_match"]["value"] == pytest.approx(33.333)
    assert detail["length"]["mean"] == pytest.approx(10.7)


def test_an_example_without_an_answer_is_left_out_for_all_models():
    good = [text_result("a", question(n), Reply(text="12"), ["exact_match"]) for n in range(3)]
    replies = [Reply(text="1"), Reply(text="", finish="error", error="x"), Reply(text="12")]
    lacking = [text_result("b", question(n), reply, ["exact_match"]) for n, reply in enumerate(replies)]
    figures = Figures(metrics=["exact_match"])
    found = compare(["a", "b"], {"m": ({"a": good, "b": lacking}, figures)})
    assert found["unscored"] == {"m": ["en/1"]}
    assert [found["models"][name]["tasks"]["m"][0] for name in "ab"] == [100, 50]
    with pytest.raises(DataError, match="no example has an answer"):
        compare(["a", "b"], {"m": ({"a": good[1:2], "b": lacking[1:2]}, figures)})
