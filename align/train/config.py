"""The arguments of `AlignTrainer`: transformers' own, with our defaults, and what is ours. Reads no recipe."""

import os
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import TrainingArguments

from ..errors import ConfigError
from .arguments import DEFAULTS
from .options import Backend, Normaliser, Reference
from .refused import OWNED
from .settings import Loss

FIXED: dict[str, Any] = {
    "per_device_train_batch_size": 1,
    "train_sampling_strategy": "sequential",
    "remove_unused_columns": False,
    "average_tokens_across_devices": False,
    "accelerator_config": {"split_batches": False, "dispatch_batches": False, "even_batches": False},
    "ddp_find_unused_parameters": False,
    "disable_tqdm": True,
    "logging_nan_inf_filter": False,
}
"""What the plan needs: an item of the data set is a batch already, which is not to be cut or handed out twice."""


@dataclass
class AlignConfig(TrainingArguments):
    """Arguments of one training.

    Batches are `global_batch_size` and `max_tokens_per_batch`; Trainer's own batch keys are set by their plan, and
    a value given for one is refused. Counted in steps, `logging_steps` and the like may be shares below 1.

    Raises:
        ConfigError: an argument that the plan sets has another value.
    """

    loss: Loss | None = None
    """A preference loss's section, as `align.train.settings` has them; None: the likelihood of completions."""
    global_batch_size: int = 32
    """Rows of an optimizer step, over all ranks and micro-batches."""
    max_tokens_per_batch: int = 16384
    """Tokens laid out in a micro-batch; changes no result."""
    max_length: int | None = None
    """Tokens of a row; longer ones are dropped and counted. None: what the model's positions allow."""
    backend: Backend = "auto"
    """How a micro-batch is laid out."""
    reference: Reference = "auto"
    """Where the reference's log-probabilities come from; auto: adapters off where there are any, else the file."""
    normaliser: Normaliser = "tokens"
    """Of supervised training: the mean over all target tokens, or over rows of each row's mean."""
    target_length_floor: int = 1
    """With `targets`, tokens that a target counts as at least: a shorter one weighs less than the others."""

    learning_rate: float = DEFAULTS["learning_rate"]
    lr_scheduler_type: str = DEFAULTS["lr_scheduler_type"]
    warmup_steps: float = DEFAULTS["warmup_steps"]
    logging_steps: float = DEFAULTS["logging_steps"]
    save_steps: float = DEFAULTS["save_steps"]
    report_to: str | list[str] | None = "none"

    def __post_init__(self) -> None:
        standard = {field.name: field.default for field in fields(TrainingArguments)}
        for name, value in FIXED.items():
            if getattr(self, name) not in (standard[name], value):
                raise ConfigError(f"{name}: {OWNED[name]}")
            setattr(self, name, value)
        if self.gradient_accumulation_steps != 1:
            raise ConfigError(f"gradient_accumulation_steps: {OWNED['gradient_accumulation_steps']}")
        if self.load_best_model_at_end and self.eval_steps is None:
            # what is never chosen needs no evaluation
            self.eval_steps = self.save_steps
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.cuda.is_available()
        # precision changes results, so these arguments decide it, not the launcher's file
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if self.bf16 else "fp16" if self.fp16 else "no"
        self.use_cpu = self.use_cpu or ranks_have_no_device()
        super().__post_init__()  # type: ignore[no-untyped-call]
        check_ranks(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as trackers log them."""
        plain: dict[str, Any] = super().to_dict()  # type: ignore[no-untyped-call]
        return plain | {"loss": None if self.loss is None else self.loss.model_dump()}


def ranks_have_no_device() -> bool:
    """Whether a launcher started several processes on a machine without accelerators.

    transformers has to be told: else it takes each of them for a training of its own.
    """
    return launched() > 1 and not torch.accelerator.is_available()


def check_ranks(args: TrainingArguments) -> None:
    """Refuse to train beside other processes instead of with them, all of which would write the same files.

    Raises:
        ConfigError: the training has not as many processes as the launcher started.
    """
    if args.world_size != launched():
        raise ConfigError(
            f"the launcher started {launched()} processes, and this training has {args.world_size}: name a "
            "configuration of accelerate for this machine (recipes/accelerate)"
        )


def launched() -> int:
    """Processes that the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
