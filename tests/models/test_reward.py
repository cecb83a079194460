"""Sequence classification of dialogues, by tiny random models."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from align.errors import ConfigError, DataError
from align.models.chain import write_base
from align.models.entry import Weights
from align.models.reward import Classifier

TURN = [{"role": "user", "content": "Add n to every item."}]
ANSWERS = ["def f(xs): return xs", "x", "def f(xs):\n    return [x + 1 for x in xs]\n" * 2, "\x00", "", "é" * 9]


def headed(source, folder, labels):
    """A classifier of the same shape as a causal model's folder, with random weights."""
    config = AutoConfig.from_pretrained(source)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    # an untrained head scores everything close to 0
    torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder)
    for file in source.glob("tokenizer*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def reward(tiny, tmp_path_factory):
    return headed(tiny, tmp_path_factory.mktemp("reward"), ["reward"])


def dialogues():
    return [[*TURN, {"role": "assistant", "content": answer}] for answer in ANSWERS]


def entry(folder, **changes):
    return Weights(model_name_or_path=str(folder), chat_template="zephyr", **changes)


def test_neither_the_batch_nor_its_padding_changes_a_reward(reward):
    alone = Classifier(entry(reward), batch_tokens=1).rewards(dialogues())
    together = Classifier(entry(reward)).rewards(dialogues())
    backwards = Classifier(entry(reward)).rewards(dialogues()[::-1])[::-1]
    assert together == pytest.approx(alone, abs=1e-5)
    assert backwards == pytest.approx(alone, abs=1e-5)
    assert len({round(value, 4) for value in alone}) == len(ANSWERS)


def test_a_reward_is_the_head_at_the_last_token_of_the_dialogue(reward):
    classifier = Classifier(entry(reward))
    tokenizer = classifier._tokenizer
    ids = tokenizer.apply_chat_template(dialogues()[0], return_tensors="pt", return_dict=True)["input_ids"]
    model = AutoModelForSequenceClassification.from_pretrained(reward).eval()
    body = getattr(model, model.base_model_prefix)
    # the last token that is no pad, as transformers' heads take it
    last = int((ids[0] != tokenizer.pad_token_id).nonzero().max())
    with torch.inference_mode():
        expected = model.score(body(ids).last_hidden_state[0, last])
    assert classifier.rewards(dialogues()[:1])[0] == pytest.approx(float(expected[0]), abs=1e-5)


def test_what_is_longer_than_the_positions_has_no_reward(reward):
    config = AutoConfig.from_pretrained(reward)
    if getattr(config, "max_position_embeddings", None) is None:
        pytest.skip("ALiBi has no longest dialogue")
    long = [*TURN, {"role": "assistant", "content": "x y " * 500}]
    rewards = Classifier(entry(reward)).rewards([long, dialogues()[0]])
    assert rewards[0] is None
    assert rewards[1] is not None


def test_a_causal_model_has_no_head_and_is_refused_instead_of_scoring_at_random(tiny):
    with pytest.raises(DataError, match=r"lacks 1 weights of its class, such as score\.weight"):
        Classifier(entry(tiny))


def test_without_a_chat_template_and_with_two_labels_there_is_one_line(tiny_bloom, tmp_path):
    two = headed(tiny_bloom, tmp_path / "two", ["A", "B"])
    assert Classifier(entry(two)).labels == ["A", "B"]
    with pytest.raises(ConfigError, match=r"one label, this one 2: \['A', 'B'\]"):
        Classifier(entry(two)).rewards(dialogues())
    with pytest.raises(ConfigError, match="no chat template"):
        Classifier(Weights(model_name_or_path=str(two))).logits(dialogues())


def test_an_adapter_and_a_number_that_is_none_are_refused(tiny_bloom, tmp_path):
    folder = headed(tiny_bloom, tmp_path / "nan", ["reward"])
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"] = torch.full_like(weights["score.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="gives \\[nan\\]"):
        Classifier(entry(folder)).rewards(dialogues())
    (tmp_path / "adapter").mkdir()
    write_base(tmp_path / "adapter", entry(folder), None)
    with pytest.raises(DataError, match="an adapter: merge it into its base"):
        Classifier(entry(tmp_path / "adapter"))


def test_an_encoder_gets_prompt_and_response_as_a_pair_of_texts(tmp_path):
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "Add", "n", "to", "every", "item", ".", "good", "bad"]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(words), num_labels=1, initializer_range=0.5, **shape)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    told = [[*TURN, {"role": "assistant", "content": answer}] for answer in ("good", "bad bad bad", "good good")]
    rewards = Classifier(Weights(model_name_or_path=str(tmp_path))).rewards(told)
    alone = [Classifier(Weights(model_name_or_path=str(tmp_path))).rewards([one])[0] for one in told]
    assert rewards == pytest.approx(alone, abs=1e-5)
    assert len({round(value, 4) for value in rewards}) == 3
