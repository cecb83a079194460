"""The half of the trainer that saves: states to go on from, a model of every saved step, the best one at the end.

A state is what was trained, the optimizer, random numbers and sums; `checkpoints` says when one counts, `best` which
step is the best. Trains nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer
from transformers.trainer_utils import SaveStrategy

from ..models.entry import Weights
from . import checkpoints
from .best import Selection
from .config import AlignConfig
from .meter import Meter
from .policy import Policy
from .save import save_policy, writing
from .termination import Terminated, Termination

WEIGHTS, METER = "policy.safetensors", "meter.json"


class SavingTrainer(Trainer):
    """What `AlignTrainer` saves and goes on from; its attributes are set there."""

    args: AlignConfig
    policy: Policy
    tokenizer: PreTrainedTokenizerBase
    entry: Weights | None
    folder: Path
    meter: Meter
    keep: int | None
    """Models that are kept of the saved steps; None: all."""
    selection: Selection | None
    """What chooses the model, where it is not the last step's."""
    label: str
    _ending = False
    _saved_step = 0

    def train(self, *args: Any, **options: Any) -> Any:
        """As Trainer's; after a SIGTERM the step at hand is finished and saved, and the process ends."""
        with Termination() as self._termination:
            return super().train(*args, **options)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a model's folder: the weights or the adapter, and the tokenizer. Every rank takes part.

        Args:
            output_dir: the folder; by default `model` below `args.output_dir`.
            _internal_call: Trainer's own, for what a checkpoint holds.
        """
        if _internal_call:
            super().save_model(output_dir, _internal_call=True)
            return
        state = None
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            state = _below(self.accelerator.get_state_dict(self.model_wrapped))
        if self.is_world_process_zero():
            folder = Path(output_dir) if output_dir else self.folder / "model"
            save_policy(self.policy.model, self.tokenizer, self.entry, folder, state)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.folder / checkpoints.STATES)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = self.folder / checkpoints.STATES / f"{checkpoints.PREFIX}{self.state.global_step}"
        if self.is_world_process_zero():
            checkpoints.make_room(folder.parent)
        with writing(folder):
            super()._save_checkpoint(model, trial)
        self._saved_step = self.state.global_step
        state = self.meter.state(self.accelerator)
        if self.is_world_process_zero():
            (folder / METER).write_text(json.dumps(state), encoding="utf-8")
            # before the state counts: what goes on from it has this model already
            if not self._ending:
                weights = _below(load_file(folder / WEIGHTS))
                best = self.selection.step if self.selection else None
                model_folder = self.folder / checkpoints.MODELS / folder.name
                checkpoints.publish(model_folder, self._writer(weights), self.keep, best)
            if self.selection is not None:
                with writing(folder):
                    self.selection.store(folder, folder / WEIGHTS, self.state.global_step)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            with writing(folder):
                checkpoints.finish(folder)

    def _writer(self, weights: dict[str, Tensor]) -> Callable[[Path], None]:
        return lambda path: save_policy(self.policy.model, self.tokenizer, self.entry, path, weights)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """What is trained, and nothing else; tied weights once."""
        if self.args.should_save and output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            found: dict[str, Tensor] = dict(self.policy.trainable()) if state_dict is None else state_dict
            trained = {name: found[name].detach().contiguous() for name in self.policy.trainable()}
            save_file(trained, Path(output_dir) / WEIGHTS)

    def last_state(self) -> Path | None:
        """The state to go on from."""
        return agreed_state(self.folder / checkpoints.STATES, self.label, self.accelerator)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        if self.is_world_process_zero():
            self.meter.restore(json.loads((folder / METER).read_text(encoding="utf-8")), self.args.device)
        if self.selection is not None:
            self.selection.restore(folder)
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        self._load_weights(folder / WEIGHTS)

    @torch.no_grad()
    def _load_weights(self, path: Path) -> None:
        saved = load_file(path)
        for name, parameter in self.policy.trainable().items():
            parameter.copy_(saved[name])

    def _maybe_log_save_evaluate(self, *args: Any, **options: Any) -> None:
        # both may be shares of the steps, which are rounded: a saved step might lie beside the evaluated ones
        if self.selection is not None and self.control.should_save:
            self.control.should_evaluate = True
        super()._maybe_log_save_evaluate(*args, **options)
        # after the last step what is left takes less time than a state
        if self._termination.agreed(self.accelerator) and self.state.global_step < self.state.max_steps:
            self._end()

    def _end(self) -> None:
        """Save a state, without a model that an undisturbed run would not have, and end the process."""
        if self._saved_step != self.state.global_step:
            self._ending = True
            self._save_checkpoint(self.policy, None)
        # rank 0 marks the state as whole after the others have left the saving
        self.accelerator.wait_for_everyone()
        tell = self.is_world_process_zero()
        raise Terminated(self.state.global_step, self.state.max_steps, self.label, tell=tell)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether this is the best step so far, of those that are saved."""
        saved = self.control.should_save or self.args.save_strategy == SaveStrategy.BEST
        return self.selection is not None and saved and self.selection.offer(self.state.global_step, metrics)

    def take_best(self) -> None:
        """Where it is asked for, the weights of the best step in the place of the last one's."""
        if self.selection is not None:
            last = checkpoints.last_whole(self.folder / checkpoints.STATES)
            self._load_weights(self.selection.weights(last))


def agreed_state(states: Path, label: str, accelerator: Accelerator) -> Path | None:
    """The state to go on from: rank 0 looks, and tells the others.

    Args:
        states: the folder of them.
        label: what a line about a damaged one begins with.
        accelerator: of the ranks.
    """
    told: list[Path | None] = [None]
    if accelerator.is_main_process:
        told = [checkpoints.last_intact(states, label)]
    if accelerator.num_processes > 1:
        torch.distributed.broadcast_object_list(told)
    return told[0]


def _below(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The policy's weights by their names in its model."""
    return {name.removeprefix("model."): value for name, value in weights.items()}
