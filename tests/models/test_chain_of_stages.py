"""SFT → RRTF → DPO with adapters → merge → 4 bits: every saved point says in a fresh process what it said here."""

import json
import subprocess
import sys

import pytest
import torch

from align.errors import DataError, StageError
from align.models import chain
from align.models.entry import Weights
from align.models.load import load_model
from align.models.lora import Lora
from align.models.merge import merge
from align.schema import PreferencePair, RankedGroup, SftRow
from align.train.options import Options
from align.train.run import train
from align.train.settings import Dpo, Rrtf

PROMPTS = [f"# add {n} to every item\n" for n in range(8)]
GOOD = [f"def f(xs):\n    return [x + {n} for x in xs]\n" for n in range(8)]
BAD = [f"return {n}\n" for n in range(8)]
SFT = [SftRow(prompt=p, completion=c) for p, c in zip(PROMPTS, GOOD, strict=True)]
PAIRS = [PreferencePair(problem_id=f"p{n}", prompt=PROMPTS[n], chosen=GOOD[n], rejected=BAD[n]) for n in range(8)]
GROUPS = [
    RankedGroup(
        problem_id=f"p{n}",
        prompt=PROMPTS[n],
        responses=[GOOD[n], BAD[n]],
        scores=[1.0, 0.0],
        roles=["teacher", "student"],
        models=["", ""],
    )
    for n in range(8)
]
ARGS = {"max_steps": 3, "learning_rate": 0.02, "save_strategy": "no", "logging_steps": 1, "use_cpu": True}
STAGES = [("sft", SFT, None), ("rrtf", GROUPS, Rrtf(name="rrtf")), ("dpo", PAIRS, Dpo(name="dpo"))]
SAID = """
import json, sys
import torch
from align.models.entry import Weights
from align.models.load import load_model
torch.set_num_threads(1)
found = []
for entry in json.loads(sys.argv[1]):
    model, _ = load_model(Weights(**entry))
    ids = torch.arange(2, 42).view(2, 20)
    with torch.no_grad():
        answer = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        found.append([answer.tolist(), float(model(input_ids=ids).logits.double().sum())])
print(json.dumps(found))
"""


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")


def said(entries):
    """Greedy answers and the sum of logits of each, in this process."""
    found = []
    for entry in entries:
        model, _ = load_model(entry)
        ids = torch.arange(2, 42).view(2, 20)
        with torch.no_grad():
            answer = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
            )
            found.append([answer.tolist(), float(model(input_ids=ids).logits.double().sum())])
    return found


def run_chain(start, folder, lora_of):
    """The model's folder of each stage."""
    below, folders = start, []
    for name, rows, loss in STAGES:
        (folder / name).mkdir(parents=True)
        asked = Options(loss=loss, lora=lora_of(name), global_batch_size=8, max_tokens_per_batch=10**5, args=ARGS)
        train(rows, below, asked, out=folder / name)
        folders.append(folder / name / "model")
        below = Weights(model_name_or_path=str(folders[-1]))
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("bits", [{}, {"load_in_8bit": True}])
def test_chains_of_every_class_say_in_a_fresh_process_what_they_said_here(tiny, tmp_path, bits):
    check_chains(tiny, tmp_path, bits, ["new"])


def test_every_saved_point_of_a_chain_says_in_a_fresh_process_what_it_said_here(tiny_bloom, tmp_path):
    check_chains(tiny_bloom, tmp_path, {"load_in_4bit": True}, ["new", "continue"])


def check_chains(tiny, tmp_path, bits, ways):
    start, entries, first = Weights(model_name_or_path=str(tiny), **bits), [], Lora(r=4)
    for way in ways:
        on = Lora.model_validate({"continue": True}) if way == "continue" else first
        folders = run_chain(start, tmp_path / way, lambda name, on=on: first if name == "sft" else on)
        whole = tmp_path / way / "whole"
        assert merge(Weights(model_name_or_path=str(folders[-1])), whole, "float32").difference <= 1e-4
        entries += [Weights(model_name_or_path=str(path)) for path in (*folders, whole)]
        entries.append(Weights(model_name_or_path=str(whole), load_in_4bit=True))
    here = said(entries)
    fresh = subprocess.run(
        [sys.executable, "-c", SAID, json.dumps([entry.model_dump() for entry in entries])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(fresh.stdout.splitlines()[-1]) == here
    for sft, rrtf, dpo, merged, _ in (here[place : place + 5] for place in range(0, len(here), 5)):
        assert dpo[0] == merged[0]
        assert len({sft[1], rrtf[1], dpo[1]}) == 3


def test_an_adapter_saved_against_the_wrong_base_is_found_and_without_the_check_says_something_else(
    tiny_bloom, tmp_path, monkeypatch
):
    start = Weights(model_name_or_path=str(tiny_bloom))
    folders = run_chain(start, tmp_path / "right", lambda _: Lora(r=4))
    right = said([Weights(model_name_or_path=str(folders[-1]))])
    path = folders[-1] / chain.FILE
    record = json.loads(path.read_text())
    # the published trap: the adapter of DPO names the raw base, in the place of the policy that it was trained on
    path.write_text(json.dumps(record | {"model_name_or_path": str(tiny_bloom)}))
    wrong = [Weights(model_name_or_path=str(folders[-1]))]
    with pytest.raises(DataError, match="other weights than this adapter was trained on"):
        said(wrong)
    monkeypatch.setattr(chain, "weights_digest", lambda folder: record["weights"])
    assert said(wrong)[0][1] != pytest.approx(right[0][1], abs=1e-3)


def test_a_stage_that_records_the_wrong_base_ends_with_an_error(tiny_bloom, tmp_path, monkeypatch):
    start = Weights(model_name_or_path=str(tiny_bloom))
    real = chain.write_base
    monkeypatch.setattr("align.train.save.write_base", lambda folder, entry, commit: real(folder, start, commit))
    with pytest.raises(StageError, match="loads as another model than was trained"):
        run_chain(start, tmp_path, lambda _: Lora(r=4))
