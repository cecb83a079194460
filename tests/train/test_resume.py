import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from align.io import write
from align.models.entry import Weights
from align.models.load import load_model
from align.models.lora import Lora
from align.train import checkpoints
from align.train.settings import Dpo

from .conftest import PAIRS, SFT

ARGS = {"max_steps": 12, "learning_rate": 3e-3, "logging_steps": 4, "save_steps": 3, "use_cpu": True}
OPTIONS = {"global_batch_size": 8, "max_tokens_per_batch": 500, "args": ARGS}

SCRIPT = """
import json, sys
from pathlib import Path
from align.io import read
from align.models.entry import Weights
from align.schema import PreferencePair
from align.train.options import Options
from align.train.run import train
from align.train.settings import Dpo
model, data, out, options = sys.argv[1:]
train(read(data, PreferencePair), Weights(model_name_or_path=model),
      Options(loss=Dpo(name="dpo"), **json.loads(options)), out=Path(out))
"""


@pytest.fixture
def killed(tiny, tmp_path):
    """The folder of a training that was killed while it wrote its second checkpoint, or just after."""
    data, out = tmp_path / "pairs.jsonl", tmp_path / "killed"
    write(data, PAIRS)
    out.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tiny()), str(data), str(out), json.dumps(OPTIONS)])
    while not list(out.glob(".resume/checkpoint-6/*")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
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


def test_only_the_last_state_is_kept(tmp_path):
    for step in (3, 6, 9, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
        checkpoints.finish(tmp_path / f"checkpoint-{step}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-12"]


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
    assert [path.name for path in (out / ".resume").iterdir()] == ["checkpoint-12"]


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
