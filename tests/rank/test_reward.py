"""Local classifiers as rankers, with a tiny random model."""

import pytest
import torch
from transformers import BloomConfig, BloomForSequenceClassification

from align.errors import ConfigError
from align.models.entry import Weights
from align.models.tiny import train_tokenizer
from align.rank.judge import Judge
from align.rank.protocol import contests
from align.rank.reward import PairModel, Reward
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Write f.")
RESPONSES = [
    Response(problem_id=PROBLEM.id, sample_index=index, text=text, code=code)
    for index, (text, code) in enumerate([("A", "x = 1"), ("B", "def f(): pass"), ("C", "x = 1"), ("\ud800", None)])
]


def saved(folder, *labels):
    tokenizer = train_tokenizer(["def f(): pass"] * 9, 280)
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=16, n_layer=1, n_head=2, pad_token_id=0)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    torch.manual_seed(0)
    model = BloomForSequenceClassification(config)
    torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Weights(model_name_or_path=str(folder), chat_template="zephyr")


def test_equal_programs_have_equal_rewards_and_the_margin_ties(tmp_path):
    entry = saved(tmp_path, "reward")
    ranker = Reward(entry)
    (scores,) = ranker.rank(contests([PROBLEM], RESPONSES))
    first, second, third, fourth = (scores.values[one.id] for one in RESPONSES)
    assert first == third
    assert len({first, second, fourth}) == 3
    assert ranker.report() == {"scored": 3, "too_long": 0}
    (tied,) = Reward(entry, margin=1e6).rank(contests([PROBLEM], RESPONSES))
    assert len(set(tied.values.values())) == 1
    (whole,) = Reward(entry, whole_text=True).rank(contests([PROBLEM], RESPONSES))
    assert len(set(whole.values.values())) == 4


def test_a_pair_model_is_a_judge_with_its_faults_in_the_report(tmp_path):
    judge = Judge(PairModel(saved(tmp_path, "a", "b")), model="pairs")
    (scores,) = judge.rank(contests([PROBLEM], RESPONSES))
    assert scores.values.keys() == {one.id for one in RESPONSES}
    report = judge.report()
    assert (report["questions"], report["failures"]) == (6, {})
    assert report["flips"]["n"] == 3


def test_labels_that_are_no_choice_are_refused_not_guessed(tmp_path):
    with pytest.raises(ConfigError, match="found LABEL_0, LABEL_1: name them in id2label"):
        PairModel(saved(tmp_path, "LABEL_0", "LABEL_1"))
