"""Have something else measured of the model in the middle of its training, and leave no trace of it. Measures nothing.

Rank 0 measures, the other ranks wait for its file, not in a collective, so that a long measurement trips no watchdog.
"""

import contextlib
import json
import random
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import ConfigError
from ..io import write_json

FILE = ".measured.json"
POLL_SECONDS = 0.2


class Measure(Protocol):
    """What a stage has measured at each evaluation."""

    def prepare(self, tokenizer: PreTrainedTokenizerBase, positions: int | None) -> Collection[str]:
        """Get ready before the training starts, and tell the names of the figures.

        Args:
            tokenizer: the model's.
            positions: most tokens of a row; None: any number.

        Raises:
            ConfigError, DataError: it cannot measure this model, or there is nothing to measure it on.
        """
        ...

    def __call__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        """Figures of a model in eval mode, below any adapters, which are on."""
        ...


def check_whole(*, sharded: bool, what: str) -> None:
    """Refuse what needs the whole weights in one process where they are divided.

    Raises:
        ConfigError: they are.
    """
    if sharded:
        raise ConfigError(f"{what}: not under FSDP or DeepSpeed, which divide the weights: add a score stage instead")


def measured(
    measure: Measure, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, accelerator: Any, folder: Path
) -> dict[str, float]:
    """The figures on every rank; in `folder` they lie for as long as ranks wait."""
    path = folder / FILE
    if accelerator.is_main_process:
        # of a run that was killed
        path.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with undisturbed(model), accelerator.autocast():
            figures = measure(model, tokenizer)
        if accelerator.num_processes == 1:
            return figures
        write_json(path, figures)
    while not path.is_file():
        # a rank that fails ends all the others through the launcher
        time.sleep(POLL_SECONDS)
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        path.unlink()
    return found


@contextlib.contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """The model in eval mode; afterwards its modes, its way of generating and all random numbers are as before."""
    modes, own = {module: module.training for module in model.modules()}, model.generation_config
    states = random.getstate(), np.random.get_state()
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            model.train(False)
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        model.generation_config = own
        random.setstate(states[0])
        np.random.set_state(states[1])
