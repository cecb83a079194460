"""What `report_to` names: kept on this machine, beside the stage, and no condition for metrics.jsonl."""

import importlib.util
import json
import sys
import types

import pytest

from align.errors import ConfigError

from .conftest import SFT

ARGS = {"max_steps": 4, "logging_steps": 2, "save_strategy": "no", "use_cpu": True}
TRACKERS = {"tensorboard": "events.out.tfevents*", "wandb": "run-*.wandb", "trackio": "*.db"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Nothing that another test, or the user, has set."""
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "WANDB_MODE", "TRACKIO_DIR"):
        # set first, so that what the training sets is taken back, too
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def figures(out):
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_writes_beside_the_stage_and_nothing_into_it(run, name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    out, _ = run(SFT, global_batch_size=8, args=ARGS | {"report_to": name})
    assert list(out.parent.glob(f".trackers/{out.name}/**/{TRACKERS[name]}"))
    assert {path.name for path in out.iterdir()} <= {
        "model",
        "metrics.jsonl",
        "timings.jsonl",
        "checkpoints",
        ".resume",
    }
    assert figures(out) == [2, 4]


def test_one_that_is_not_installed_is_a_line_before_training(run, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "clearml" else real(name, *rest)
    )
    with pytest.raises(ConfigError, match=r"args: .*clearml") as caught:
        run(SFT, args=ARGS | {"report_to": "clearml"})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*/metrics.jsonl"))


def test_one_that_does_not_exist_is_a_line(run):
    with pytest.raises(ConfigError, match=r"args: nowhere is not supported"):
        run(SFT, args=ARGS | {"report_to": "nowhere"})


def test_what_is_logged_reaches_a_tracker(run, monkeypatch):
    from transformers import TrainerCallback
    from transformers.integrations import integration_utils

    told = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            told.append((state.global_step, logs))

    monkeypatch.setitem(sys.modules, "ours", types.ModuleType("ours"))
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "ours", Tracker)
    out, _ = run(SFT, global_batch_size=8, args=ARGS | {"report_to": ["ours"]})
    assert [step for step, _ in told] == figures(out)
    assert all("loss" in logs for _, logs in told)
