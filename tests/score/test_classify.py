import random

import pytest
from pydantic import ValidationError

from align.errors import ConfigError, DataError
from align.score.classify import Choice, Chosen, accuracies, credits
from align.score.shots import with_shots


def chosen(number, right, *, language="en", template="a", task="t", logprobs=None):
    found = [-1.0, -2.0] if logprobs is None else logprobs
    answer = 0 if right else 1
    return Chosen(
        id=str(number),
        task=task,
        language=language,
        template=template,
        answer=answer,
        logprobs=found,
        tokens=[1] * len(found),
        characters=[2] * len(found),
    )


def choice(number, *, split="test", template="a", language="en", prompt=None):
    return Choice(
        id=f"{split}-{number}",
        task="t",
        language=language,
        template=template,
        split=split,
        prompt=f"{template}{language} {number}?" if prompt is None else prompt,
        options=[" yes", f" no {number}"],
        answer=1,
    )


def test_length_changes_what_is_chosen():
    row = Chosen(
        id="0",
        task="t",
        language="en",
        template="a",
        answer=1,
        logprobs=[-4.0, -5.0],
        tokens=[2, 5],
        characters=[8, 5],
    )
    assert [row.best(by) for by in ("sum", "token", "character")] == [[0], [1], [0]]
    assert credits([row], "token") == [1.0]


def test_a_tie_gives_each_of_the_best_its_share_and_is_counted():
    tied = [chosen(0, True, logprobs=[-1.0, -1.0, -3.0]), chosen(1, False, logprobs=[-1.0, -2.0, -1.0])]
    assert credits(tied) == [0.5, 0.0]
    found = accuracies(tied)["t"]
    assert found["ties"] == 2
    assert found["chance"] == 33.333


def test_best_and_median_are_means_over_languages_of_each_ones_own_prompts():
    # right of 10: en a 9, b 5, c 2; zh a 1, b 4, c 6
    right = {("en", "a"): 9, ("en", "b"): 5, ("en", "c"): 2, ("zh", "a"): 1, ("zh", "b"): 4, ("zh", "c"): 6}
    rows = [chosen(n, n < k, language=lang, template=t) for (lang, t), k in right.items() for n in range(10)]
    random.Random(0).shuffle(rows)
    found = accuracies(rows)["t"]["sum"]
    assert found["best"]["accuracy"] == 75
    assert found["median"]["accuracy"] == 45
    assert found["languages"]["en"]["template"] == "a"
    assert found["languages"]["zh"]["best"]["accuracy"] == 60
    assert found["languages"]["zh"]["templates"]["b"]["accuracy"] == 40


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for trial in range(40):
        draw = random.Random(trial)
        rows = [chosen(n, draw.random() < 0.7) for n in range(150)]
        found = accuracies(rows, seed=trial)["t"]["sum"]["best"]
        assert found["low"] <= found["accuracy"] <= found["high"]
        held += found["low"] <= 70 <= found["high"]
    assert held >= 34


def test_translations_of_an_example_are_resampled_together():
    # the same verdict in ten languages is no more evidence than in one
    def width(rows):
        found = accuracies(rows)["t"]["sum"]["best"]
        return found["high"] - found["low"]

    languages = [f"l{number}" for number in range(10)]
    one = [chosen(n, n % 2 == 0) for n in range(100)]
    together = [chosen(n, n % 2 == 0, language=language) for language in languages for n in range(100)]
    apart = [chosen(f"{language}{n}", n % 2 == 0, language=language) for language in languages for n in range(100)]
    assert width(together) == pytest.approx(width(one), abs=1.5)
    assert width(apart) < width(one) / 2


def test_the_same_seed_gives_the_same_table_in_any_order():
    draw = random.Random(0)
    rows = [chosen(n, draw.random() < 0.6, template=t, language=t * 2) for n in range(90) for t in "abc"]
    assert accuracies(rows, seed=1) == accuracies(rows[::-1], seed=1)
    assert accuracies(rows, seed=1) != accuracies(rows, seed=2)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        ([chosen(0, True), chosen(0, False)], "example 0 stands twice under a in en"),
        ([chosen(0, True), chosen(1, True), chosen(0, True, template="b")], "b and a differ by 1 examples in en"),
    ],
)
def test_a_table_that_would_mislead_is_refused(rows, said):
    with pytest.raises(DataError, match=said):
        accuracies(rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"answer": 2}, "no place in 2"), ({"answer": -1}, "no place"), ({"options": ["a", " "]}, "number 1 is empty")],
)
def test_a_row_that_cannot_be_chosen_from_is_refused(change, said):
    with pytest.raises(ValidationError, match=said):
        Choice.model_validate(choice(0).model_dump() | change)


def test_no_shots_change_nothing():
    rows = [choice(0)]
    assert with_shots(rows, [], 0, seed=1) == rows


def test_shots_are_solved_examples_of_the_rows_own_language_and_template():
    pool = [
        choice(n, split="train", template=t, language=lang) for n in range(9) for t in "ab" for lang in ("en", "zh")
    ]
    (row,) = with_shots([choice(0, language="zh", template="b")], pool, 3, seed=1, separator="\n##\n")
    *shots, prompt = row.prompt.split("\n##\n")
    assert prompt == "bzh 0?"
    assert len(set(shots)) == 3
    for shot in shots:
        number = shot[len("bzh ")]
        assert shot == f"bzh {number}? no {number}"


def test_a_row_gets_the_same_examples_whatever_else_is_evaluated():
    pool = [choice(n, split="train", template=t) for n in range(50) for t in "ab"]
    rows = [choice(n + 50) for n in range(5)]
    drawn = with_shots(rows, pool, 2, seed=1)
    assert with_shots(rows[3:], pool[::-1], 2, seed=1) == drawn[3:]
    assert with_shots(rows, pool, 2, seed=2) != drawn
    other = with_shots([choice(n + 50, template="b") for n in range(5)], pool, 2, seed=1)
    assert [row.prompt.replace("ben", "aen") for row in other] == [row.prompt for row in drawn]


def test_a_row_is_never_its_own_example():
    pool = [choice(n, split="train") for n in range(4)]
    for number in range(4):
        (row,) = with_shots([choice(number)], pool, 3, seed=0)
        assert row.prompt.count(f"aen {number}?") == 1
    with pytest.raises(DataError, match="4 examples wanted, 3 to draw from"):
        with_shots([choice(0)], pool, 4, seed=0)


def test_examples_of_the_evaluated_split_are_refused():
    with pytest.raises(DataError, match="come from test, which is evaluated"):
        with_shots([choice(0)], [choice(1)], 1, seed=0)
    with pytest.raises(ConfigError, match="shots: -1"):
        with_shots([choice(0)], [], -1, seed=0)
