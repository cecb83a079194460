"""`engine: trl`: a stage on trl's own SFTTrainer or DPOTrainer, from the same rows, ids and settings as ours.

Only their constructors and configurations are used. What trl does otherwise stays trl's: it shuffles the rows by the
same seed into other batches, takes the mean of its micro-batches' means where an epoch's last step is short, and
repeats rows to fill the ranks' last batch. `recipes/trl.md` measures where the two part. Covers no sharded weights.
"""

import contextlib
import importlib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from peft import PeftModel
from transformers import Trainer, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..errors import BackendError, ConfigError
from ..models.denormals import flushed
from ..models.entry import Weights
from ..models.load import Model, load_policy
from ..progress import progress
from ..text.collate import Group, on_device
from ..text.encode import Encoder
from . import checkpoints
from .arguments import DEFAULTS
from .config import check_ranks, launched, ranks_have_no_device
from .data import Row, check_left, encode_rows, length_limit
from .options import Options
from .policy import Policy
from .run import counted
from .save import check_reload, probe, save_policy
from .settings import Dpo
from .trl_files import Files

IGNORED = -100
"""trl's label of a token that is no target."""
PEER = "engine: trl"


@flushed()
def train_with_trl(
    rows: Sequence[Row], entry: Weights, options: Options, *, out: Path, label: str = "train"
) -> dict[str, Any]:
    """Train by trl; leaves what `align.train.run.train` leaves, and goes on after an interruption as it does.

    Args:
        rows: SFT rows or preference pairs.
        entry: the weights to start from; for DPO also the reference.
        options: the stage's.
        out: the stage's folder, seen by all ranks.
        label: what the progress bar says.

    Returns:
        Counts, as `align.train.run.train` gives them; empty on ranks above 0.

    Raises:
        DataError: no row is left.
        ConfigError: trl has no such loss, or cannot cut the batch.
        BackendError: the launcher shards the weights.
        StageError: the loss is not finite, or the saved model is not the trained one.
    """
    check_options(options)
    set_seed(options.seed)
    model, tokenizer = load_policy(entry, options.lora, disable_dropout=options.disable_dropout)
    encoder = Encoder(tokenizer)
    limit = length_limit(model.config, options.max_length)
    encoded = check_left(encode_rows(rows, encoder, max_length=limit), rows)
    config = _config(options, encoded.groups, out)
    with progress(label, config.max_steps) as bar, _silent():
        trainer = _trainer(model, entry, options, config, encoded.groups, encoder)
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            raise BackendError(f"{PEER}: not under FSDP or DeepSpeed: write engine: align")
        keep = options.args.get("save_total_limit")
        # trl makes adapters on 4-bit weights bfloat16, which rounds a small update away
        for parameter in _trainable(model):
            parameter.data = parameter.data.float()
        files = Files(trainer, model, tokenizer, entry, out=out, bar=bar, keep=keep)
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(files)
        trainer.train(resume_from_checkpoint=files.resume)
    files.close()
    if not trainer.is_world_process_zero():
        return {}
    difference = _save(trainer, model, tokenizer, entry, out / "model")
    counts = counted(rows, encoded, model, trainer.state.global_step, files.warnings)
    return counts | {"reload_difference": difference}


def check_options(options: Options) -> None:
    """Refuse what SFTTrainer and DPOTrainer do not have.

    Raises:
        ConfigError: with what to write instead.
    """
    if options.loss is not None and not isinstance(options.loss, Dpo):
        raise ConfigError(f"loss {options.loss.name}: {PEER} runs sft and dpo only: write engine: align")
    if options.loss is not None and options.lora is not None and options.lora.continues:
        raise ConfigError(
            f"lora.continue: {PEER} takes the model without its adapter for the reference: write engine: align"
        )
    for key, only in (("backend", "auto"), ("reference", "auto"), ("normaliser", "tokens"), ("target_length_floor", 1)):
        if getattr(options, key) != only:
            raise ConfigError(f"{key} {getattr(options, key)}: {PEER} has none: remove it, or write engine: align")


def loss_types(loss: Dpo) -> dict[str, Any]:
    """The keys of DPOConfig that give the same function as a `dpo` section.

    trl ignores `label_smoothing` with sigmoid. cDPO is the exact combination 2(1 − ε)·sigmoid − (1 − 2ε)·robust.
    """
    types, smoothing = {str(loss.loss_type): 1.0}, loss.label_smoothing
    if loss.loss_type == "sigmoid" and smoothing:
        types = {"sigmoid": 2 * (1 - smoothing), "robust": 2 * smoothing - 1}
    if loss.sft_weight:
        types["sft"] = loss.sft_weight
    keys = {"loss_type": list(types), "loss_weights": list(types.values())}
    return keys | {"beta": loss.beta, "label_smoothing": smoothing}


def cut(groups: Sequence[Group], global_batch_size: int, max_tokens_per_batch: int, world_size: int) -> tuple[int, int]:
    """(rows a device takes at once, micro-batches of a step): the most rows whose padded tokens fit the budget.

    Raises:
        ConfigError: the ranks or the budget do not allow for it.
    """
    share, left = divmod(global_batch_size, world_size)
    if left:
        raise ConfigError(
            f"global_batch_size: {global_batch_size} is no multiple of the {world_size} processes, as {PEER} needs"
        )
    widest = max(group.size.rows * group.size.length for group in groups)
    fitting = [size for size in range(1, share + 1) if share % size == 0 and size * widest <= max_tokens_per_batch]
    if not fitting:
        raise ConfigError(f"max_tokens_per_batch: {max_tokens_per_batch} cannot hold a row: give at least {widest}")
    return fitting[-1], share // fitting[-1]


def _config(options: Options, groups: Sequence[Group], out: Path) -> Any:
    """SFTConfig or DPOConfig with the stage's arguments, and ours where trl's defaults differ."""
    trl = _trl()
    size, accumulation = cut(groups, options.global_batch_size, options.max_tokens_per_batch, launched())
    args = dict(options.args)
    epochs, per_epoch = args.pop("num_train_epochs", 3.0), math.ceil(len(groups) / options.global_batch_size)
    steps = args.pop("max_steps", None) or max(1, math.ceil(epochs * per_epoch))
    args.pop("save_total_limit", None)
    ours = {"bf16": False, "activation_checkpointing": False, "report_to": "none", "save_strategy": "steps"}
    ours["use_cpu"] = ranks_have_no_device()
    kind, loss = (trl.DPOConfig, loss_types(options.loss)) if isinstance(options.loss, Dpo) else (trl.SFTConfig, {})
    # precision changes results, so the recipe decides it, not the launcher's file
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if args.get("bf16") else "fp16" if args.get("fp16") else "no"
    try:
        found = kind(
            output_dir=str(out / checkpoints.STATES),
            max_steps=steps,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            # longer rows were dropped and counted: nothing is cut
            max_length=None,
            remove_unused_columns=False,
            ddp_find_unused_parameters=False,
            disable_tqdm=True,
            logging_nan_inf_filter=False,
            seed=options.seed,
            **(ours | DEFAULTS | args | loss),
        )
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise ConfigError(f"args: {str(error).strip().splitlines()[0]}") from None
    check_ranks(found)
    return found


def _trainer(
    model: Model, entry: Weights, options: Options, config: Any, groups: Sequence[Group], encoder: Encoder
) -> Trainer:
    from datasets import Dataset

    trl = _trl()
    if options.loss is None:
        rows = Dataset.from_dict(
            {
                "input_ids": [group.prompt + group.responses[0] for group in groups],
                "labels": [[IGNORED] * len(group.prompt) + group.responses[0] for group in groups],
            }
        )
        supervised: Trainer = trl.SFTTrainer(model, args=config, train_dataset=rows, processing_class=encoder.tokenizer)
        return supervised
    # trl looks for a reference where the model came from, which is below the adapters that an entry has
    reference = None if options.lora else load_policy(entry, None)[0].requires_grad_(False)
    # text that trl tokenises in its own way and nobody reads: the collator takes the rows' own ids
    unread = dict.fromkeys(("prompt", "chosen", "rejected"), [""] * len(groups))
    trainer: Trainer = trl.DPOTrainer(
        model,
        reference,
        args=config,
        data_collator=_Pairs(groups, encoder.pad_id),
        train_dataset=Dataset.from_dict({**unread, "row": list(range(len(groups)))}),
        processing_class=encoder.tokenizer,
    )
    if isinstance(model, PeftModel):
        # trl's copy of the new adapters, which are 0: the reference is the model with its adapters off
        model.delete_adapter("ref")
    return trainer


class _Pairs:
    """Collates pairs by their own ids: trl's tokenisation moves tokens over the seam of prompt and answer."""

    def __init__(self, groups: Sequence[Group], pad_id: int) -> None:
        from trl.trainer.dpo_trainer import DataCollatorForPreference

        self.groups, self.pad = groups, DataCollatorForPreference(pad_token_id=pad_id)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        pairs = [self.groups[row["row"]] for row in rows]
        names = ("prompt_ids", "chosen_ids", "rejected_ids")
        batch: dict[str, torch.Tensor] = self.pad(
            [dict(zip(names, (pair.prompt, *pair.responses), strict=True)) for pair in pairs]
        )
        return batch


def _save(trainer: Trainer, model: Model, tokenizer: Any, entry: Weights, folder: Path) -> float:
    model.eval()
    batch = probe(model.config.vocab_size)
    with torch.no_grad(), trainer.accelerator.autocast():
        said = Policy(model)(on_device(batch, trainer.args.device)).logp.token
    save_policy(model, tokenizer, entry, folder)
    return check_reload(folder, batch, said, trainer.accelerator.autocast())


def _trl() -> Any:
    """The library, whose import takes seconds."""
    return importlib.import_module("trl")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Send nothing to anybody, and show no bars but ours: trl reports every trainer that is made.

    peft looks for the configuration of a base that we name relative to the stage's folder, and warns at every save.
    """
    import datasets

    bars, reports = datasets.are_progress_bars_disabled(), constants.HF_HUB_DISABLE_TELEMETRY
    datasets.disable_progress_bars()
    # the environment variable is read once, at the import
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Could not find a config file in")
            yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = reports
        if not bars:
            datasets.enable_progress_bars()


def _trainable(model: Model) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
