"""One training run from rows to a model's folder: load, train, save, check. Knows no recipe."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import set_seed

from ..errors import ConfigError
from ..models.denormals import flushed
from ..models.entry import Weights
from ..models.load import load_policy
from ..text.collate import on_device
from ..text.token_store import TokenStore
from .config import AlignConfig
from .data import Encoded, Row
from .measure import Measure
from .options import Options
from .save import check_reload, probe
from .stored import StoredGroups
from .trackers import prepare
from .trainer import AlignTrainer


@flushed()
def train(
    rows: Sequence[Row] | TokenStore,
    entry: Weights,
    options: Options,
    *,
    out: Path,
    eval_rows: Sequence[Row] = (),
    measure: Measure | None = None,
    label: str = "train",
) -> dict[str, Any]:
    """Train on every rank; rank 0 leaves `model/`, `metrics.jsonl`, `timings.jsonl` and `checkpoints/` in `out`.

    An interrupted run goes on from its last saved step, by what `.resume/` holds, and ends with the same bytes.

    Args:
        rows: of one kind, as the loss needs them; those of tasks also as a store of their ids.
        entry: the weights to start from; also the reference, where the loss has one.
        options: the loss, the batches, and what is trained.
        out: the stage's folder, seen by all ranks.
        eval_rows: held-out rows for `args.eval_strategy`.
        measure: what else is measured at each evaluation, on rank 0.
        label: what the progress bar says.

    Returns:
        Counts: rows, what was dropped and why, steps, what was trained in which type, warnings. Empty on ranks above 0.

    Raises:
        DataError: no row is left.
        ConfigError, BackendError, StageError: as the parts raise them.
    """
    # new adapters start at random, before Trainer seeds
    set_seed(options.seed)
    model, tokenizer = load_policy(entry, options.lora, disable_dropout=options.disable_dropout)
    trainer = AlignTrainer(
        model,
        arguments(options, out),
        rows,
        eval_rows,
        processing_class=tokenizer,
        entry=entry,
        measure=measure,
        label=label,
    )
    trainer.train(resume_from_checkpoint=True)
    difference = _save(trainer, out / "model")
    if difference is None:
        return {}
    return _counts(rows, eval_rows, trainer) | {"reload_difference": difference}


def arguments(options: Options, out: Path) -> AlignConfig:
    """The options as the trainer's arguments.

    Raises:
        ConfigError: transformers refuses a value, or what it should report to is not installed.
    """
    given = {name: value for name, value in options.args.items() if value is not None}
    try:
        found = AlignConfig(
            output_dir=str(out),
            seed=options.seed,
            loss=options.loss,
            global_batch_size=options.global_batch_size,
            max_tokens_per_batch=options.max_tokens_per_batch,
            max_length=options.max_length,
            backend=options.backend,
            reference=options.reference,
            normaliser=options.normaliser,
            target_length_floor=options.target_length_floor,
            **given,
        )
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise ConfigError(f"args: {str(error).strip().splitlines()[0]}") from None
    prepare(found.report_to, out)
    return found


def _save(trainer: AlignTrainer, folder: Path) -> float | None:
    """Every rank takes part, since the weights may be sharded; rank 0 writes, and tells how exactly it loads again."""
    policy, accelerator = trainer.policy, trainer.accelerator
    policy.adapter_off_reference = False
    trainer.model_wrapped.eval()
    batch = probe(policy.causal.config.vocab_size)
    with torch.no_grad(), accelerator.autocast():
        said = trainer.model_wrapped(on_device(batch, trainer.args.device)).logp.token
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        return check_reload(folder, batch, said, accelerator.autocast())
    return None


def counted(rows: Sized, encoded: Encoded, model: nn.Module, steps: int, warnings: Mapping[str, str]) -> dict[str, Any]:
    """What a training stage reports of its rows and its model."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    counts = {
        "rows": len(rows),
        "trained_on": len(encoded.groups),
        "dropped": encoded.dropped,
        "steps": steps,
        "trainable_parameters": sum(parameter.numel() for parameter in trained),
        "trainable_dtype": ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in trained})),
    }
    return counts | ({"warnings": len(warnings)} if warnings else {})


def _counts(rows: Sized, eval_rows: Sequence[Row], trainer: AlignTrainer) -> dict[str, Any]:
    counts = counted(rows, trainer.encoded, trainer.policy, trainer.state.global_step, trainer.warnings)
    groups = trainer.encoded.groups
    if isinstance(groups, StoredGroups) and (units := groups.units) is not None:
        counts["packed_rows"] = len(units)
    if trainer.encoded_eval is not None:
        counts |= {
            "eval_rows": len(eval_rows),
            "evaluated_on": len(trainer.encoded_eval.groups),
            "eval_dropped": trainer.encoded_eval.dropped,
        }
    return counts | (trainer.selection.counts() if trainer.selection else {})
