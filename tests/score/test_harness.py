import pytest

from align.errors import ConfigError, DataError
from align.models.bloom import fuse
from align.models.tiny import random_model, train_tokenizer
from align.score.choice import Chooser
from align.score.classify import Choice, accuracies
from align.score.harness import option_logprobs, run_harness, write_task
from align.text.encode import Encoder

TEXT = "the man opened a tap water flowed out of it and he drank 他打开水龙头 水流出来 ali ouvrit"
WORDS = TEXT.split()


def rows(count=12):
    for n in range(count):
        words = [WORDS[(n * k + k) % len(WORDS)] for k in range(3, 9)]
        yield Choice(
            id=str(n),
            task="ours",
            language="en",
            template="plain",
            split="test",
            prompt=f"Premise {n}:\n{' '.join(words)}{{{{ }}}}" if n else "One",
            options=[" " + words[0], " " + " ".join(words[1:4]), " " + words[5] + "."],
            answer=n % 3,
        )


@pytest.fixture(scope="module")
def model():
    # spaces stand alone: prompt and option meet without a change of ids, together or apart
    tokenizer = train_tokenizer([TEXT] * 4, 300, split=[" "])
    found = random_model(
        "bloom", hidden_size=32, num_layers=2, num_heads=4, vocab_size=len(tokenizer), max_position=256, seed=1
    )
    for parameter in found.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(4)
    fuse(found)
    return found.eval(), tokenizer


@pytest.fixture
def harness():
    return pytest.importorskip("lm_eval", reason="lm_eval is not installed")


def test_the_harness_agrees_with_ours_on_every_option(harness, model, tmp_path):
    given = list(rows())
    write_task(given, tmp_path, "ours")
    report = run_harness(*model, ["ours"], folder=tmp_path, batch_size=5)
    chosen = Chooser(model[0], Encoder(model[1])).choose(given)
    for theirs, ours in zip(option_logprobs(report, "ours"), chosen, strict=True):
        assert ours.logprobs == pytest.approx(theirs, abs=1e-4)
    table = accuracies(chosen)["ours"]
    for ours, theirs in {"sum": "acc", "character": "acc_norm"}.items():
        expected = 100 * report["results"]["ours"][f"{theirs},none"]
        assert table[ours]["best"]["accuracy"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_a_task_that_the_harness_does_not_know_is_named(harness, model, tmp_path):
    with pytest.raises(ConfigError, match="no_such: no task"):
        run_harness(*model, ["no_such"], folder=tmp_path)


def test_a_task_without_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="ours: no rows"):
        write_task([], tmp_path, "ours")
