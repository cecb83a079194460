import pytest
from pydantic import ValidationError

from align.errors import ConfigError
from align.models.entry import Weights
from align.models.load import load_tokenizer
from align.schema import Dialogue, Message, MultitaskRow, SftRow, UnpairedRow
from align.text.collate import Group, Totals
from align.text.encode import Encoder
from align.text.plan import Plan
from align.train.data import MicroBatches, encode_rows

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def encoder(tiny):
    return Encoder(load_tokenizer(Weights(model_name_or_path=str(tiny()), chat_template=CHAT)))


def encoded(rows, encoder, **options):
    return encode_rows(rows, encoder, max_length=options.pop("max_length", None), **options)


def turn(role, content):
    return Message(role=role, content=content)


def test_each_turn_of_the_assistant_is_a_target_after_all_that_was_said(encoder):
    chat = Dialogue(messages=[turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d")])
    first, second = encoded([chat], encoder).groups
    assert encoder.decode(first.prompt) == "<user>a\n<assistant>"
    assert encoder.decode(second.prompt) == "<user>a\n<assistant>b\n<user>c\n<assistant>"
    assert [encoder.decode(group.responses[0]) for group in (first, second)] == ["b", "d"]
    assert all(group.responses[0][-1] == encoder.eos_id for group in (first, second))


def test_a_chat_that_the_assistant_opens_loses_that_turn_and_says_so(encoder):
    chat = Dialogue(messages=[turn("assistant", "hello"), turn("user", "a"), turn("assistant", "b")])
    found = encoded([chat], encoder)
    assert (len(found.groups), found.dropped) == (1, {"empty_prompt": 1})


def test_a_tokenizer_without_a_chat_template_is_refused_in_one_line(tiny):
    bare = Encoder(load_tokenizer(Weights(model_name_or_path=str(tiny()))))
    with pytest.raises(ConfigError, match="no chat template"):
        encoded([Dialogue(messages=[turn("user", "a"), turn("assistant", "b")])], bare)


def test_a_chat_template_by_name_ends_every_turn_with_the_eos(tiny):
    encoder = Encoder(load_tokenizer(Weights(model_name_or_path=str(tiny()), chat_template="zephyr")))
    chat = Dialogue(messages=[turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d")])
    last, end = encoded([chat], encoder).groups[-1], encoder.tokenizer.eos_token
    text = encoder.tokenizer.decode(last.prompt)
    assert text == f"<|user|>\na{end}\n<|assistant|>\nb{end}\n<|user|>\nc{end}\n<|assistant|>\n"
    assert last.responses[0] == encoder.response("d")


def test_a_misspelt_chat_template_is_not_taken_for_jinja():
    with pytest.raises(ValidationError, match=r"'zefyr' and no Jinja text: .*zephyr"):
        Weights(model_name_or_path="model", chat_template="zefyr")


def test_tasks_are_inputs_one_space_and_targets(encoder):
    task, row = MultitaskRow(inputs="add", targets="1"), SftRow(prompt="add", completion=" 1")
    assert encoded([task], encoder).groups == encoded([row], encoder).groups
    assert encoded([MultitaskRow(inputs="add", targets="")], encoder).dropped == {"empty_response": 1}


def test_a_step_weighs_every_target_alike_however_long(encoder):
    rows = [MultitaskRow(inputs="add", targets=text) for text in ("1", "1 and then 2", "1, 2, 3 and 4 are four")]
    groups = encoded(rows, encoder, per_target=True).groups
    assert len({len(group.responses[0]) for group in groups}) == 3
    assert all(group.target_tokens == pytest.approx(1) for group in groups)
    assert Totals.of(groups).tokens == pytest.approx(3)


def test_a_label_is_the_score_of_its_row(encoder):
    rows = [UnpairedRow(prompt="a", completion="b", label=label) for label in (True, False)]
    assert [group.scores for group in encoded(rows, encoder).groups] == [[1.0], [0.0]]


def unpaired(*lengths, max_length=None):
    groups = [Group(str(n), [n + 2] * 3, [[n + 2] * length], [1.0], [False], [1.0]) for n, length in enumerate(lengths)]
    plan = Plan([[2, 0, 1]], [(0, [2, 1]), (0, [0]), (0, []), (0, [])], accumulation=4)
    return MicroBatches(groups, plan, pad_id=0, mismatched=True, max_length=max_length)


def test_mismatched_rows_are_the_steps_whatever_its_micro_batches():
    data = unpaired(4, 5, 6)
    assert [list(data.places(item))[1] for item in range(4)] == [[(2, 0), (1, 2)], [(0, 1)], [], []]
    assert data[0]["mismatched"]["targets_N"].tolist() == [2] * 4 + [4] * 6


def test_a_mismatched_response_is_cut_where_its_row_would_pass_the_models_positions():
    assert unpaired(4, 5, 9, max_length=12).group((1, 2)).responses == [[4] * 9]
    assert unpaired(4, 5, 9, max_length=10).group((1, 2)).responses == [[4] * 7]


def test_a_step_of_one_row_has_no_mismatched_one():
    groups = [Group("a", [2], [[3]], [1.0], [False], [1.0])]
    data = MicroBatches(groups, Plan([[0]], [(0, [0])], accumulation=1), pad_id=0, mismatched=True)
    assert list(data.places(0)) == [[(0, 0)], []]
