"""Two real processes over gloo, started by hand: `accelerate launch --cpu` silently runs one."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from align.io import write
from align.train.settings import Dpo, Rrtf

from .conftest import GRADIENT, GROUPS, PAIRS, SFT

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from align.io import read
from align.models.entry import Weights
from align.models.lora import Lora
from align.schema import PreferencePair, RankedGroup, SftRow
from align.train.run import train
from align.train.settings import Dpo, Rrtf
model, folder, args = Weights(model_name_or_path=sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
runs = {
    "sft": ("sft", SftRow, None, None),
    "rrtf": ("groups", RankedGroup, Rrtf(name="rrtf"), None),
    "dpo": ("pairs", PreferencePair, Dpo(name="dpo", sft_weight=0.2), None),
    "lora": ("pairs", PreferencePair, Dpo(name="dpo"), Lora(r=4)),
}
for name, (data, kind, loss, lora) in runs.items():
    out = folder / name
    out.mkdir(exist_ok=True)
    train(read(folder / f"{data}.jsonl", kind), model, out=out, seed=0, loss=loss, lora=lora, args=args,
          global_batch_size=24, max_tokens_per_batch=1500, max_length=None, disable_dropout=True)
(folder / f"world-{torch.distributed.get_rank()}").write_text(str(torch.distributed.get_world_size()))
"""
ALONE = {
    "sft": (SFT, None),
    "rrtf": (GROUPS, Rrtf(name="rrtf")),
    "dpo": (PAIRS, Dpo(name="dpo", sft_weight=0.2)),
}


@pytest.fixture(scope="module")
def launched(tiny, tmp_path_factory):
    """The folder in which two processes have trained every kind for a step."""
    folder = tmp_path_factory.mktemp("two")
    for name, rows in (("sft", SFT), ("groups", GROUPS), ("pairs", PAIRS)):
        write(folder / f"{name}.jsonl", rows)
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               str(folder / "script.py"), str(tiny()), str(folder), json.dumps(GRADIENT)]  # fmt: skip
    subprocess.run(command, check=True, timeout=240)
    return folder


def test_there_were_two_processes(launched):
    assert [(launched / f"world-{rank}").read_text() for rank in (0, 1)] == ["2", "2"]


@pytest.mark.parametrize("name", ALONE)
def test_two_processes_make_the_update_of_one(launched, run, tiny, name):
    alone, _ = run(*ALONE[name])
    before, one, two = (
        load_file(folder / "model.safetensors") for folder in (tiny(), alone / "model", launched / name / "model")
    )
    largest = max(float((one[key] - before[key]).abs().max()) for key in one)
    assert largest > 1e-3
    assert all(float((one[key] - two[key]).abs().max()) <= 1e-5 * largest for key in one)


@pytest.mark.parametrize("name", ["sft", "rrtf", "dpo", "lora"])
def test_rank_0_alone_writes(launched, name):
    (entry,) = [json.loads(line) for line in (launched / name / "metrics.jsonl").read_text().splitlines()]
    assert entry["step"] == 1
    assert (launched / name / "model" / "tokenizer.json").is_file()
    assert not list((launched / name).glob(".reference-*"))


def test_the_shares_of_the_reference_are_merged(launched):
    lines = (launched / "dpo" / "reference.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2 * len(PAIRS)
