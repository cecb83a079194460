"""One training run from rows to a model's folder: load, encode, plan, train, save, check. Knows no recipe."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from ..errors import ConfigError, DataError
from ..models.entry import Weights
from ..models.load import Model, load_policy
from ..models.lora import Lora
from ..progress import progress
from ..text.collate import plan_batches
from ..text.encode import Encoder
from . import checkpoints
from .data import Encoded, MicroBatches, Row, encode_rows
from .objective import objective
from .policy import Policy
from .reference import reference_logprobs
from .save import check_reload, probe, save_policy
from .settings import Dpo, Rrhf, Rrtf
from .trainer import AlignTrainer, training_arguments


def train(
    rows: Sequence[Row],
    entry: Weights,
    *,
    out: Path,
    seed: int,
    loss: Rrtf | Rrhf | Dpo | None,
    lora: Lora | None,
    global_batch_size: int,
    max_tokens_per_batch: int,
    max_length: int | None,
    disable_dropout: bool,
    args: dict[str, Any],
    label: str = "train",
) -> dict[str, Any]:
    """Train on every rank; rank 0 leaves `model/`, `metrics.jsonl`, `timings.jsonl` and `checkpoints/` in `out`.

    An interrupted run goes on from its last saved step, by what `.resume/` holds, and ends with the same bytes.

    Args:
        rows: SFT rows, ranked groups, or preference pairs, as the loss needs.
        entry: the weights to start from; for DPO also the reference.
        out: the stage's folder, seen by all ranks.
        seed: of the order of the data and of all that is random.
        loss: a preference loss; None trains on the likelihood of the completions.
        lora: adapters; None trains every weight.
        global_batch_size: rows of an optimizer step, over all ranks.
        max_tokens_per_batch: padded tokens of a micro-batch; changes no result.
        max_length: tokens of a row; longer ones are dropped and counted. None: what the model's positions allow.
        disable_dropout: build the model without any dropout.
        args: names of transformers.TrainingArguments, checked before.
        label: what the progress bar says.

    Returns:
        Counts: rows, what was dropped and why, steps, what was trained in which type. Empty on ranks above 0.

    Raises:
        DataError: no row is left.
        ConfigError, BackendError, StageError: as the parts raise them.
    """
    # new adapters start at random, before Trainer seeds
    set_seed(seed)
    model, tokenizer = load_policy(entry, lora, disable_dropout=disable_dropout)
    encoder = Encoder(tokenizer)
    encoded = _encode(rows, encoder, model, max_length, teacher_target=isinstance(loss, Rrtf) and loss.mode == "paper")
    plan = plan_batches(
        [group.size for group in encoded.groups],
        global_batch_size=global_batch_size,
        max_tokens_per_batch=max_tokens_per_batch,
        world_size=_world_size(),
        seed=seed,
        epochs=args.get("num_train_epochs", 3.0),
        max_steps=args.get("max_steps"),
    )
    arguments = training_arguments(
        args, out=out / checkpoints.STATES, seed=seed, accumulation=plan.accumulation, steps=len(plan.steps)
    )
    with progress(label, len(plan.steps)) as bar:
        trainer = AlignTrainer(
            Policy(model, adapter_off_reference=isinstance(loss, Dpo) and lora is not None),
            arguments,
            MicroBatches(encoded.groups, plan, encoder.pad_id),
            objective(loss),
            out=out,
            bar=bar,
            save_model=lambda folder, weights: save_policy(model, tokenizer, entry, folder, weights),
            keep=args.get("save_total_limit"),
            preference=loss if isinstance(loss, Dpo) else None,
        )
        if isinstance(loss, Dpo) and lora is None:
            _add_reference(trainer, out / "reference.jsonl")
        bar.skip(checkpoints.step_of(trainer.resume) if trainer.resume else 0)
        trainer.train(resume_from_checkpoint=str(trainer.resume) if trainer.resume else None)
    trainer.close()
    _save(trainer, tokenizer, entry, out / "model")
    return _counts(rows, encoded, trainer) if trainer.is_world_process_zero() else {}


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _add_reference(trainer: AlignTrainer, path: Path) -> None:
    """The starting weights' log-probabilities, which full fine-tuning is about to change."""
    precision = trainer.accelerator.mixed_precision
    trainer.data.reference = reference_logprobs(
        trainer.policy,
        trainer.data,
        path,
        device=trainer.args.device,
        autocast=trainer.accelerator.autocast(),
        dtype="float32" if precision == "no" else precision,
        rank=int(os.environ.get("RANK", "0")),
        world_size=_world_size(),
    )


def _encode(
    rows: Sequence[Row], encoder: Encoder, model: Model, max_length: int | None, *, teacher_target: bool
) -> Encoded:
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and max_length is not None and max_length > positions:
        raise ConfigError(f"max_length: {max_length} is more than the model's {positions} positions")
    limit = max_length if max_length is not None else positions
    encoded = encode_rows(rows, encoder, max_length=limit, teacher_target=teacher_target)
    if not encoded.groups:
        raise DataError(f"no row is left to train on, of {len(rows)}: dropped {encoded.dropped or 'none'}")
    return encoded


def _save(trainer: AlignTrainer, tokenizer: Any, entry: Weights, folder: Path) -> None:
    """Every rank takes part, since the weights may be sharded; rank 0 writes and checks."""
    policy, accelerator = trainer.policy, trainer.accelerator
    policy.adapter_off_reference = False
    trainer.model_wrapped.eval()
    batch = probe(policy.causal.config.vocab_size)
    with torch.no_grad(), accelerator.autocast():
        said = trainer.model_wrapped({name: value.to(trainer.args.device) for name, value in batch.items()}).logp.token
    state = None
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        gathered = accelerator.get_state_dict(trainer.model_wrapped)
        state = {name.removeprefix("model."): value for name, value in gathered.items()}
    if trainer.is_world_process_zero():
        save_policy(policy.model, tokenizer, entry, folder, state)
        check_reload(folder, batch, said, accelerator.autocast())


def _counts(rows: Sequence[Row], encoded: Encoded, trainer: AlignTrainer) -> dict[str, Any]:
    trained = trainer.policy.trainable().values()
    return {
        "rows": len(rows),
        "trained_on": len(encoded.groups),
        "dropped": encoded.dropped,
        "steps": trainer.state.global_step,
        "trainable_parameters": sum(parameter.numel() for parameter in trained),
        "trainable_dtype": ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in trained})),
    }
