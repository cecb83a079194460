"""A trl trainer and the recipe that does the same: the same losses and weights, by the tables of recipes/trl.md.

The rows of the tables are what is run: their left side is evaluated as Python, their right side read as a stage.
"""

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from align.stages import align as align_stage
from align.stages import sft as sft_stage
from align.text.plan import Size, plan_batches
from align.train.arguments import check_arguments

from .conftest import PAIRS, SFT

datasets, peft, trl = pytest.importorskip("datasets"), pytest.importorskip("peft"), pytest.importorskip("trl")

SECTION = (Path(__file__).parents[2] / "recipes" / "trl.md").read_text()
SAME, APART, KEYS = (
    [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    for table in re.findall(r"(?:^\|.*\n)+", SECTION, re.MULTILINE)
)
CLOSE = 1e-5
STEPS, BATCH = 3, 8
ARGS = {
    "optim": "sgd",
    "learning_rate": 0.5,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "max_steps": STEPS,
    "logging_strategy": "no",
    "save_strategy": "no",
    "use_cpu": True,
}


class Ran(NamedTuple):
    """What a run leaves to compare."""

    losses: list[float]
    """Of each optimizer step."""
    weights: dict[str, torch.Tensor]
    micro_batches: int


class Compared(NamedTuple):
    """The greatest relative differences; of the weights, relative to the largest update."""

    loss: float
    weights: float
    first: tuple[float, float]
    """The first step's loss: ours, theirs."""


class Row(NamedTuple):
    """One line of the first two tables, ready to run."""

    trainer: str
    options: dict
    stage: dict


def row(left: str, right: str) -> Row:
    """`DPOTrainer(args=DPOConfig(…))` and `{use: align, …}` as they stand in the table."""
    # the configurations are made later, with what all rows share
    names = {"SFTConfig": dict, "DPOConfig": dict, "LoraConfig": peft.LoraConfig}
    trainer, _, inner = left.strip("`").partition("(")
    return Row(trainer, eval(f"dict({inner}", names), YAML(typ="safe").load(right.strip("`")))


@pytest.fixture
def steps(monkeypatch):
    """(step, loss) of every micro-batch of whichever trainer runs: trl's and ours call the same method."""
    seen: list[tuple[int, float]] = []
    inner = Trainer.training_step

    def training_step(self, *args, **options):
        share = inner(self, *args, **options)
        seen.append((self.state.global_step, float(share)))
        return share

    monkeypatch.setattr(Trainer, "training_step", training_step)
    # trl reports every trainer that is made
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    datasets.disable_progress_bars()
    return seen


@pytest.fixture
def compare(steps, run, tiny, tmp_path):
    """Run a row of the table both ways on the same rows."""

    def ran(weights):
        losses = [sum(loss for at, loss in steps if at == step) for step in range(STEPS)]
        found = Ran(losses, weights, len(steps))
        steps.clear()
        return found

    def ours(rows, stage, model, args):
        kinds = {"sft": sft_stage, "align": align_stage}
        given = {name: value for name, value in stage.items() if name != "use"}
        config = kinds[stage["use"]].Config(model="m", data="d", args=args, **given)
        # small enough to cut every step, by length and not where trl cuts it
        options = config.options(seed=0) | {"global_batch_size": BATCH, "max_tokens_per_batch": 200}
        out, _ = run(rows, model=model, **options)
        (path,) = (out / "model").glob("*.safetensors")
        return ran(load_file(path))

    def both(row, rows=None, *, model=None, args=ARGS):
        rows = rows or (SFT if row.trainer == "SFTTrainer" else PAIRS)
        model = model or tiny()
        mine = ours(rows, row.stage, model, args)
        trainer = trl_trainer(row, in_our_order(rows), model, args, tmp_path / "trl")
        before = state(trainer)
        trainer.train()
        return compared(before, mine, ran(state(trainer)))

    return both


def compared(before, ours, theirs):
    """How far two runs end apart that start at the same weights."""
    assert ours.micro_batches >= 2 * STEPS
    update = max(float((theirs.weights[name] - before[name]).abs().max()) for name in ours.weights)
    assert update > 1e-3
    apart = max(float((value - theirs.weights[name]).abs().max()) for name, value in ours.weights.items())
    losses = zip(ours.losses, theirs.losses, strict=True)
    return Compared(max(abs(a - b) / abs(b) for a, b in losses), apart / update, (ours.losses[0], theirs.losses[0]))


def trl_trainer(row, rows, model, args, out):
    """The row's left side, made: steps of 2 × 4 rows in the order of the rows."""
    config = {"SFTTrainer": trl.SFTConfig, "DPOTrainer": trl.DPOConfig}[row.trainer]
    shared = {
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "activation_checkpointing": False,
        "seed": 0,
    }
    columns = {"prompt", "completion", "chosen", "rejected"}
    return getattr(trl, row.trainer)(
        AutoModelForCausalLM.from_pretrained(model),
        args=config(output_dir=str(out), **(shared | args | row.options.get("args", {}))),
        train_dataset=datasets.Dataset.from_list([r.model_dump(include=columns) for r in rows]),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=row.options.get("peft_config"),
    )


def in_our_order(rows):
    """The rows as our plan takes them, step by step, for a trl trainer that does not shuffle."""
    plan = plan_batches(
        [Size(1, 1, 1)] * len(rows), global_batch_size=BATCH, max_tokens_per_batch=BATCH, world_size=1, seed=0, epochs=1
    )
    return [rows[i] for step in plan.steps for i in step]


def state(trainer):
    """Copies of a trl trainer's weights, adapters under the names that peft saves them by."""
    return {name.replace(".default", ""): value.clone() for name, value in trainer.model.state_dict().items()}


def figures(cell):
    """The numbers of a `found` cell, by what stands before them."""
    return {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+(?:e-?\d+)?)", cell)}


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "bloom"])
@pytest.mark.parametrize("cells", SAME, ids=lambda cells: cells[1].strip("`{}"))
def test_a_row_of_the_table_trains_as_trl_does(cells, architecture, compare, tiny):
    found = compare(row(*cells[:2]), model=tiny(architecture))
    assert found.loss <= CLOSE
    assert found.weights <= CLOSE
    assert 0 < max(figures(cells[2]).values()) <= CLOSE


def test_the_table_holds_every_loss_we_share_with_trl():
    stages = [row(*cells[:2]).stage for cells in SAME]
    losses = [stage["loss"] for stage in stages if "loss" in stage]
    assert {loss.get("loss_type", "sigmoid") for loss in losses} == {"sigmoid", "ipo", "hinge"}
    assert {"label_smoothing", "sft_weight"} <= {key for loss in losses for key in loss}
    assert {(stage["use"], "lora" in stage) for stage in stages} == {(u, x) for u in ("sft", "align") for x in (0, 1)}


@pytest.mark.parametrize("cells", [SAME[0], SAME[2]], ids=["sft", "dpo"])
def test_adamw_gives_the_same_losses_too(cells, compare):
    found = compare(row(*cells[:2]), args=ARGS | {"optim": "adamw_torch", "learning_rate": 1e-3})
    assert found.loss <= CLOSE
    assert found.weights <= 1e-3


DPO = "`{use: align, loss: {name: dpo}}`"
SEAM = [
    r.model_copy(update={"prompt": r.prompt + "def f(xs):\n", "chosen": "    return [x]\n", "rejected": "    pass\n"})
    for r in PAIRS
]
PARTS = {
    "accumulated": ("gpt_bigcode", *SAME[-1][:2], PAIRS),
    "last step": ("gpt_bigcode", "DPOTrainer(args=DPOConfig())", DPO, PAIRS[:22]),
    "within a token": ("gpt_bigcode", "DPOTrainer(args=DPOConfig())", DPO, SEAM),
    "padding_free": ("bloom", "SFTTrainer(args=SFTConfig(padding_free=True, max_length=None))", "{use: sft}", SFT),
}


def part(word):
    """The line of the second table that holds a word."""
    (cells,) = [cells for cells in APART if word in cells[0]]
    return cells


@pytest.mark.parametrize("word", PARTS)
def test_where_the_two_part_the_table_says_by_how_much(word, compare, tiny):
    architecture, left, right, rows = PARTS[word]
    if word == "accumulated":
        left = left.replace("per_device_train_batch_size=8, gradient_accumulation_steps=1", "")
    found = compare(row(left, right), rows, model=tiny(architecture))
    assert found.weights > 100 * CLOSE
    expected = {"loss": found.loss, "weights": found.weights}
    assert figures(part(word)[2]) == pytest.approx(expected, rel=0.1, abs=1e-6)


def test_dropout_that_trl_leaves_on_moves_its_first_loss(compare, tiny, tmp_path):
    folder = shutil.copytree(tiny(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {name: 0.1 for name in config if "drop" in name}
    (folder / "config.json").write_text(json.dumps(config))
    ours, theirs = compare(row("DPOTrainer(args=DPOConfig())", DPO), model=folder).first
    assert ours == pytest.approx(math.log(2), abs=1e-6)
    assert abs(theirs - math.log(2)) > 1e-4
    assert figures(part("dropout")[2])["loss"] == pytest.approx(theirs, abs=1e-4)


def test_rows_above_max_length_lose_their_end_in_trl_and_are_counted_here(run, tiny, tmp_path, steps):
    count, limit = map(int, re.findall(r"(\d+) of 24 rows at (\d+) tokens", part("max_length")[2])[0])
    config = trl.SFTConfig(output_dir=str(tmp_path), max_length=limit, report_to="none", bf16=False, use_cpu=True)
    tokenizer = AutoTokenizer.from_pretrained(tiny())
    table = datasets.Dataset.from_list([r.model_dump() for r in SFT])
    theirs = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(tiny()), args=config, train_dataset=table, processing_class=tokenizer
    ).train_dataset["input_ids"]
    _, counts = run(SFT, args=ARGS, max_length=limit)
    assert len(theirs) == len(SFT)
    assert sum(ids[-1] != tokenizer.eos_token_id for ids in theirs) == count
    assert counts["dropped"] == {"too_long": count}


def test_the_stage_with_trls_defaults_written_out_is_just_that():
    stage = YAML(typ="safe").load(re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[0])
    assert stage.pop("use") == "align"
    config = align_stage.Config(**stage)
    theirs = trl.DPOConfig(output_dir="out", use_cpu=True, report_to="none")
    assert {name: getattr(theirs, name) for name in config.args} == config.args
    assert (config.loss.beta, config.max_length) == (theirs.beta, theirs.max_length)
    assert config.global_batch_size == theirs.per_device_train_batch_size * theirs.gradient_accumulation_steps


VALUES = {"bf16": True, "max_steps": 9}
TABLE = {key: cells[1] for cells in KEYS for key in re.findall(r"`(\w+)`", cells[0])}


@pytest.mark.parametrize("key", TABLE)
def test_a_key_of_trls_is_accepted_or_refused_with_the_tables_line(key):
    value = VALUES.get(key, getattr(trl.DPOConfig, key, 1))
    faults = [fault.message for fault in check_arguments({key: value})]
    assert faults == ([] if TABLE[key].startswith("accepted") else [TABLE[key].replace("`", "")])


def test_the_table_holds_every_field_that_trl_adds():
    base = {field.name for field in dataclasses.fields(TrainingArguments)}
    added = {field.name for kind in (trl.SFTConfig, trl.DPOConfig) for field in dataclasses.fields(kind)} - base
    assert added
    assert added <= set(TABLE)
