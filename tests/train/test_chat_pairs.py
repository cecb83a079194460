"""Pairs in messages: the text that a chat template makes of them, and what is refused."""

import pytest

from align.errors import ConfigError, DataError
from align.io import write
from align.models.tiny import train_tokenizer
from align.text.encode import Encoder
from align.text.template import CHAT_TEMPLATES
from align.train.chat_pairs import holds_chats, read_chat_pairs


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


WHOLE = {
    "prompt": "Add.",
    "chosen": [user("Add."), assistant("a + b")],
    "rejected": [user("Add."), assistant("a")],
    "score_chosen": 9,
    "score_rejected": 2.5,
    "prompt_id": "x",
}
APART = {"prompt": [user("Add.")], "chosen": [assistant("a + b")], "rejected": [assistant("a")]}


@pytest.fixture(scope="module")
def encoder():
    tokenizer = train_tokenizer(["add a + b"] * 3, 270)
    tokenizer.chat_template = CHAT_TEMPLATES["zephyr"]
    return Encoder(tokenizer)


def pairs(tmp_path, encoder, *rows, columns=None):
    write(tmp_path / "pairs.jsonl", rows)
    return list(read_chat_pairs(str(tmp_path / "pairs.jsonl"), encoder, columns))


@pytest.mark.parametrize("row", [WHOLE, APART], ids=["whole conversations", "the prompt apart"])
def test_both_of_trls_forms_are_final_text_by_the_models_template(tmp_path, encoder, row):
    (pair,) = pairs(tmp_path, encoder, row)
    end = encoder.tokenizer.eos_token
    assert pair.prompt == f"<|user|>\nAdd.{end}\n<|assistant|>\n"
    assert (pair.chosen, pair.rejected) == ("a + b", "a")
    assert pair.score_chosen == (9.0 if row is WHOLE else None)


def test_several_turns_stand_before_the_answers(tmp_path, encoder):
    before = [user("Add."), assistant("What?"), user("Numbers.")]
    (pair,) = pairs(tmp_path, encoder, {"chosen": [*before, assistant("1")], "rejected": [*before, assistant("2")]})
    text = encoder.tokenizer.apply_chat_template([*before, assistant("1")], tokenize=False)
    assert text == f"{pair.prompt}{pair.chosen}{encoder.tokenizer.eos_token}\n"


def test_columns_have_their_names_from_the_recipe(tmp_path, encoder):
    row = {"good": WHOLE["chosen"], "bad": WHOLE["rejected"]}
    (pair,) = pairs(tmp_path, encoder, row, columns={"chosen": "good", "rejected": "bad"})
    assert pair.chosen == "a + b"


def test_the_first_row_tells_the_form(tmp_path):
    for row, held in ((WHOLE, True), ({"prompt": "p", "chosen": "a", "rejected": "b"}, False)):
        write(tmp_path / "pairs.jsonl", [row])
        assert holds_chats(str(tmp_path / "pairs.jsonl")) == held
    (tmp_path / "empty.jsonl").write_text("")
    assert not holds_chats(str(tmp_path / "empty.jsonl"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**WHOLE, "rejected": [user("Other."), assistant("a")]}, "chosen and rejected answer different conversations"),
        ({**WHOLE, "rejected": "a"}, "rejected is no list of messages"),
        ({**WHOLE, "rejected": [user("Add.")]}, "rejected must end with an answer of the assistant"),
        ({**WHOLE, "chosen": [assistant("a")]}, "chosen must end with an answer of the assistant, after a turn"),
        ({**WHOLE, "chosen": [{"role": "tool", "content": "a"}]}, "chosen is no list of messages"),
        ({**WHOLE, "chosen": [{"role": "user", "content": None}]}, "chosen is no list of messages"),
        ({**WHOLE, "score_chosen": "high"}, "score_chosen must be a number, found 'high'"),
        ({"prompt": "Add.", "chosen": WHOLE["chosen"]}, "rejected is no list of messages"),
    ],
)
def test_another_form_is_one_line_with_its_place(tmp_path, encoder, row, message):
    with pytest.raises(DataError, match=rf"pairs\.jsonl:2: {message}"):
        pairs(tmp_path, encoder, WHOLE, row)


def test_a_tokenizer_without_a_template_says_what_to_write(tmp_path):
    bare = Encoder(train_tokenizer(["a"], 262))
    with pytest.raises(ConfigError, match="write chat_template: zephyr"):
        pairs(tmp_path, bare, WHOLE)
