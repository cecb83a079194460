"""Something else is measured in the middle of a training, which does not notice. On one process and on two."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from align.errors import ConfigError
from align.generate.hf import HfGenerator
from align.generate.request import Request, Sampling
from align.io import write
from align.models.lora import Lora
from align.train.measure import FILE, check_whole

from .conftest import SFT
from .test_validation import ROWS

ARGS = {"max_steps": 4, "learning_rate": 0.03, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "no",
        "logging_steps": 1, "use_cpu": True}  # fmt: skip


class Asked:
    """Generates, and leaves as much of a mess as it can."""

    def __init__(self):
        self.answers, self.modes = [], []

    def prepare(self, tokenizer, positions):
        return ["answers"]

    def __call__(self, model, tokenizer):
        self.modes.append({module.training for module in model.modules()})
        requests = [
            Request(prompt=prompt, sampling=Sampling(temperature=0, max_new_tokens=8))
            for prompt in ("# add 1", "# add 2 to every item")
        ]
        replies = {}
        for batch in HfGenerator(model, tokenizer).generate(requests):
            replies |= batch
        self.answers.append([replies[place].text for place in range(2)])
        random.random(), np.random.rand(), torch.rand(3)
        return {"answers": float(sum(map(len, self.answers[-1])))}


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("gpt_bigcode", {"disable_dropout": False}),
        ("bloom", {}),
        ("starcoder2", {"lora": Lora(r=4), "backend": "plain"}),
        ("gpt_bigcode", {"lora": Lora(r=4), "args": {"activation_checkpointing": True}}),
        ("bloom", {"args": {"bf16": True}}),
    ],
)
def test_generating_does_not_change_what_is_trained(run, tiny, architecture, options):
    options = dict(options)
    args = ARGS | options.pop("args", {})
    asked, made = Asked(), []
    for measure in (None, asked):
        out, _ = run(SFT[:12], model=tiny(architecture), eval_rows=SFT[12:], args=args, measure=measure,
                     global_batch_size=4, max_tokens_per_batch=400, **options)  # fmt: skip
        made.append({path.name: path.read_bytes() for path in (out / "model").iterdir() if path.name != "base.json"})
    assert made[0] == made[1], "weights, tokenizer and the way of generating"
    assert asked.modes == [{False}] * 4
    assert len({str(answers) for answers in asked.answers}) > 1, "it is the model as it is trained that answers"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["eval_answers"] for line in lines if "eval_loss" in line] == [
        sum(map(len, answers)) for answers in asked.answers
    ]


def test_other_rows_than_the_trainers_own_are_not_asked(run, tiny, tmp_path):
    from .test_eval import trainer

    made, asked = trainer(tiny, tmp_path, SFT[:4], max_steps=1), Asked()
    made.measure = asked
    assert "eval_answers" not in made.evaluate(SFT[4:8])
    assert not asked.answers


def test_divided_weights_are_refused_in_one_line():
    check_whole(sharded=False, what="eval_generate")
    with pytest.raises(ConfigError, match=r"^eval_generate: not under FSDP or DeepSpeed, .*: add a score stage"):
        check_whole(sharded=True, what="eval_generate")


SCRIPT = """
import json, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[4])
from tests.train.test_measure import Asked
from align.io import read
from align.models.entry import Weights
from align.schema import MultitaskRow
from align.train.options import Options
from align.train.run import train
model, folder, args = Weights(model_name_or_path=sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
rows, asked = read(folder / "rows.jsonl", MultitaskRow), Asked()
train(rows[:8], model, Options(args=args, global_batch_size=4, max_tokens_per_batch=100, normaliser="targets"),
      out=folder / "two", eval_rows=rows[8:], measure=asked)
(folder / f"asked-{torch.distributed.get_rank()}").write_text(str(len(asked.answers)))
"""


@pytest.mark.slow
def test_two_processes_measure_select_and_part_as_one(run, tiny, tmp_path, request):
    args = ARGS | {"save_strategy": "steps", "save_steps": 2, "eval_steps": 2, "load_best_model_at_end": True,
                   "metric_for_best_model": "stop_loss"}  # fmt: skip
    write(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "two").mkdir()
    # what a killed run left
    (tmp_path / "two" / FILE).write_text('{"answers": -1}')
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    given = [tmp_path / "script.py", tiny(), tmp_path, json.dumps(args), request.config.rootpath]
    subprocess.run([*launch, *map(str, given)], check=True, timeout=240)
    assert [(tmp_path / f"asked-{rank}").read_text() for rank in (0, 1)] == ["2", "0"]
    assert not (tmp_path / "two" / FILE).exists()
    alone, counts = run(ROWS[:8], eval_rows=ROWS[8:], args=args, measure=Asked(), normaliser="targets",
                        global_batch_size=4)  # fmt: skip
    one, two = (
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (alone, tmp_path / "two")
    )
    assert two == [pytest.approx(line, rel=1e-4, abs=1e-5) for line in one]
    best = f"checkpoint-{counts['best_step']}"
    name = "model.safetensors"
    two = tmp_path / "two"
    assert (two / "model" / name).read_bytes() == (two / "checkpoints" / best / name).read_bytes()
