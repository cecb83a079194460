"""Groups and pairs in other projects' forms: what is written is read back, and trains where it is meant to."""

import json
import os

import pytest

from align.io import read, write
from align.rank import make_pairs
from align.rank.exports import FILES, export_rows, rrhf_rows, trl_chat_rows, ultrafeedback_rows
from align.schema import Message, Problem, RankedGroup

PROBLEMS = [
    Problem(prompt=f"Add {n}.", entry_point="f", tests=[f"assert f(0) == {n}"], source="own", meta={"n": n})
    for n in range(6)
]
GROUPS = [
    RankedGroup(
        problem_id=one.id,
        prompt=f"{one.prompt}\n",
        responses=[f"def f(x): return x + {n}", "def f(x): return x", "def f(x):"],
        scores=[1.0, 0.6, 0.0],
        roles=["teacher", "student", "student"],
        models=["t", "s", "s"],
    )
    for n, one in enumerate(PROBLEMS)
]
PAIRS = make_pairs(GROUPS)


def test_rrhf_and_ultrafeedback_are_read_back_as_the_same_groups(tmp_path):
    for rows in (rrhf_rows(GROUPS), ultrafeedback_rows(GROUPS)):
        write(tmp_path / "rows.jsonl", rows)
        found = read(tmp_path / "rows.jsonl", RankedGroup)
        assert [(one.prompt, one.responses, one.scores) for one in found] == [
            (one.prompt, one.responses, one.scores) for one in GROUPS
        ]
    row = next(ultrafeedback_rows(GROUPS, PROBLEMS))
    assert (row["source"], row["models"]) == ("own", ["t", "s"])


def test_conversations_have_the_problems_own_turns_and_without_it_the_final_text():
    chat = Problem(prompt=[Message(role="system", content="Be brief."), Message(role="user", content="Add.")])
    pair = PAIRS[0].model_copy(update={"problem_id": chat.id})
    (row,) = trl_chat_rows([pair], [chat])
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
    assert row["chosen"] == [{"role": "assistant", "content": pair.chosen}]
    (row,) = trl_chat_rows([pair])
    assert row["prompt"] == [{"role": "user", "content": "Add 0.\n"}]


@pytest.mark.parametrize("name", ["groups", "pairs", *FILES])
def test_every_file_loads_as_a_data_set(name, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = {"groups": GROUPS, "pairs": PAIRS}.get(name) or export_rows(name, PROBLEMS, GROUPS, PAIRS)
    write(tmp_path / "rows.jsonl", rows)
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(loaded) == len(lines) > 0
    assert set(loaded.column_names) == set(lines[0])


@pytest.mark.parametrize("name", ["pairs", "trl_chat"])
def test_pairs_train_in_trls_dpo_trainer_unmodified(name, tmp_path):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from align.models.tiny import random_model, save_tiny, train_tokenizer

    os.environ["ACCELERATE_USE_CPU"] = "1"
    tokenizer = train_tokenizer([one.prompt + one.responses[0] for one in GROUPS], 300)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    save_tiny(
        random_model(
            "gpt_bigcode",
            vocab_size=len(tokenizer),
            seed=0,
            hidden_size=16,
            num_layers=1,
            num_heads=2,
            max_position=128,
        ),
        tokenizer,
        tmp_path / "tiny",
    )
    write(tmp_path / "rows.jsonl", PAIRS if name == "pairs" else export_rows(name, PROBLEMS, GROUPS, PAIRS))
    data = datasets.load_dataset(
        "json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=1, use_cpu=True, report_to="none", per_device_train_batch_size=4
    )
    trainer = trl.DPOTrainer(
        model=str(tmp_path / "tiny"), args=arguments, train_dataset=data, processing_class=tokenizer
    )
    trainer.train()
    # a model that has not moved yet prefers neither side
    assert trainer.state.log_history[-1]["train_loss"] == pytest.approx(0.693147, abs=1e-3)
