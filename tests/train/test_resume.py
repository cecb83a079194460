import json
import shutil
import time

import pytest
import torch

from align.errors import StageError
from align.models.entry import Weights
from align.models.load import load_model
from align.models.lora import Lora
from align.train import checkpoints
from align.train.settings import Dpo

from .conftest import PAIRS, SFT, kill_at, start

ARGS = {"max_steps": 12, "learning_rate": 3e-3, "logging_steps": 4, "save_steps": 3, "use_cpu": True}
OPTIONS = {"global_batch_size": 8, "max_tokens_per_batch": 500, "args": ARGS}


@pytest.fixture
def killed(run, tmp_path):
    """The folder of a training that was killed while it wrote its second checkpoint, or just after."""
    out = tmp_path / "killed"
    kill_at(start(lambda: run(PAIRS, Dpo(name="dpo"), out=out, **OPTIONS)), out, ".resume/checkpoint-6/*")
    return out


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(out):
    measured = ("timings.jsonl", ".resume")
    return {name: content for name, content in tree(out).items() if not name.startswith(measured)}


def test_a_killed_run_ends_with_the_bytes_of_an_undisturbed_one(killed, run):
    assert (killed / ".resume" / "checkpoint-3" / checkpoints.MARKER).exists()
    assert not (killed / "model").exists()
    calm, _ = run(PAIRS, Dpo(name="dpo"), **OPTIONS)
    run(PAIRS, Dpo(name="dpo"), out=killed, **OPTIONS)
    assert left(killed) == left(calm)


class Interrupted:
    """Ends a run at its nth evaluation, as a signal would."""

    def __init__(self, at):
        self.left = at

    def prepare(self, tokenizer, positions):
        return []

    def __call__(self, model, tokenizer):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return {}


@pytest.mark.parametrize("at", [2, 3])
def test_what_is_evaluated_before_the_first_step_is_logged_once(run, tmp_path, at):
    """Killed after it, before any state and after one."""
    args = ARGS | {"max_steps": 4, "save_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True}
    options = {"eval_rows": SFT[:2], "args": args, "global_batch_size": 2}
    calm, _ = run(SFT[:4], **options)
    assert [json.loads(line)["step"] for line in (calm / "metrics.jsonl").read_text().splitlines()] == [
        0,
        1,
        2,
        3,
        4,
        4,
    ]
    with pytest.raises(KeyboardInterrupt):
        run(SFT[:4], out=tmp_path / "out", measure=Interrupted(at + 1), **options)
    assert bool(list((tmp_path / "out").glob(".resume/*/complete"))) is (at == 3)
    run(SFT[:4], out=tmp_path / "out", **options)
    assert left(tmp_path / "out") == left(calm)


def test_a_run_killed_after_its_last_step_only_saves(run):
    calm, _ = run(PAIRS, Dpo(name="dpo"), **OPTIONS)
    expected = left(calm)
    shutil.rmtree(calm / "model")
    run(PAIRS, Dpo(name="dpo"), out=calm, **OPTIONS)
    assert left(calm) == expected


def test_a_checkpoint_without_its_marker_does_not_count(tmp_path):
    for step in (3, 6, 9):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_text("x")
        if step < 9:
            checkpoints.finish(folder)
    assert checkpoints.last_whole(tmp_path).name == "checkpoint-6"
    checkpoints.remove_torn(tmp_path)
    assert not (tmp_path / "checkpoint-9").exists()


def test_the_last_two_states_are_kept_and_one_while_a_third_is_written(tmp_path):
    for step in (3, 6, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
        checkpoints.finish(tmp_path / f"checkpoint-{step}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-6", "checkpoint-9"]
    checkpoints.make_room(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-9"]


@pytest.mark.parametrize("how", ["cut", "changed", "missing", "marker"])
def test_a_damaged_state_is_named_and_the_one_before_is_used(tmp_path, capsys, how):
    for step in (3, 6):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "policy.safetensors").write_bytes(b"weights")
        checkpoints.finish(folder)
    assert checkpoints.last_intact(tmp_path, "sft").name == "checkpoint-6"
    path = tmp_path / "checkpoint-6" / ("complete" if how == "marker" else "policy.safetensors")
    path.unlink() if how == "missing" else path.write_bytes(b"weightz" if how == "changed" else b"w")
    assert checkpoints.last_intact(tmp_path, "sft").name == "checkpoint-3"
    told = capsys.readouterr().err
    fault = {
        "cut": "policy.safetensors has 1 bytes of 7",
        "changed": "policy.safetensors holds other bytes than were written",
        "missing": "policy.safetensors is missing",
        "marker": "cannot be read (",
    }[how]
    assert f"checkpoint-6: {fault}" in told
    assert told.count("\n") == 1
    assert told.endswith("going on from step 3\n")
    (tmp_path / "checkpoint-3" / "policy.safetensors").write_bytes(b"")
    assert checkpoints.last_intact(tmp_path, "sft") is None
    assert "starting anew" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["policy.safetensors", "optimizer.pt"])
def test_a_training_with_a_damaged_state_ends_with_the_bytes_of_an_undisturbed_one(run, name, capfd):
    calm, _ = run(SFT, **OPTIONS)
    out, _ = run(SFT, **OPTIONS)
    shutil.rmtree(out / "model")
    damaged = out / ".resume" / "checkpoint-12" / name
    damaged.write_bytes(damaged.read_bytes()[:-40])
    capfd.readouterr()
    run(SFT, out=out, **OPTIONS)
    assert f"checkpoint-12: {name} has" in capfd.readouterr().err
    assert left(out) == left(calm)


def test_sigterm_saves_the_step_and_the_next_start_ends_with_the_bytes_of_an_undisturbed_one(tmp_path, run, capfd):
    out = tmp_path / "told"
    # a save would hide what a state between two saves has to hold; a line of metrics spans steps before and after it
    options = OPTIONS | {"args": ARGS | {"max_steps": 40, "logging_steps": 4, "save_steps": 50}}
    process = start(lambda: run(PAIRS, Dpo(name="dpo"), out=out, **options))
    while not ((out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size) and process.is_alive():
        time.sleep(0.002)
    process.terminate()
    process.join()
    told = capfd.readouterr().err
    assert process.exitcode == 143, told
    (state,) = out.glob(".resume/checkpoint-*")
    assert f"ended by SIGTERM after step {state.name.partition('-')[2]} of 40" in told
    assert not (out / "checkpoints").exists()
    calm, _ = run(PAIRS, Dpo(name="dpo"), **options)
    run(PAIRS, Dpo(name="dpo"), out=out, **options)
    assert left(out) == left(calm)


def test_a_full_disk_while_a_state_is_written_leaves_the_one_before(run, monkeypatch):
    calm, _ = run(SFT, **OPTIONS)
    out = calm.parent / "full"
    plain = torch.save

    def full(value, path, *args, **options):
        plain(value, path, *args, **options)
        if "checkpoint-6" in str(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StageError, match=r"checkpoint-6: cannot be written .*No space left.*make room and run again"):
        run(SFT, out=out, **OPTIONS)
    monkeypatch.undo()
    assert checkpoints.last_whole(out / ".resume").name == "checkpoint-3"
    run(SFT, out=out, **OPTIONS)
    assert left(out) == left(calm)


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_a_checkpoint_is_a_model_and_the_last_one_is_the_final_model(run, lora):
    out, _ = run(SFT, lora=lora, global_batch_size=8, args=ARGS)
    folders = sorted((out / "checkpoints").iterdir(), key=checkpoints.step_of)
    assert [folder.name for folder in folders] == [f"checkpoint-{step}" for step in (3, 6, 9, 12)]
    assert tree(folders[-1]) == {
        name: content.replace(b'"../../', b'"../../../') if name == "base.json" else content
        for name, content in tree(out / "model").items()
    }
    for folder in folders:
        load_model(Weights(model_name_or_path=str(folder)))
    weights = "adapter_model.safetensors" if lora else "model.safetensors"
    assert len({tree(folder)[weights] for folder in folders}) == 4


def test_save_total_limit_is_of_models(run):
    out, _ = run(SFT, global_batch_size=8, args=ARGS | {"save_total_limit": 2})
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"checkpoint-9", "checkpoint-12"}
    assert {path.name for path in (out / ".resume").iterdir()} == {"checkpoint-9", "checkpoint-12"}


def test_a_torn_model_is_hidden_and_replaced(tmp_path):
    def torn(folder):
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    def whole(folder):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("y")

    folder = tmp_path / "checkpoints" / "checkpoint-3"
    with pytest.raises(KeyboardInterrupt):
        checkpoints.publish(folder, torn, None)
    assert not folder.exists()
    for _ in range(2):
        checkpoints.publish(folder, whole, None)
        assert [path.name for path in folder.parent.iterdir()] == ["checkpoint-3"]
        assert [path.name for path in folder.iterdir()] == ["weights"]


def test_a_short_training_leaves_a_line_of_metrics_a_step(run):
    out, _ = run(SFT, global_batch_size=8, args={"max_steps": 3, "use_cpu": True})
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
