"""Held-out losses by task and by language: exact means over each one's targets, however a set is cut. Runs no model.

What an evaluation computes for the mean over the whole set is summed once more by task and by language, so neither
costs another pass. Names are transformers' for several evaluation sets: `eval_<task>_loss`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..schema import MultitaskRow
from ..text.collate import GroupBatch
from .policy import Output

LANGUAGE = "language_"
"""Before the name of a language that is also a task's."""


@dataclass(frozen=True)
class Parts:
    """Which groups of a data set belong to which task and language."""

    names: tuple[str, ...]
    """Tasks, then languages, each in alphabetical order."""
    of_2G: Tensor
    """(2, G) place in `names` of each group's task and language; `len(names)` where it has none that is reported."""

    @property
    def figures(self) -> list[str]:
        """Names of the losses."""
        return [f"{name}_loss" for name in self.names]


def parts(rows: Sequence[object]) -> Parts | None:
    """The tasks and languages of the rows that groups were made from, a row for each group; None if there are none.

    Every task that has a name is reported, and languages where there are several.
    """
    known = [(row.task, row.language) if isinstance(row, MultitaskRow) else ("", "") for row in rows]
    tasks = sorted({task for task, _ in known} - {""})
    languages = sorted({language for _, language in known} - {""})
    languages = languages if len(languages) > 1 else []
    if not tasks and not languages:
        return None
    names = (*tasks, *(f"{LANGUAGE}{name}" if name in tasks else name for name in languages))
    task_places = {name: place for place, name in enumerate(tasks)}
    language_places = {name: len(tasks) + place for place, name in enumerate(languages)}
    none = len(names)
    of_2G = [
        [task_places.get(task, none) for task, _ in known],
        [language_places.get(language, none) for _, language in known],
    ]
    return Parts(names, torch.tensor(of_2G))


class PartSums:
    """Sums over the targets of each part, on the device: reading them is the only synchronisation."""

    def __init__(self, parts: Parts, device: torch.device) -> None:
        self.parts, self.of_2G = parts, parts.of_2G.to(device)
        # the last column is of what belongs to no part
        self.sums = torch.zeros(2, len(parts.names) + 1, dtype=torch.float64, device=device)

    def add(self, output: Output, batch: GroupBatch) -> None:
        """One micro-batch: Σ w·(−Σ log P) and Σ w·length over the targets of each part, w as in `sft_term`."""
        if batch["empty"]:
            return
        logp, weight_R = output.logp, batch["sft_weights_R"].double()
        loss_2R = torch.stack([-weight_R * logp.sum.double(), weight_R * logp.length])
        for place_G in self.of_2G:
            self.sums.index_add_(1, place_G[batch["index_G"]][batch["group_R"]], loss_2R)

    def read(self, accelerator: Any) -> dict[str, float]:
        """The losses over all ranks; a part of which nothing is a target is left out."""
        total, weight = accelerator.reduce(self.sums, reduction="sum").tolist()
        found = zip(self.parts.figures, total, weight, strict=False)
        return {name: share / whole for name, share, whole in found if whole}
