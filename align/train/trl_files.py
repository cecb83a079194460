"""What a stage leaves while trl trains: metrics, timings, models, and states to go on from. Trains nothing."""

import math
from pathlib import Path
from typing import Any

from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ..errors import StageError
from ..models.entry import Weights
from ..models.load import Model
from ..progress import Bar
from . import checkpoints
from .logbook import Logbook
from .save import save_policy
from .saving import agreed_state

NO_FIGURES = ("epoch", "num_tokens")
"""What trl logs beside its figures; its count of tokens starts anew where a run goes on."""


class Files(TrainerCallback):
    """What a trainer that is not ours leaves of a stage, by its public callbacks.

    Args:
        trainer: made, not yet started.
        model: what it trains.
        tokenizer: saved with every model.
        entry: what the model was loaded from.
        out: the stage's folder.
        bar: advanced at every optimizer step.
        keep: models to keep along the way; None keeps all.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        entry: Weights,
        *,
        out: Path,
        bar: Bar,
        keep: int | None,
    ) -> None:
        super().__init__()
        self.trainer, self.model, self.tokenizer, self.entry = trainer, model, tokenizer, entry
        self.out, self.bar, self.keep = out, bar, keep
        states = out / checkpoints.STATES
        last = agreed_state(states, out.name, trainer.accelerator)
        done = checkpoints.step_of(last) if last else 0
        self.resume = str(last) if last else None
        """The state that an interrupted run goes on from."""
        self.warnings: dict[str, str] = {}
        """Name of each alarm that went off → its line; of rank 0."""
        self.logbook = None
        if trainer.is_world_process_zero():
            checkpoints.remove_torn(states)
            self.logbook = Logbook(out, done)
        bar.skip(done)
        self._tokens = 0.0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance the bar."""
        self.bar.advance()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Write trl's figures under its names; the last log, of the whole run, has none.

        Raises:
            StageError: the loss is not finite.
        """
        logs: dict[str, float] = given["logs"]
        if "learning_rate" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise StageError(f"the loss is {logs['loss']} at step {state.global_step}: lower args.learning_rate")
        if self.logbook is not None:
            figures = {name: value for name, value in logs.items() if name not in NO_FIGURES}
            self.logbook.write(state.global_step, figures, round(logs["num_tokens"] - self._tokens))
        self._tokens = logs["num_tokens"]

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Publish the model of this step, then let the state count."""
        # every rank has written its part of the state
        self.trainer.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"{checkpoints.PREFIX}{state.global_step}"
            checkpoints.publish(self.out / checkpoints.MODELS / folder.name, self._write, self.keep)
            checkpoints.finish(folder)

    def close(self) -> None:
        """Put the logs on disk."""
        if self.logbook is not None:
            self.warnings = self.logbook.alarms.raised
            self.logbook.close()

    def _write(self, folder: Path) -> None:
        save_policy(self.model, self.tokenizer, self.entry, folder)
