import pytest
from tokenizers.processors import TemplateProcessing

from align.errors import DataError
from align.models.tiny import train_tokenizer
from align.text.encode import Encoder

TEXTS = ["# f(xs): add 37 to all\n", "def f(xs):\n    return [x + 37 for x in xs]\n"] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


def test_prompt_and_response_meet_without_a_change_of_ids(tokenizer):
    encoder = Encoder(tokenizer)
    # together, the newline and the indentation would be one token
    prompt, response = "def f(xs):\n", "    return 1"
    ids = encoder.prompt(prompt) + encoder.response(response)
    assert ids == tokenizer(prompt)["input_ids"] + tokenizer(response)["input_ids"] + [tokenizer.eos_token_id]
    assert ids[:-1] != tokenizer(prompt + response)["input_ids"]


@pytest.mark.parametrize("text", [*TEXTS, "", " é\t漢 \n\n", "a , b . c !"])
def test_decoding_gives_the_response_back(tokenizer, text):
    encoder = Encoder(tokenizer)
    assert encoder.decode(encoder.response(text)) == text


def test_decoding_stops_at_the_first_end(tokenizer):
    encoder = Encoder(tokenizer)
    assert encoder.decode([*encoder.response("a"), *encoder.response("b")]) == "a"


def test_a_bos_opens_the_prompt_only_where_the_tokenizer_adds_one():
    plain, marking = train_tokenizer(TEXTS, 300), train_tokenizer(TEXTS, 300)
    marking.add_special_tokens({"bos_token": "<s>"})
    bos = marking.bos_token_id
    special = [("<s>", bos), ("<eos>", 1)]
    marking.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A <eos>", special_tokens=special)
    assert Encoder(marking).prompt("ab") == [bos, *Encoder(plain).prompt("ab")]
    assert Encoder(marking).response("ab") == Encoder(plain).response("ab")


def test_a_tokenizer_without_an_end_is_refused(tokenizer):
    other = train_tokenizer(TEXTS, 300)
    other.eos_token = None
    with pytest.raises(DataError, match="eos_token"):
        Encoder(other)
