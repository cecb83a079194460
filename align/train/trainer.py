"""The one trainer: transformers.Trainer over a plan of micro-batches, with losses that are exact over any cut.

Every micro-batch's loss is already divided by the counts of its whole optimizer step, so what Trainer and DDP would
average is summed here: by `loss_is_scaled_for_ga` over accumulation, by the factor `world_size` over ranks.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..errors import ConfigError, StageError
from ..io import Journal, write
from ..progress import Bar
from ..text.collate import GroupBatch
from . import checkpoints
from .arguments import DEFAULTS
from .data import MicroBatches, only_item
from .objective import Figure, Objective, Step, check_start
from .policy import Policy
from .save import writing
from .settings import Dpo

WEIGHTS, METER = "policy.safetensors", "meter.json"
SHOWN_PROBLEMS = 8
"""Problem ids that an error names."""
SAVES = 4
"""Checkpoints of a run where `save_steps` is not given."""
LOGS = 50
"""Lines of metrics where `logging_steps` is not given."""


def training_arguments(
    args: dict[str, Any], *, out: Path, seed: int, accumulation: int, steps: int
) -> TrainingArguments:
    """The recipe's `args:` with everything that the plan decides.

    Raises:
        ConfigError: transformers refuses a value.
    """
    saves = {"save_strategy": "steps", "save_steps": max(1, -(-steps // SAVES))}
    logs = {"logging_steps": max(1, steps // LOGS)}
    given = {
        **DEFAULTS,
        **saves,
        **logs,
        "report_to": "none",
        "dataloader_pin_memory": torch.cuda.is_available(),
        **args,
    }
    for replaced in ("num_train_epochs", "max_steps", "save_total_limit"):
        given.pop(replaced, None)
    # precision changes results, so the recipe decides it (it is in the stage's key), not the launcher's file
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if given.get("bf16") else "fp16" if given.get("fp16") else "no"
    try:
        arguments = TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=accumulation,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            average_tokens_across_devices=False,
            accelerator_config={"split_batches": False, "dispatch_batches": False, "even_batches": False},
            ddp_find_unused_parameters=False,
            disable_tqdm=True,
            logging_nan_inf_filter=False,
            seed=seed,
            **given,
        )
        for callback in get_reporting_integration_callbacks(arguments.report_to):  # type: ignore[no-untyped-call]
            # Trainer makes its own; this one tells whether it can
            callback()
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise ConfigError(f"args: {str(error).strip().splitlines()[0]}") from None
    return arguments


class AlignTrainer(Trainer):
    """Trains a policy by one objective.

    Args:
        policy: the module to train.
        args: as `training_arguments` gives them.
        data: the planned micro-batches.
        objective: what they are trained for.
        out: the stage's folder, for `metrics.jsonl`, `timings.jsonl` and `checkpoints/`.
        bar: advanced at every optimizer step.
        save_model: writes a model's folder from the weights under training, by their names in the model.
        keep: models to keep along the way; None keeps all.
        preference: the section of a preference loss, whose start is checked.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        policy: Policy,
        args: TrainingArguments,
        data: MicroBatches,
        objective: Objective,
        *,
        out: Path,
        bar: Bar,
        save_model: Callable[[Path, dict[str, Tensor]], None],
        keep: int | None,
        preference: Dpo | None = None,
    ) -> None:
        super().__init__(policy, args, data_collator=only_item, train_dataset=data, callbacks=[_Advance(bar)])
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.policy, self.data, self.preference = policy, data, preference
        self.models, self.save_model_folder, self.keep = out / checkpoints.MODELS, save_model, keep
        self.objective: Objective = objective
        self.meter = Meter()
        self.resume = checkpoints.last_whole(Path(str(args.output_dir)))
        self.metrics = self.timings = None
        if self.is_world_process_zero():
            checkpoints.remove_torn(Path(str(args.output_dir)))
            done = checkpoints.step_of(self.resume) if self.resume else 0
            self.metrics = _continued(out / "metrics.jsonl", done)
            self.timings = Journal(out / "timings.jsonl")
        self._logged = time.monotonic()

    def compute_loss(
        self, model: nn.Module, inputs: GroupBatch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """The micro-batch's share of the step's loss, times the ranks that DDP will divide by."""
        step = self.objective(model(inputs), inputs)
        self._check_finite(step.loss, inputs)
        if self.preference is not None and self.state.global_step == 0:
            check_start(self.preference, step, inputs)
        self.meter.add(step, share=1 / (self.args.gradient_accumulation_steps * self.args.world_size))
        self.meter.tokens += inputs["attention_mask"].sum()
        share: Tensor = step.loss * self.args.world_size
        return share

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write our own figures; what Trainer measures of time goes to `timings.jsonl`."""
        if "learning_rate" not in logs:
            return
        tokens = int(self.meter.tokens) * self.args.world_size
        figures = self.meter.read(self.accelerator)
        figures |= {name: logs[name] for name in ("grad_norm", "learning_rate") if name in logs}
        now, step = time.monotonic(), self.state.global_step
        if self.metrics is not None and self.timings is not None:
            self.metrics.append({"step": step} | {name: float(f"{value:.6g}") for name, value in figures.items()})
            seconds = now - self._logged
            rate = round(tokens / max(seconds, 1e-9))
            self.timings.append({"step": step, "seconds": round(seconds, 3), "tokens_per_second": rate})
        self._logged = now
        super().log(figures)

    def close(self) -> None:
        """Put the logs on disk."""
        for journal in (self.metrics, self.timings):
            if journal is not None:
                journal.close()

    def _check_finite(self, loss: Tensor, inputs: GroupBatch) -> None:
        if torch.isfinite(loss):
            return
        problems = [self.data.groups[int(i)].problem_id for i in inputs["index_G"][:SHOWN_PROBLEMS]]
        raise StageError(
            f"the loss is {loss.item()} at step {self.state.global_step + 1} on the problems {', '.join(problems)}: "
            "lower args.learning_rate, or look at these rows"
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(self.data)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"{checkpoints.PREFIX}{self.state.global_step}"
        with writing(folder):
            super()._save_checkpoint(model, trial)
        state = self.meter.state(self.accelerator)
        if self.is_world_process_zero():
            (folder / METER).write_text(json.dumps(state), encoding="utf-8")
            # before the state counts: what goes on from it has this model already
            weights = {name.removeprefix("model."): value for name, value in load_file(folder / WEIGHTS).items()}
            checkpoints.publish(
                self.models / folder.name, lambda path: self.save_model_folder(path, weights), self.keep
            )
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            checkpoints.finish(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """What is trained, and nothing else; tied weights once."""
        if self.args.should_save and output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            found: dict[str, Tensor] = dict(self.policy.trainable()) if state_dict is None else state_dict
            trained = {name: found[name].detach().contiguous() for name in self.policy.trainable()}
            save_file(trained, Path(output_dir) / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        if self.is_world_process_zero():
            self.meter.restore(json.loads((folder / METER).read_text(encoding="utf-8")), self.args.device)
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = load_file(folder / WEIGHTS)
        with torch.no_grad():
            for name, parameter in self.policy.trainable().items():
                parameter.copy_(saved[name])


class Meter:
    """Means since the last log, as sums and weights on the device: reading them is the only synchronisation."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.tokens: Tensor | int = 0

    def add(self, step: Step, share: float) -> None:
        """One micro-batch, which is `share` of an optimizer step."""
        weight = step.loss.new_tensor(share)
        figures = {"loss": Figure(step.loss, weight)}
        figures |= {f"loss/{name}": Figure(part, weight) for name, part in step.parts.items()}
        for name, figure in (figures | step.figures).items():
            pair = torch.stack([figure.total.detach().double(), figure.weight.detach().double()])
            self.sums[name] = self.sums[name] + pair if name in self.sums else pair

    def read(self, accelerator: Any) -> dict[str, float]:
        """The means over all ranks, and start anew; a mean over nothing is left out."""
        whole = self.state(accelerator)
        self.sums, self.tokens = {}, 0
        return {name: total / weight for name, (total, weight) in whole.items() if weight}

    def state(self, accelerator: Any) -> dict[str, list[float]]:
        """The sums over all ranks."""
        if not self.sums:
            return {}
        whole = accelerator.reduce(torch.stack(list(self.sums.values())), reduction="sum")
        return dict(zip(self.sums, whole.tolist(), strict=True))

    def restore(self, state: dict[str, Sequence[float]], device: torch.device) -> None:
        """Go on from sums that a checkpoint holds."""
        self.sums = {name: torch.tensor(pair, dtype=torch.float64, device=device) for name, pair in state.items()}


def _continued(path: Path, step: int) -> Journal:
    """`metrics.jsonl` without what a killed run logged after the step that is gone on from."""
    with Journal(path) as journal:
        kept = [entry for entry in journal.entries if entry["step"] <= step]
    write(path, kept)
    return Journal(path)


class _Advance(TrainerCallback):
    """Moves the progress bar."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.bar.advance()
