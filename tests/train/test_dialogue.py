"""Dialogues: a row for each turn, and the loss on assistant turns alone of a whole conversation in one sequence."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from align.io import write
from align.models.entry import Weights
from align.models.load import load_policy, load_tokenizer
from align.recipe import Recipe
from align.recipe.summary import summary
from align.schema import Dialogue, Message
from align.text.collate import Totals, collate
from align.text.encode import Encoder
from align.train.data import encode_rows
from align.train.objective import objective
from align.train.policy import Policy

MARKED = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}\n"
    "{% else %}{{ message['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""Zephyr's text, with what an assistant says marked as transformers marks it."""
TALKS = [
    ["add 1", "f", "why", "return [x + 1]", "thanks", "done"],
    ["add 2 to every item", "return [x + 2 for x in xs]"],
    ["then stop", "what", "in f(xs)", "return xs\n    # done"],
]


def dialogue(*texts):
    roles = ("user", "assistant")
    return Dialogue(messages=[Message(role=roles[n % 2], content=text) for n, text in enumerate(texts)])


def whole_conversation(model, tokenizer, dialogues, mean):
    """Cross-entropy over what transformers marks as the assistant's, each conversation one sequence of its own.

    `mean`: over all those tokens, or over turns of each turn's mean.
    """
    turns = []
    for one in dialogues:
        messages = [message.model_dump() for message in one.messages]
        made = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
        )
        ids, mask = made["input_ids"], torch.as_tensor(made["assistant_masks"]).view(1, -1).bool()
        nats = functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        own = mask[0, 1:]
        assert own.any()
        starts = [n for n in range(len(own)) if own[n] and (n == 0 or not own[n - 1])]
        for start in starts:
            length = next((n for n in range(start, len(own)) if not own[n]), len(own)) - start
            turns.append(nats[start : start + length])
    return torch.cat(turns).mean() if mean == "tokens" else torch.stack([turn.mean() for turn in turns]).mean()


def by_turns(model, tokenizer, dialogues, normaliser, backend):
    """Ours: a row for each turn, as the trainer has them."""
    encoder = Encoder(tokenizer)
    groups = encode_rows(dialogues, encoder, max_length=None, per_target=normaliser == "targets").groups
    policy = Policy(model, backend=backend)
    batch = collate(groups, Totals.of(groups), pad_id=encoder.pad_id, layout=policy.layout)
    return objective(None)(policy(batch), batch).loss


@pytest.mark.parametrize("backend", ["plain", "grouped"])
@pytest.mark.parametrize("normaliser", ["tokens", "targets"])
@pytest.mark.parametrize("architecture", ["gpt_bigcode", "bloom"])
def test_rows_by_turn_are_the_whole_conversation_with_loss_on_the_assistant_alone(
    tiny, architecture, normaliser, backend
):
    model, tokenizer = load_policy(Weights(model_name_or_path=str(tiny(architecture)), chat_template=MARKED), None)
    model = model.double().eval()
    talks = [dialogue(*texts) for texts in TALKS]
    with torch.no_grad():
        expected = whole_conversation(model, tokenizer, talks, normaliser)
        found = by_turns(model, tokenizer, talks, normaliser, backend)
    assert float(found) == pytest.approx(float(expected), rel=1e-9, abs=1e-6)


def test_the_two_normalisers_weigh_turns_differently(tiny):
    model, tokenizer = load_policy(Weights(model_name_or_path=str(tiny("bloom")), chat_template=MARKED), None)
    talks = [dialogue(*texts) for texts in TALKS]
    with torch.no_grad():
        tokens, turns = (by_turns(model, tokenizer, talks, name, "plain") for name in ("tokens", "targets"))
    assert abs(float(tokens) - float(turns)) > 1e-4


BIANQUE = Path(__file__).parents[2] / "recipes" / "bianque" / "dialogues.yaml"


def test_bianques_template_gives_its_published_form(tiny):
    template = Recipe.load(BIANQUE, ["stages.sft.data=hf://datasets/o/d@main/train"]).models["bloom"].chat_template
    tokenizer = load_tokenizer(Weights(model_name_or_path=str(tiny("bloom")), chat_template=template))
    encoder = Encoder(tokenizer)
    talk = dialogue("我最近失眠", "多久了？", "两周了", "睡眠怎么样？")
    first, second = encode_rows([talk], encoder, max_length=None).groups
    assert encoder.decode(first.prompt) == "病人：我最近失眠\n医生："
    assert encoder.decode(second.prompt) == "病人：我最近失眠\n医生：多久了？\n病人：两周了\n医生："
    assert second.responses == [encoder.response("睡眠怎么样？")]


@pytest.mark.parametrize("form", ["chats", "their own rows"])
def test_bianques_recipe_runs_on_either_form_of_rows(form, tiny, tmp_path, monkeypatch):
    talks = [dialogue("失眠", "多久了？", f"{n} 周", "多喝水") for n in range(8)]
    rows = [
        {"input": "病人：失眠\n医生：", "target": "多久了？", "answer_choice": "[]", "type": "medical_qa"}
        for _ in range(8)
    ]
    write(tmp_path / "rows.jsonl", talks if form == "chats" else rows)
    monkeypatch.setenv("BIANQUE_DATA", str(tmp_path / "rows.jsonl"))
    monkeypatch.chdir(tmp_path)
    columns = [] if form == "chats" else ["stages.sft.columns={prompt: input, completion: target}"]
    small = ["stages.sft.launch=null", "stages.sft.global_batch_size=4", "stages.sft.args.bf16=false"]
    model = f"models.bloom.model_name_or_path={tiny('bloom')}"
    folder = Recipe.load(BIANQUE, [model, *small, *columns]).run()
    (stage,) = summary(folder)["stages"]
    turns = 16 if form == "chats" else 8
    assert (stage["counts"]["trained_on"], stage["counts"]["steps"]) == (turns, turns // 4)
    asked = load_tokenizer(Weights(model_name_or_path=str(folder / "sft" / "model")))
    told = asked.apply_chat_template([{"role": "user", "content": "失眠"}], tokenize=False, add_generation_prompt=True)
    assert told == "病人：失眠\n医生："
