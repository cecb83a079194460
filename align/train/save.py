"""Save a trained policy as a model's folder, and prove that the folder loads as what was trained."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..errors import StageError
from ..models.chain import write_base
from ..models.entry import Weights
from ..models.load import Model, continued, load_model
from ..models.trained_on import trained_on, write_trained_on
from ..text.collate import Group, GroupBatch, Totals, collate, on_device
from .policy import Policy

RELOAD_TOLERANCE = 1e-6
"""Largest difference of a log-probability, relative to the largest one."""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """One line where a folder cannot be written, as on a full disk.

    Raises:
        StageError: it cannot.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        if isinstance(error, RuntimeError):
            # torch.save has no type of its own for this, only its writer's source file in the message
            if "inline_container" not in reason and "PytorchStreamWriter" not in reason:
                raise
            reason = "the disk took part of a file"
        raise StageError(f"{folder}: cannot be written ({reason}): make room and run again") from None


def save_policy(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    entry: Weights | None,
    folder: Path,
    state_dict: dict[str, Tensor] | None = None,
) -> None:
    """Write the weights, or the adapter with its `base.json`, the tokenizer, and what the base was trained on.

    Args:
        model: what was trained.
        tokenizer: saved with it.
        entry: what it was loaded from, recorded in an adapter's `base.json`, and what is known of it passed on; None:
            nothing is.
        folder: the new model's.
        state_dict: the gathered weights, where the model's own are sharded.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(model, PeftModel):
            if entry is not None:
                below = continued(model) or entry
                commit = getattr(model.config, "_commit_hash", None)
                base = write_base(folder, below, None if below.is_local else commit)
                model.peft_config["default"].base_model_name_or_path = base.model_name_or_path
            model.save_pretrained(str(folder), state_dict=state_dict, save_embedding_layers=False)
            # peft's generated card says nothing that is true of a chain
            (folder / "README.md").unlink(missing_ok=True)
        else:
            model.save_pretrained(folder, state_dict=state_dict)
        tokenizer.save_pretrained(folder)
    if entry is not None:
        write_trained_on(folder, trained_on(entry))


def probe(vocab_size: int) -> GroupBatch:
    """A fixed micro-batch for comparing two models."""
    ids = [(37 * i + 11) % vocab_size for i in range(48)]
    groups = [Group("probe", ids[:8], [ids[8:24], ids[24:]], [1.0, 0.0], [False, False], [0.0, 0.0])]
    return collate(groups, Totals.of(groups), pad_id=0, layout="plain")


@torch.no_grad()
def check_reload(
    folder: Path, batch: GroupBatch, expected_N: Tensor, autocast: AbstractContextManager[Any] | None = None
) -> float:
    """Load the folder and compare what it says of a batch with what the trained policy said.

    Args:
        folder: the saved model's.
        batch: as `probe` gives it.
        expected_N: log-probabilities of the batch's targets under the policy.
        autocast: the precision they were computed in.

    Returns:
        The largest difference of a log-probability.

    Raises:
        StageError: the two differ by more than rounding.
    """
    model, _ = load_model(Weights(model_name_or_path=str(folder)))
    # loading stays outside of it: adapters merged in half precision are other weights
    with autocast or contextlib.nullcontext():
        found_N = Policy(model)(on_device(batch, model.device)).logp.token
    difference = float((found_N.cpu() - expected_N.cpu()).abs().max())
    if not difference <= RELOAD_TOLERANCE * max(1.0, float(expected_N.abs().max())):
        raise StageError(
            f"{folder}: loads as another model than was trained: log-probabilities differ by {difference:.2g}; "
            "do not use it"
        )
    return difference
