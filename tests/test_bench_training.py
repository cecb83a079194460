"""scripts/bench/training.py: what it writes, that it measures equal steps only, and how it measures."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("trl")

BENCH = Path(__file__).parents[1] / "scripts" / "bench"
CPU = torch.device("cpu")
KEYS = ["model", "vocab", "loss", "k", "lengths", "variant", "against", "time_ratio", "memory_ratio", "equal"]


@pytest.fixture
def module(monkeypatch):
    """A module of the bench by its name, without the pinning that would outlast it."""
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return importlib.import_module


@pytest.fixture
def run(module, tmp_path):
    """The exit code and the rows of the smallest run of some cases."""

    def start(only):
        path = tmp_path / "rows.json"
        code = module("training").main(["--quick", "--tiny", "--only", only, "--json", str(path)])
        return code, json.loads(path.read_text())

    return start


@pytest.mark.parametrize(
    "only", ["gpt_bigcode h768 L8 dpo k=2 1:1", "T=512", "gpt_bigcode h768 L8 rrtf k=4 2:1", "bloom h512 L8 sft"]
)
def test_every_row_says_what_was_compared(only, run):
    code, rows = run(only)
    assert code == 0
    assert rows
    for row in rows:
        assert list(row) == KEYS
        assert row["equal"] is True
        assert row["time_ratio"] > 0


def test_a_step_that_is_not_the_same_is_not_timed_and_fails_the_run(run, module, monkeypatch):
    rivals = module("rivals")
    monkeypatch.setitem(rivals.OBJECTIVES, "dpo", rivals.objective(rivals.Dpo(name="dpo", beta=0.2)))
    code, rows = run("gpt_bigcode h768 L8 dpo k=2 1:1")
    assert code == 1
    assert all(row["equal"] is False and row["time_ratio"] is row["memory_ratio"] is None for row in rows)


def test_the_floor_is_what_our_step_multiplies(module):
    shapes, rivals, flops = module("shapes"), module("rivals"), module("flops")
    shape = shapes.Shape("small", "gpt_bigcode", 64, 2, 4, 512)
    groups = shapes.rows(shape.vocab, 2, "2:1", 96, 2, seed=0)
    model = shapes.build(shape, CPU, 0)
    step = rivals.ours(shapes.twin(model), groups, "dpo", "grouped").step
    with FlopCounterMode(display=False) as counter:
        step()
    rows = [64 + 31] * 4
    seen = sum(sum(range(1, row + 1)) for row in rows) - 2 * sum(range(1, 64 + 1))
    # fused attention is not counted: two products, forward twice and backward once, of twice the cost
    attention = 2 * 2 * shape.hidden * shape.layers * seen * 4
    floor = flops.step_flops(model, groups, reference=True)
    assert floor == pytest.approx(counter.get_total_flops() + attention, rel=0.01)


def test_the_peak_is_what_a_step_holds_above_what_stood_before(module):
    stopwatch = module("stopwatch")
    watch = stopwatch.Stopwatch(CPU)
    if not watch.sees_memory:
        pytest.skip("/proc/self/clear_refs is not writable")
    stood = torch.ones(2**25)
    found = watch.measure({"one": lambda: torch.ones(2**24).sum(), "two": lambda: torch.ones(2**25).sum()}, [], 1)
    assert found["one"].bytes[0] == pytest.approx(2**26, rel=0.1)
    assert stopwatch.memory_ratio(found, "one", "two") == pytest.approx(0.5, rel=0.1)
    assert len(stood) == 2**25


def test_rounds_are_added_while_ratios_spread(module, monkeypatch):
    stopwatch = module("stopwatch")
    watch = stopwatch.Stopwatch(CPU)
    seconds = {"steady": [1.0] * 9, "other": [2.0, 2.0, 4.0, *[2.0] * 6]}
    monkeypatch.setattr(watch, "_turn", lambda step, figures: figures.seconds.append(seconds[step()].pop(0)))
    found = watch.measure({name: lambda name=name: name for name in seconds}, [("steady", "other")], 3)
    assert len(found["steady"].seconds) == 6
    assert stopwatch.time_ratio(found, "steady", "other") == 2.0


def test_rows_have_the_lengths_that_were_asked_for(module):
    shapes = module("shapes")
    for lengths, sizes in {"2:1": (64, 32), "1:1": (48, 48)}.items():
        (group,) = shapes.rows(100, 3, lengths, 96, 1, seed=0)
        assert (len(group.prompt), *map(len, group.responses)) == (sizes[0], *[sizes[1]] * 3)
        assert all(response[-1] == shapes.EOS for response in group.responses)
    ragged = shapes.rows(100, 4, "ragged", 96, 8, seed=0)
    assert len({len(response) for group in ragged for response in group.responses}) > 8


def test_a_target_that_is_missed_is_marked(module):
    training = module("training")
    row = training.Row("gpt_bigcode", 49_152, "dpo", 2, "2:1", "grouped", "trl_compact", 1.3, 0.4, equal=True)
    (line,) = training.table([row], targets=True)[2:]
    assert "1.30 (target 1.4, MISSED)" in line
    assert "0.40 (target 0.52) |" in line
