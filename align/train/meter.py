"""Means of what the objectives say of micro-batches, exact over any cut. Logs nothing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .figures import Figure
from .objective import Step


class Meter:
    """Means since the last reading, as sums and weights on the device: reading them is the only synchronisation."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, step: Step, share: float) -> None:
        """One micro-batch, which is `share` of an optimizer step or of an evaluation."""
        weight = step.loss.new_tensor(share)
        figures = {"loss": Figure(step.loss, weight)}
        figures |= {f"loss/{name}": Figure(part, weight) for name, part in step.parts.items()}
        for name, figure in (figures | step.figures).items():
            pair = torch.stack([figure.total.detach().double(), figure.weight.detach().double()])
            self.sums[name] = self.sums[name] + pair if name in self.sums else pair

    def read(self, accelerator: Any) -> dict[str, float]:
        """The means over all ranks, and start anew; a mean over nothing is left out."""
        whole = self.state(accelerator)
        self.sums = {}
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
