"""Tiny models, ragged rows of each training form, one call that trains, and processes that train."""

import itertools
import multiprocessing
import os
import socket
import time

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from align.models.entry import Weights
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import PreferencePair, RankedGroup, SftRow, UnpairedRow
from align.train.options import Options
from align.train.run import train
from align.train.settings import Dpo, Rrhf, Rrtf

os.environ["ACCELERATE_USE_CPU"] = "1"
# models this small only wait for a second thread; processes that a test starts read the variable
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

GRADIENT = {
    "optim": "sgd",
    "learning_rate": 1.0,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "max_grad_norm": 0.0,
    "max_steps": 1,
    "logging_steps": 1,
    "save_strategy": "no",
    "use_cpu": True,
}
"""With these the update of one step is the gradient."""


def completion(n):
    return f"def f(xs):\n    return [x + {n} for x in xs]\n" + "    # done\n" * (n % 3)


def prompt(n):
    return f"# add {n} to every item" + ", then stop" * (n % 4) + "\n"


SFT = [SftRow(prompt=prompt(n), completion=completion(n)) for n in range(24)]
PAIRS = [
    PreferencePair(problem_id=f"p{n}", prompt=prompt(n), chosen=completion(n), rejected=f"def f(x):\n    return {n}\n")
    for n in range(24)
]
LABELLED = [
    UnpairedRow(prompt=prompt(n), completion=completion(n) if n % 3 else f"return {n}\n", label=n % 3 > 0)
    for n in range(24)
]
GROUPS = [
    RankedGroup(
        problem_id=f"p{n}",
        prompt=prompt(n),
        responses=[completion(n), completion(n).replace("+", "-"), f"return {n}", "pass\n" * (1 + n % 3)][: 2 + n % 3],
        scores=[(1.0, 0.3, 0.3, 0.0)[(i + n) % 4] for i in range(2 + n % 3)],
        roles=["teacher", "student", "student", "student"][: 2 + n % 3],
        models=[""] * (2 + n % 3),
        sft_targets=None if n % 5 else [],
    )
    for n in range(24)
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Architecture → folder of a tiny model."""
    made = {}

    def folder(architecture="gpt_bigcode"):
        if architecture not in made:
            tokenizer = train_tokenizer([row.prompt + row.completion for row in SFT], 300)
            shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position": 128}
            model = random_model(architecture, vocab_size=len(tokenizer), seed=0, **shape)
            made[architecture] = tmp_path_factory.mktemp(architecture) / "model"
            save_tiny(model, tokenizer, made[architecture])
        return made[architecture]

    return folder


@pytest.fixture(scope="session")
def train_in(tiny):
    """Folder → train in a new folder below it (or in `out`), by default one step whose update is the gradient."""

    def made(folder):
        count = itertools.count(1)

        def trained(rows, loss=None, *, model=None, out=None, args=None, eval_rows=(), measure=None, **options):
            out = out or folder / f"run{next(count)}"
            out.mkdir(exist_ok=True)
            given = {"global_batch_size": 24, "max_tokens_per_batch": 10**6} | options
            entry = Weights(model_name_or_path=str(model or tiny()))
            asked = Options(loss=loss, args=GRADIENT if args is None else args, **given)
            counts = train(rows, entry, asked, out=out, eval_rows=eval_rows, measure=measure)
            return out, counts

        return trained

    return made


@pytest.fixture
def run(train_in, tmp_path):
    """`train_in` a test's own folder."""
    return train_in(tmp_path)


def start(work, *, rank=0, ranks=1, port=0):
    """A process that does some work, forked: what it needs is imported already."""

    def forked():
        # what the tests before have trained with is not this process's
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        if ranks > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
            os.environ |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        work()

    process = multiprocessing.get_context("fork").Process(target=forked)
    process.start()
    return process


def two_processes(work):
    """Do the same work on two ranks, over gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [start(work, rank=rank, ranks=2, port=port) for rank in range(2)]
    # one that fails would have the other wait for it
    while any(process.is_alive() for process in both) and not any(process.exitcode for process in both):
        time.sleep(0.01)
    for process in both:
        process.kill()
        process.join()
    assert [process.exitcode for process in both] == [0, 0]


def kill_at(process, folder, pattern):
    """Kill a process with SIGKILL as soon as there is such a file in the folder."""
    while not list(folder.glob(pattern)) and process.is_alive():
        time.sleep(0.002)
    process.kill()
    process.join()


@pytest.fixture(params=["sft", "rrtf", "rrhf", "dpo"])
def case(request):
    """(rows, loss) of each kind of training."""
    return {
        "sft": (SFT, None),
        "rrtf": (GROUPS, Rrtf(name="rrtf")),
        "rrhf": (GROUPS, Rrhf(name="rrhf", rank_weight=0.5)),
        "dpo": (PAIRS, Dpo(name="dpo", sft_weight=0.2)),
    }[request.param]
