"""Two real processes over gloo: twenty steps of AdamW by the trainer under DDP, and the step module under FSDP2."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from align.io import write
from align.train.settings import Dpo, Rrtf

from .conftest import GROUPS, PAIRS, SFT

ARGS = {
    "learning_rate": 3e-4,
    "max_steps": 20,
    "logging_steps": 1,
    "save_strategy": "no",
    "use_cpu": True,
}
OPTIONS = {"global_batch_size": 8, "max_tokens_per_batch": 400}
RUNS = {"sft": (SFT, None), "rrtf": (GROUPS, Rrtf(name="rrtf")), "dpo": (PAIRS, Dpo(name="dpo"))}

DDP = """
import json, sys
from pathlib import Path
import torch
from align.io import read
from align.models.entry import Weights
from align.schema import PreferencePair, RankedGroup, SftRow
from align.train.options import Options
from align.train.run import train
from align.train.settings import Dpo, Rrtf
model, folder = Weights(model_name_or_path=sys.argv[1]), Path(sys.argv[2])
args, options = map(json.loads, sys.argv[3:])
runs = {"sft": (SftRow, None), "rrtf": (RankedGroup, Rrtf(name="rrtf")), "dpo": (PreferencePair, Dpo(name="dpo"))}
for name, (kind, loss) in runs.items():
    (folder / name).mkdir(exist_ok=True)
    train(read(folder / f"{name}.jsonl", kind), model, Options(loss=loss, args=args, **options), out=folder / name)
    assert torch.distributed.get_world_size() == 2
(folder / f"world-{torch.distributed.get_rank()}").write_text(str(torch.distributed.get_world_size()))
"""

SHARDED = """
import sys
from pathlib import Path
import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from align.io import read
from align.models.entry import Weights
from align.models.load import load_policy
from align.schema import PreferencePair, RankedGroup, SftRow
from align.text.encode import Encoder
from align.text.collate import Totals, collate
from align.train.data import encode_rows
from align.train.objective import objective
from align.train.policy import Policy
from align.train.settings import Dpo, Rrtf

def gradients(policy, groups, share, loss):
    # every micro-batch is divided by the counts of the whole step, so ranks are summed
    batch = collate(share, Totals.of(groups), pad_id=0, layout=policy.layout)
    output = policy(batch)
    batch["reference_N"] = torch.full_like(output.logp.token.detach(), -3.0)
    objective(loss)(output, batch).loss.backward()
    return {name: parameter.grad for name, parameter in policy.named_parameters()}

distributed.init_process_group("gloo")
rank, size = distributed.get_rank(), distributed.get_world_size()
assert size == 2
entry, folder = Weights(model_name_or_path=sys.argv[1]), Path(sys.argv[2])
worst = 0.0
for name, kind, loss in (("sft", SftRow, None), ("rrtf", RankedGroup, Rrtf(name="rrtf")),
                         ("dpo", PreferencePair, Dpo(name="dpo"))):
    whole, sharded = (Policy(load_policy(entry, None, disable_dropout=True)[0]) for _ in range(2))
    encoder = Encoder(load_policy(entry, None, disable_dropout=True)[1])
    groups = encode_rows(read(folder / f"{name}.jsonl", kind), encoder, max_length=128).groups
    expected = gradients(whole, groups, groups, loss)
    for block in sharded.causal.base_model.h:
        fully_shard(block)
    fully_shard(sharded)
    found = gradients(sharded, groups, groups[rank::2], loss)
    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 1e-3, name
    for key, value in found.items():
        # FSDP averages over the ranks
        difference = float((value.full_tensor() * size - expected[key]).abs().max())
        assert difference <= 1e-5 * max(largest, 1.0), (name, key, difference)
(folder / f"sharded-{rank}").write_text(str(size))
"""


def launch(folder, script, *arguments):
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run(
        [*command, str(folder / "script.py"), *arguments], capture_output=True, text=True, timeout=540
    )
    assert ended.returncode == 0, ended.stderr[:4000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The rows of every kind of training."""
    found = tmp_path_factory.mktemp("long")
    for name, (rows, _) in RUNS.items():
        write(found / f"{name}.jsonl", rows)
    return found


@pytest.mark.slow
def test_twenty_steps_of_two_processes_are_those_of_one(folder, run, tiny):
    launch(folder, DDP, str(tiny()), str(folder), json.dumps(ARGS), json.dumps(OPTIONS))
    assert [(folder / f"world-{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    start = load_file(tiny() / "model.safetensors")
    for name, (rows, loss) in RUNS.items():
        alone, _ = run(rows, loss, args=ARGS, **OPTIONS)
        one, two = (load_file(path / "model" / "model.safetensors") for path in (alone, folder / name))
        assert max(float((one[key] - start[key]).abs().max()) for key in one) > 1e-3
        assert max(float((one[key] - two[key]).abs().max()) for key in one) <= 1e-5, name
        losses = [
            [json.loads(line)["loss"] for line in (path / "metrics.jsonl").read_text().splitlines()]
            for path in (alone, folder / name)
        ]
        assert len(losses[0]) == 20
        assert losses[1] == pytest.approx(losses[0], rel=1e-5, abs=1e-5), name


def test_the_step_under_fsdp2_has_the_gradients_of_one_process(folder, tiny):
    launch(folder, SHARDED, str(tiny()), str(folder))
    assert [(folder / f"sharded-{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
