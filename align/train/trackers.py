"""Where `report_to` sends what is measured: trackers of others, all optional. `metrics.jsonl` is written without them.

They stay on this machine unless the environment says otherwise, and leave their files beside the stages, since these
hold times and names of machines: a stage's own files are the same bytes in every run.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from ..errors import ConfigError

FOLDER = ".trackers"
"""Of a run: `.trackers/<stage>-<key>/` holds what TensorBoard, Weights & Biases and Trackio write."""


def prepare(report_to: str | Sequence[str] | None, out: Path) -> None:
    """Point trackers at the run's folder, and make each of them once to see that it is here.

    Args:
        report_to: as in TrainingArguments.
        out: the stage's folder.

    Raises:
        ConfigError: one is not installed, or there is no such tracker.
    """
    names = [report_to] if isinstance(report_to, str) else list(report_to or [])
    if not set(names) - {"none"}:
        return
    folder = out.parent / FOLDER / out.name
    folder.mkdir(parents=True, exist_ok=True)
    local = {"TENSORBOARD_LOGGING_DIR": folder, "WANDB_DIR": folder, "TRACKIO_DIR": folder, "WANDB_MODE": "offline"}
    for name, value in local.items():
        os.environ.setdefault(name, str(value))
    for name in names:
        try:
            for callback in get_reporting_integration_callbacks([name]):  # type: ignore[no-untyped-call]
                # Trainer makes its own; this one tells whether it can
                callback()
        except (ValueError, ImportError, RuntimeError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"args: {said}") from None
