"""Rank classification with a causal model: the log-probability of every option after its prompt. Chooses nothing.

Prompt and option are tokenised apart, as everywhere (`align.text.encode`), and nothing is cut. A prompt goes through
the model once for all its options where the model can be served packed rows, else once an option, padded.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import torch

from ..errors import DataError
from ..models.denormals import flushed
from ..models.layout import Backend
from ..models.load import Model
from ..progress import progress
from ..text.collate import Group, Totals, collate, on_device
from ..text.encode import Encoder
from ..text.plan import LayoutName
from ..train.policy import Policy
from .classify import Choice, Chosen

MAX_TOKENS = 4096
"""Of a batch, unless one row alone takes more."""


class Chooser:
    """Scores options with a model.

    Args:
        model: for causal language modelling, on its device; its attention is switched to one that serves packed rows.
        encoder: of its tokenizer.
        end: whether the end of text counts as an option's last token: an option that could go on then loses to one
            that is over. lm-evaluation-harness leaves it out.
        max_tokens: of a batch as it is laid out.
        backend: how attention runs; `plain` computes a prompt again for each of its options.

    Raises:
        BackendError: the backend cannot serve the model, or its head does more than multiply.
    """

    def __init__(
        self,
        model: Model,
        encoder: Encoder,
        *,
        end: bool = False,
        max_tokens: int = MAX_TOKENS,
        backend: Backend | Literal["auto"] = "auto",
    ) -> None:
        self.encoder, self.end, self.max_tokens = encoder, end, max_tokens
        self.policy = Policy(model, backend=backend).eval()
        # ALiBi models have no such limit
        self.positions: int | None = getattr(self.policy.causal.config, "max_position_embeddings", None)
        bos: int | None = encoder.tokenizer.bos_token_id
        self.opening = encoder.eos_id if bos is None else bos

    def choose(self, rows: Sequence[Choice]) -> list[Chosen]:
        """What the model says of each row, in order.

        Raises:
            DataError: an option without tokens, a row longer than the model's positions, a model that gives no number.
        """
        found: dict[int, Chosen] = {}
        with progress("choices", len(rows)) as bar:
            for batch in self.batches(rows):
                found |= batch
                bar.advance(len(batch))
        return [found[place] for place in range(len(rows))]

    def batches(self, rows: Sequence[Choice], done: Collection[int] = ()) -> Iterator[dict[int, Chosen]]:
        """What the model says of the rows, by their places, a batch at a time.

        Batches are planned from all rows, so that a call that goes on after another gives the same: a batch of which
        everything is `done` is skipped.

        Raises:
            DataError: as `choose`.
        """
        groups = [self._group(row) for row in rows]
        for batch in _batches(groups, self.max_tokens, self.policy.layout):
            if not all(place in done for place in batch):
                with flushed(), torch.inference_mode():
                    found = self._logprobs([groups[place] for place in batch])
                told = zip(batch, found, strict=True)
                yield {place: _chosen(rows[place], groups[place], logprobs) for place, logprobs in told}

    def _group(self, row: Choice) -> Group:
        # something must predict an option's first token
        prompt = self.encoder.prompt(row.prompt) or [self.opening]
        options = [self.encoder.response(option) for option in row.options]
        if not self.end:
            options = [ids[:-1] for ids in options]
        if not all(options):
            raise DataError(f"{row.task}: example {row.id} has an option without tokens: mend its options")
        longest = len(prompt) + max(map(len, options))
        if self.positions is not None and longest > self.positions:
            raise DataError(
                f"{row.task}: example {row.id} takes {longest} tokens, the model has {self.positions} positions: "
                "give fewer examples before it, or leave it out"
            )
        none = [0.0] * len(options)
        return Group(row.id, prompt, options, none, [False] * len(options), none)

    def _logprobs(self, groups: Sequence[Group]) -> list[list[float]]:
        """Of each group, those of its options."""
        laid = collate(groups, Totals.of(groups), pad_id=self.encoder.pad_id, layout=self.policy.layout)
        sums = iter(self.policy(on_device(laid, self.policy.causal.device)).logp.sum.tolist())
        return [[next(sums) for _ in group.responses] for group in groups]


def _batches(groups: Sequence[Group], max_tokens: int, layout: LayoutName) -> list[list[int]]:
    """Places of groups of similar length, the longest first, so that memory runs out at once or never."""
    batches: list[list[int]] = []
    taken = None
    for place in sorted(range(len(groups)), key=lambda place: (-groups[place].size.length, place)):
        size = groups[place].size
        together = size if taken is None else taken.with_(size)
        if taken is None or together.tokens(layout) > max_tokens:
            batches.append([])
            together = size
        batches[-1].append(place)
        taken = together
    return batches


def _chosen(row: Choice, group: Group, logprobs: list[float]) -> Chosen:
    if not all(map(math.isfinite, logprobs)):
        raise DataError(
            f"{row.task}: the model gives no number for example {row.id} ({logprobs}): its weights overflow"
        )
    return Chosen.of(row, logprobs, [len(ids) for ids in group.responses])
