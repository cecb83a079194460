"""Training on packed rows: the same loss as each row alone, whatever the cut, the ranks and the kills."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from align.errors import ConfigError, DataError, StageError
from align.io import write
from align.models.entry import Weights
from align.models.load import load_policy, load_tokenizer
from align.schema import MultitaskRow
from align.text.encode import Encoder
from align.text.pack import pack
from align.text.plan import LayoutName
from align.text.token_shards import ALONE
from align.text.token_store import TokenStore
from align.train.config import AlignConfig
from align.train.objective import objective
from align.train.planner import Planner
from align.train.policy import Policy
from align.train.stored import StoredGroups, stored_groups

from .conftest import SFT, kill_at, start
from .test_resume import left

ARCHITECTURES = ["bloom", "gpt_bigcode", "starcoder2"]


def task(n):
    # a few targets of one word among long ones, so that the two ways to average are far apart
    return MultitaskRow(inputs=SFT[n].prompt * (1 + n % 2), targets="yes" if n % 3 else SFT[n].completion[: 8 + 3 * n])


def packed(rows, encoder, room=96):
    """The rows in packed rows, as a mixture leaves them."""
    store = TokenStore.in_memory(rows, encoder)
    found = pack(store.prompts + store.targets, room, seed=0)
    return [rows[row].model_copy(update={"pack": number}) for number, own in enumerate(found) for row in own]


@pytest.fixture(scope="module")
def encoder(tiny):
    return Encoder(load_tokenizer(Weights(model_name_or_path=str(tiny()))))


@pytest.fixture(scope="module")
def rows(encoder):
    found = packed([task(n) for n in range(24)], encoder)
    assert len({len(list(own)) for _, own in itertools.groupby(found, key=lambda row: row.pack)}) > 1
    return found


def config(tmp_path, **options):
    options = {"global_batch_size": 4, "max_tokens_per_batch": 10**4, "normaliser": "targets"} | options
    return AlignConfig(str(tmp_path), num_train_epochs=1, use_cpu=True, **options)


def planned(rows, encoder, args, layout: LayoutName = "grouped"):
    planner = Planner(args, encoder, 128, layout)
    return planner.training(planner.encode(rows).groups)


def row_by_row(model, encoder, rows):
    """The mean over rows of each target's mean, one row a forward: nothing of ours but the ids."""
    whole = torch.zeros((), dtype=torch.float64)
    for row in rows:
        prompt = encoder.tokenizer(row.inputs)["input_ids"]
        target = [*encoder.tokenizer(f" {row.targets}")["input_ids"], encoder.eos_id]
        logits = model(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        whole = whole + torch.nn.functional.cross_entropy(logits, torch.tensor(target)) / len(rows)
    return whole


def gradients(model):
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layout", ["grouped", "plain"])
def test_a_packed_step_has_the_loss_and_gradient_of_its_rows_one_by_one_in_float64(
    tiny, tmp_path, rows, encoder, architecture, layout
):
    plain = AutoModelForCausalLM.from_pretrained(tiny(architecture), attn_implementation="eager").double().eval()
    model, _ = load_policy(Weights(model_name_or_path=str(tiny(architecture))), None, disable_dropout=True)
    policy = Policy(model.double().eval(), backend="grouped" if layout == "grouped" else "plain")
    for budget in (130, 400, 10**4):
        data = planned(rows, encoder, config(tmp_path, max_tokens_per_batch=budget), layout)
        step = data.plan.steps[0]
        expected = row_by_row(plain, encoder, [rows[data.groups.rows[place]] for place in step])
        plain.zero_grad()
        expected.backward()
        policy.zero_grad()
        found = torch.zeros((), dtype=torch.float64)
        for item in range(data.plan.accumulation):
            batch = data[item]
            share = objective(None)(policy(batch), batch).loss
            share.backward()
            found += share.detach().double()
        assert abs(float(found - expected)) < 1e-6
        wanted = gradients(plain)
        for name, value in gradients(policy.causal).items():
            assert torch.allclose(value, wanted[name], atol=1e-6, rtol=1e-5), name


def test_the_plan_draws_packed_rows_and_keeps_each_in_one_micro_batch(rows, encoder, tmp_path):
    data = planned(rows, encoder, config(tmp_path, max_tokens_per_batch=200))
    packs = [[rows[place].pack for place in step] for step in data.plan.steps]
    count = rows[-1].pack + 1
    assert [len(set(step)) for step in packs] == [4] * (count // 4) + [count % 4] * (count % 4 > 0)
    assert sorted(place for step in data.plan.steps for place in step) == list(range(len(rows)))
    holders = {}
    for item, (_, part) in enumerate(data.plan.micro_batches):
        for place in part:
            holders.setdefault(rows[place].pack, set()).add(item)
    assert all(len(found) == 1 for found in holders.values())
    assert len({item for found in holders.values() for item in found}) > len(packs)
    for item in range(len(data)):
        assert data[item]["input_ids"].numel() <= 200


def test_targets_that_stand_side_by_side_are_two_targets(encoder, tmp_path):
    rows = [MultitaskRow(inputs="a", targets=text, pack=0) for text in ("b", "c", "a long one of many tokens")]
    data = planned(rows, encoder, config(tmp_path))
    batch = data[0]
    assert batch["response_N"].bincount().tolist() == [len(encoder.response(f" {row.targets}")) for row in rows]
    assert float(batch["tokens"]) == 3
    assert torch.allclose(batch["sft_weights_R"] * batch["response_N"].bincount(), torch.ones(3))


def test_rows_without_a_pack_are_planned_as_ever(encoder, tmp_path):
    rows = [task(n) for n in range(10)]
    data = planned(rows, encoder, config(tmp_path))
    assert [len(step) for step in data.plan.steps] == [4, 4, 2]
    mixed = [row.model_copy(update={"pack": 0 if n < 3 else None}) for n, row in enumerate(rows)]
    groups, _ = stored_groups(TokenStore.in_memory(mixed, encoder), max_length=None)
    assert groups.units.tolist() == [0, 3, 4, 5, 6, 7, 8, 9]


def test_what_cannot_be_trained_on_is_counted_and_leaves_its_packed_row(encoder):
    texts = [("a", "b"), ("", "b"), ("a", ""), ("a", "word " * 200), ("", ""), ("c", "d")]
    rows = [MultitaskRow(inputs=a, targets=b, pack=n // 2) for n, (a, b) in enumerate(texts)]
    groups, dropped = stored_groups(TokenStore.in_memory(rows, encoder), max_length=64)
    assert dropped == {"empty_prompt": 2, "empty_response": 1, "too_long": 1}
    assert groups.rows.tolist() == [0, 5]
    # the second packed row is gone with its last row
    assert groups.units.tolist() == [0, 1]
    assert groups[-1].problem_id == "rows[5]"


@pytest.mark.parametrize("packs", [[0, 1, 0], [1, 0, 2], [0, None, 0]])
def test_packed_rows_that_do_not_stand_together_are_refused(encoder, packs):
    rows = [MultitaskRow(inputs="a", targets="b", pack=number) for number in packs]
    with pytest.raises(DataError, match=r"pack 0 comes after pack [01]: rows of one packed row stand together"):
        stored_groups(TokenStore.in_memory(rows, encoder), max_length=None)


def test_a_budget_below_a_packed_row_says_what_it_needs(rows, encoder, tmp_path):
    with pytest.raises(ConfigError, match=r"40 cannot hold a packed row of (\d+) tokens: give at least \1"):
        planned(rows, encoder, config(tmp_path, max_tokens_per_batch=40))


def test_a_floor_of_target_lengths_reaches_weights_and_denominators(rows, encoder, tmp_path):
    data = planned(rows, encoder, config(tmp_path, target_length_floor=10))
    groups = [data.groups[place] for place in data.plan.steps[0]]
    assert {len(group.responses[0]) < 10 for group in groups} == {True, False}
    assert all(group.sft_weights == [1 / max(len(group.responses[0]), 10)] for group in groups)
    assert data.totals[0].tokens == pytest.approx(sum(group.target_tokens for group in groups))


def synthetic(count):
    """A store of `count` rows of 40 tokens whose tokens are never looked at, ten to a packed row."""
    lengths = np.full(count, 40, np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return TokenStore(np.zeros(40, np.uint16), offsets, lengths // 2, np.arange(count) // 10)


def test_a_plan_takes_a_few_numbers_a_row_and_no_objects(encoder, tmp_path):
    count = 200_000
    store = synthetic(count)
    tracemalloc.start()
    data = planned(store, encoder, config(tmp_path, global_batch_size=256, max_tokens_per_batch=2048))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data.plan.steps) == -(-count // 10 // 256)
    assert kept < 40 * count
    assert peak < 150 * count


def test_a_loss_that_is_not_finite_names_the_rows_of_the_file(rows, encoder, run, tmp_path):
    write(tmp_path / "mix" / "rows.jsonl", rows)
    store = TokenStore.of(tmp_path / "mix" / "rows.jsonl", encoder, tmp_path / ".tokens")
    args = {"max_steps": 8, "learning_rate": 1e30, "lr_scheduler_type": "constant", "warmup_steps": 0, "use_cpu": True}
    with pytest.raises(StageError, match=r"on the problems rows\.jsonl\[\d+\]"):
        run(store, global_batch_size=4, args=args)


@pytest.fixture
def data(rows, tmp_path):
    path = tmp_path / "mix" / "rows.jsonl"
    write(path, rows)
    return path


def test_a_training_on_packed_rows_that_was_killed_ends_with_the_same_bytes(run, data, encoder, tmp_path):
    args = {"max_steps": 10, "learning_rate": 3e-3, "logging_steps": 4, "save_steps": 3, "use_cpu": True}
    options = {"args": args, "global_batch_size": 3, "max_tokens_per_batch": 200, "normaliser": "targets"}
    out = tmp_path / "killed"
    store = TokenStore.of(data, encoder, tmp_path / ".tokens")
    kill_at(start(lambda: run(store, out=out, **options)), out, ".resume/checkpoint-6/*")
    assert not (out / "model").exists()
    calm, counts = run(store, **options)
    assert counts["packed_rows"] == len(set(store.packs.tolist()) - {ALONE})
    run(store, out=out, **options)
    assert left(out) == left(calm)


def test_rows_at_hand_and_rows_of_a_file_train_alike(run, rows, data, encoder, tmp_path):
    store = TokenStore.of(data, encoder, tmp_path / ".tokens")
    options = {"global_batch_size": 5, "normaliser": "targets"}
    (one, counts), (two, same) = run(rows, **options), run(store, **options)
    assert counts == same
    assert left(one) == left(two)
    assert isinstance(stored_groups(store, max_length=None)[0], StoredGroups)
