"""Which saved step of a training is the best one by a held-out metric, and its weights, kept until the end.

The weights and what is known of them lie inside of the state that an interrupted run goes on from, so the two are
always of the same step. Only what was trained is kept, as the state does.
"""

import json
import math
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError, StageError, suggest

if TYPE_CHECKING:
    from .config import AlignConfig

WEIGHTS, STEP = "best.safetensors", "best.json"


class Best(NamedTuple):
    """A step and the value it has."""

    step: int
    value: float


@dataclass
class Selection:
    """The best of the steps that were saved and evaluated; of equal ones the first.

    Args:
        metric: of the evaluation, with or without its `eval_`, as transformers' `metric_for_best_model`.
        greater_is_better: otherwise the smallest value is the best.
    """

    metric: str
    greater_is_better: bool
    best: Best | None = None

    def __post_init__(self) -> None:
        self.metric = f"eval_{self.metric.removeprefix('eval_')}"

    @staticmethod
    def of(args: "AlignConfig") -> "Selection | None":
        """What the arguments ask for, taken over from Trainer, which would look for it among the states."""
        if not args.load_best_model_at_end:
            return None
        args.load_best_model_at_end = False
        return Selection(str(args.metric_for_best_model), bool(args.greater_is_better))

    @property
    def step(self) -> int | None:
        """The best step so far."""
        return self.best.step if self.best else None

    def offer(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take a step that is saved, if it is better than the best one so far."""
        value = metrics.get(self.metric, math.nan)
        # no value compares with one that is not a number
        if math.isnan(value):
            return False
        if self.best is None or (value > self.best.value if self.greater_is_better else value < self.best.value):
            self.best = Best(step, value)
            return True
        return False

    def store(self, state: Path, weights: Path, step: int) -> None:
        """Put the best weights into a state's folder.

        Args:
            state: of the step that was just trained, not yet marked as whole.
            weights: those of that step.
            step: it.
        """
        if self.best is None:
            return
        source = weights
        if self.best.step != step:
            source = next(path for path in _newest_first(state.parent) if path.parent != state)
        _link(source, state / WEIGHTS)
        (state / STEP).write_text(json.dumps(self.best._asdict()), encoding="utf-8")

    def restore(self, state: Path) -> None:
        """Go on from what a state holds."""
        path = state / STEP
        self.best = Best(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def weights(self, state: Path | None) -> Path:
        """The best weights, at the end of a training.

        Args:
            state: the last one.

        Raises:
            StageError: no step had a value.
        """
        if state is None or self.best is None:
            raise StageError(
                f"args.load_best_model_at_end: no saved step has a value of {self.metric}: see metrics.jsonl"
            )
        return state / WEIGHTS

    def counts(self) -> dict[str, float | int | str]:
        """What the stage says of it."""
        if self.best is None:
            return {}
        return {"best_step": self.best.step, f"best_{self.metric}": float(f"{self.best.value:.6g}")}


def check_metric(metric: str, names: Collection[str]) -> None:
    """Whether an evaluation has a metric, told before anything is trained.

    Args:
        metric: as `Selection`'s.
        names: of the figures, without `eval_`.

    Raises:
        ConfigError: it has not.
    """
    metric, known = f"eval_{metric.removeprefix('eval_')}", sorted(f"eval_{name}" for name in names)
    if metric not in known:
        raise ConfigError(f"args.metric_for_best_model: no evaluation has {metric!r}: {suggest(metric, known)}")


def _newest_first(states: Path) -> list[Path]:
    """The best weights in all states, the last written first."""
    return sorted(states.glob(f"*/{WEIGHTS}"), key=lambda path: int(path.parent.name.rpartition("-")[2]), reverse=True)


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk knows no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
