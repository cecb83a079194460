import pytest
from transformers import AutoTokenizer

from align.errors import ConfigError, DataError
from align.generate.request import Sampling
from align.models.entry import Weights
from align.models.load import load_model
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import MultitaskRow
from align.score.while_training import GeneratedAnswers

ROWS = [
    MultitaskRow(inputs=f"what is {n} plus one", targets=f"it is {n + 1}", task="sums", language="en")
    for n in range(20)
] + [
    MultitaskRow(inputs=f"dime {n}", targets=f"es el {n}", task="saying", language="es" if n % 2 else "fr")
    for n in range(6)
]  # fmt: skip
METRICS = ("exact_match", "chrf", "length", "script")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = train_tokenizer([row.inputs + row.targets for row in ROWS], 300)
    model = random_model(
        "gpt_bigcode", vocab_size=len(tokenizer), seed=0, hidden_size=32, num_layers=1, num_heads=2, max_position=64
    )
    made = tmp_path_factory.mktemp("tiny")
    save_tiny(model, tokenizer, made)
    return str(made)


@pytest.fixture
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def asked(rows=ROWS, metrics=METRICS, count=4, most=8, seed=0):
    return GeneratedAnswers(rows, metrics, count, Sampling(temperature=0, max_new_tokens=most), seed)


def test_each_task_is_asked_as_many_rows_chosen_by_the_seed(tokenizer):
    chosen = []
    for seed in (0, 0, 1):
        made = asked(seed=seed)
        made.prepare(tokenizer, 64)
        assert [row.task for row in made.chosen] == ["saying"] * 4 + ["sums"] * 4
        chosen.append(made.chosen)
    assert chosen[0] == chosen[1] != chosen[2]


def test_what_has_no_room_or_no_target_is_not_asked(tokenizer):
    rows = [MultitaskRow(inputs="x", targets=" ", task="none"), MultitaskRow(inputs="", targets="x", task="none")]
    rows.append(MultitaskRow(inputs="what is plus one " * 90, targets="x", task="long"))
    made = asked([*ROWS, *rows], count=100)
    made.prepare(tokenizer, 64)
    assert {row.task for row in made.chosen} == {"sums", "saying"}
    with pytest.raises(DataError, match="eval_generate: no row of eval_data fits the model with an answer of 8 tokens"):
        asked(rows).prepare(tokenizer, 64)
    with pytest.raises(ConfigError, match=r"eval_generate\.max_new_tokens: 64 leaves no room for a prompt"):
        asked(most=64).prepare(tokenizer, 64)


def test_a_language_without_a_known_script_is_told_before_training(tokenizer):
    rows = [MultitaskRow(inputs="x", targets="y", task="t", language="code")]
    with pytest.raises(
        ConfigError, match=r"eval_generate: eval_data: code: no language .*: or leave script out of metrics"
    ):
        asked(rows).prepare(tokenizer, 64)
    assert "t_chrf" in asked(rows, ("exact_match", "chrf", "length")).prepare(tokenizer, 64)
    # none at all counts as English
    asked([row.model_copy(update={"language": ""}) for row in rows]).prepare(tokenizer, 64)


def test_a_model_is_asked_and_its_figures_are_as_announced(folder, tokenizer):
    made = asked(count=3)
    names = made.prepare(tokenizer, 64)
    model, _ = load_model(Weights(model_name_or_path=folder))
    figures = made(model, tokenizer)
    assert figures == made(model, tokenizer)
    assert set(figures) <= set(names)
    assert {"sums_exact_match", "saying_chrf", "sums_length", "exact_match", "length_ratio"} <= set(figures)


def test_right_answers_are_all_right_and_tasks_weigh_alike(tokenizer):
    made = asked(count=100)
    made.prepare(tokenizer, 64)
    right = [f" {row.targets}" for row in made.chosen]
    figures = made._figures(made.chosen, right)
    assert {figures[name] for name in ("sums_exact_match", "saying_chrf", "exact_match", "chrf")} == {100.0}
    assert figures["wrong_script"] == 0.0
    assert figures["length_ratio"] == pytest.approx(1.0, abs=0.02)
    half = [text if row.task == "sums" else "это не то" for row, text in zip(made.chosen, right, strict=True)]
    figures = made._figures(made.chosen, half)
    assert (figures["sums_exact_match"], figures["saying_exact_match"], figures["exact_match"]) == (100, 0, 50)
    assert (figures["saying_wrong_script"], figures["wrong_script"]) == (100, 50)


def test_answers_without_letters_are_of_no_script(tokenizer):
    made = asked()
    made.prepare(tokenizer, 64)
    assert "wrong_script" not in made._figures(made.chosen, ["\ud800 12 \x00"] * len(made.chosen))
