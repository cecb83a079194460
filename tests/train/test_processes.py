"""Two real processes over gloo, started by hand: `accelerate launch --cpu` silently runs one."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from align.io import write
from align.train.settings import Dpo, Kto, Rrtf

from .conftest import GRADIENT, GROUPS, LABELLED, PAIRS, SFT

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from align.io import read
from align.models.entry import Weights
from align.models.lora import Lora
from align.schema import PreferencePair, RankedGroup, SftRow, UnpairedRow
from align.train.options import Options
from align.train.run import train
from align.train.settings import Dpo, Kto, Rrtf
model, folder, args = Weights(model_name_or_path=sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
runs = {
    "sft": ("sft", SftRow, None, None),
    "rrtf": ("groups", RankedGroup, Rrtf(name="rrtf"), None),
    "dpo": ("pairs", PreferencePair, Dpo(name="dpo", sft_weight=0.2), None),
    "lora": ("pairs", PreferencePair, Dpo(name="dpo"), Lora(r=4)),
    "kto": ("labelled", UnpairedRow, Kto(name="kto"), None),
    "ragged": ("ragged", SftRow, None, None),
}
more = json.loads(sys.argv[4])
for name, (data, kind, loss, lora) in runs.items():
    out = folder / name
    out.mkdir(exist_ok=True)
    rows = read(folder / f"{data}.jsonl", kind)
    options = Options(loss=loss, lora=lora, args=args | more.get(name, {}), global_batch_size=24,
                      max_tokens_per_batch=400)
    train(rows, model, options, out=out, eval_rows=rows[:7] if name == "kto" else ())
(folder / f"world-{torch.distributed.get_rank()}").write_text(str(torch.distributed.get_world_size()))
"""
RAGGED = [row.model_copy(update={"completion": "x\n" * (1 + 50 * (n % 6 == 0))}) for n, row in enumerate(SFT)][:13]
"""A few long rows among many short ones, which two ranks cannot share out evenly, in batches that hold 13 rows."""
MORE = {
    "kto": {"max_steps": 2, "learning_rate": 2.0, "eval_strategy": "steps", "eval_steps": 1},
    "ragged": {"max_steps": 6, "learning_rate": 0.3},
}
"""Arguments beside those of a single step."""
ALONE = {
    "sft": (SFT, None),
    "rrtf": (GROUPS, Rrtf(name="rrtf")),
    "dpo": (PAIRS, Dpo(name="dpo", sft_weight=0.2)),
    "kto": (LABELLED, Kto(name="kto")),
    "ragged": (RAGGED, None),
}


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def launched(tiny, tmp_path_factory):
    """The folder in which two processes have trained every kind for a step."""
    folder = tmp_path_factory.mktemp("two")
    for name, rows in (
        *(("sft", SFT), ("groups", GROUPS), ("pairs", PAIRS)),
        *(("labelled", LABELLED), ("ragged", RAGGED)),
    ):
        write(folder / f"{name}.jsonl", rows)
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               str(folder / "script.py"), str(tiny()), str(folder), json.dumps(GRADIENT), json.dumps(MORE)]  # fmt: skip
    subprocess.run(command, check=True, timeout=240)
    return folder


def test_there_were_two_processes(launched):
    assert [(launched / f"world-{rank}").read_text() for rank in (0, 1)] == ["2", "2"]


@pytest.mark.parametrize("name", ALONE)
def test_two_processes_make_the_update_of_one(launched, run, tiny, name):
    rows, loss = ALONE[name]
    alone, _ = run(rows, loss, args=GRADIENT | MORE.get(name, {}), eval_rows=rows[:7] if name == "kto" else ())
    before, one, two = (
        load_file(folder / "model.safetensors") for folder in (tiny(), alone / "model", launched / name / "model")
    )
    largest = max(float((one[key] - before[key]).abs().max()) for key in one)
    assert largest > 1e-3
    assert all(float((one[key] - two[key]).abs().max()) <= 1e-5 * largest for key in one)
    assert metrics(launched / name) == [pytest.approx(line, rel=1e-4, abs=1e-5) for line in metrics(alone)]


@pytest.mark.parametrize("name", ["sft", "rrtf", "dpo", "lora"])
def test_rank_0_alone_writes(launched, name):
    (entry,) = metrics(launched / name)
    assert entry["step"] == 1
    assert (launched / name / "model" / "tokenizer.json").is_file()
    assert not list((launched / name).glob(".reference-*"))


def test_the_shares_of_the_reference_are_merged(launched):
    lines = (launched / "dpo" / "reference.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2 * len(PAIRS)
