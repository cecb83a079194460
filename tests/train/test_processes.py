"""Two real processes over gloo, forked once for all of this file: `accelerate launch --cpu` silently runs one."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed
from torch.distributed.fsdp import fully_shard

from align.models.entry import Weights
from align.models.load import load_policy
from align.models.lora import Lora
from align.schema import MultitaskRow
from align.text.collate import Totals, collate
from align.text.encode import Encoder
from align.train.data import encode_rows
from align.train.objective import objective
from align.train.policy import Policy
from align.train.settings import Dpo, Kto, Rrtf

from .conftest import GRADIENT, GROUPS, LABELLED, PAIRS, SFT, two_processes

RAGGED = [row.model_copy(update={"completion": "x\n" * (1 + 50 * (n % 6 == 0))}) for n, row in enumerate(SFT)][:13]
"""A few long rows among many short ones, which two ranks cannot share out evenly, in batches that hold 13 rows."""
PACKED = [
    MultitaskRow(
        inputs=row.prompt, targets="yes" if n % 3 else row.completion, pack=n // 3, task=("a", "b")[n % 5 == 0]
    )
    for n, row in enumerate(SFT)
]
"""Short targets among long ones, in packed rows of which a batch leaves some over."""
EACH = {"eval_strategy": "steps", "eval_steps": 1}
RUNS = {
    "sft": (SFT, {}, {}),
    "rrtf": (GROUPS, {"loss": Rrtf(name="rrtf")}, {}),
    "dpo": (PAIRS, {"loss": Dpo(name="dpo", sft_weight=0.2)}, {}),
    "lora": (PAIRS, {"loss": Dpo(name="dpo"), "lora": Lora(r=4)}, {}),
    "kto": (LABELLED, {"loss": Kto(name="kto")}, EACH | {"max_steps": 2, "learning_rate": 2.0}),
    "ragged": (RAGGED, {}, {"max_steps": 6, "learning_rate": 0.3}),
    "packed": (
        PACKED,
        {"normaliser": "targets", "global_batch_size": 5},
        EACH | {"max_steps": 3, "learning_rate": 0.3},
    ),
}
"""Name → rows, options, and arguments beside those of a single step."""
SHARDED = {"sft": (SFT, None), "rrtf": (GROUPS, Rrtf(name="rrtf")), "dpo": (PAIRS, Dpo(name="dpo"))}


def trained(run, name, **more):
    rows, options, args = RUNS[name]
    held_out = rows[:7] if args.get("eval_strategy") else ()
    return run(rows, args=GRADIENT | args, eval_rows=held_out, **options, **more)


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def gradients(policy, groups, share, loss):
    # every micro-batch is divided by the counts of the whole step, so ranks are summed
    batch = collate(share, Totals.of(groups), pad_id=0, layout=policy.layout)
    output = policy(batch)
    batch["reference_N"] = torch.full_like(output.logp.token.detach(), -3.0)
    objective(loss)(output, batch).loss.backward()
    return {name: parameter.grad for name, parameter in policy.named_parameters()}


def furthest_sharded(model, rows, loss):
    """The largest gradient of one process, and how far that of two under FSDP2 is from it."""
    rank, size = distributed.get_rank(), distributed.get_world_size()
    whole, sharded = (Policy(load_policy(Weights(model_name_or_path=str(model)), None)[0]) for _ in range(2))
    tokenizer = load_policy(Weights(model_name_or_path=str(model)), None)[1]
    groups = encode_rows(rows, Encoder(tokenizer), max_length=128).groups
    expected = gradients(whole, groups, groups, loss)
    for block in sharded.causal.base_model.h:
        fully_shard(block)
    fully_shard(sharded)
    found = gradients(sharded, groups, groups[rank::size], loss)
    # FSDP averages over the ranks
    apart = (float((value.full_tensor() * size - expected[name]).abs().max()) for name, value in found.items())
    return max(float(value.abs().max()) for value in expected.values()), max(apart)


@pytest.fixture(scope="module")
def launched(tiny, train_in, tmp_path_factory):
    """The folder in which two processes have trained every kind, and computed a step of sharded weights."""
    folder = tmp_path_factory.mktemp("two")

    def work():
        for name in RUNS:
            trained(train_in(folder), name, out=folder / name, max_tokens_per_batch=400)
        found = {name: furthest_sharded(tiny(), rows, loss) for name, (rows, loss) in SHARDED.items()}
        told = {"world": distributed.get_world_size(), "sharded": found}
        (folder / f"rank-{distributed.get_rank()}.json").write_text(json.dumps(told))

    tiny()
    two_processes(work)
    return folder


@pytest.mark.slow
def test_twenty_steps_of_two_processes_are_those_of_one(run, tiny, tmp_path):
    args = {"learning_rate": 3e-4, "max_steps": 20, "logging_steps": 1, "save_strategy": "no", "use_cpu": True}
    options = {"args": args, "global_batch_size": 8, "max_tokens_per_batch": 400}
    start = load_file(tiny() / "model.safetensors")
    two_processes(lambda: [run(rows, loss, out=tmp_path / name, **options) for name, (rows, loss) in SHARDED.items()])
    for name, (rows, loss) in SHARDED.items():
        alone, _ = run(rows, loss, **options)
        one, two = (load_file(path / "model" / "model.safetensors") for path in (alone, tmp_path / name))
        assert max(float((one[key] - start[key]).abs().max()) for key in one) > 1e-3
        assert max(float((one[key] - two[key]).abs().max()) for key in one) <= 1e-5, name
        losses = [[line["loss"] for line in metrics(path)] for path in (alone, tmp_path / name)]
        assert len(losses[0]) == 20
        assert losses[1] == pytest.approx(losses[0], rel=1e-5, abs=1e-5), name


def told(folder):
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def test_there_were_two_processes(launched):
    assert [found["world"] for found in told(launched)] == [2, 2]


@pytest.mark.parametrize("name", sorted(RUNS.keys() - {"lora"}))
def test_two_processes_make_the_update_of_one(launched, run, tiny, name):
    alone, _ = trained(run, name)
    before, one, two = (
        load_file(folder / "model.safetensors") for folder in (tiny(), alone / "model", launched / name / "model")
    )
    largest = max(float((one[key] - before[key]).abs().max()) for key in one)
    assert largest > 1e-3
    assert all(float((one[key] - two[key]).abs().max()) <= 1e-5 * largest for key in one)
    assert metrics(launched / name) == [pytest.approx(line, rel=1e-4, abs=1e-5) for line in metrics(alone)]


def test_the_loss_of_each_task_is_among_what_is_compared(launched):
    evaluated = [line for line in metrics(launched / "packed") if "eval_loss" in line]
    assert len(evaluated) == 3
    assert all(len({line["eval_loss"], line["eval_a_loss"], line["eval_b_loss"]}) == 3 for line in evaluated)


@pytest.mark.parametrize("name", ["sft", "rrtf", "dpo", "lora"])
def test_rank_0_alone_writes(launched, name):
    (entry,) = metrics(launched / name)
    assert entry["step"] == 1
    assert (launched / name / "model" / "tokenizer.json").is_file()
    assert not list((launched / name).glob(".reference-*"))


def test_the_shares_of_the_reference_are_merged(launched):
    lines = (launched / "dpo" / "reference.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2 * len(PAIRS)


@pytest.mark.parametrize("name", SHARDED)
def test_the_step_under_fsdp2_has_the_gradients_of_one_process(launched, name):
    for found in told(launched):
        largest, apart = found["sharded"][name]
        assert largest > 1e-3
        assert apart <= 1e-5 * max(largest, 1.0)
