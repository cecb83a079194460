"""Rows to planned micro-batches, for training and for evaluation. Trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import MultitaskRow
from ..text.collate import Group
from ..text.encode import Encoder
from ..text.plan import LayoutName, plan_batches
from ..text.token_store import TokenStore
from .config import AlignConfig
from .data import Encoded, MicroBatches, Row, check_left, encode_rows
from .stored import StoredGroups, stored_groups


@dataclass(frozen=True)
class Planner:
    """What planning needs to know."""

    args: AlignConfig
    encoder: Encoder
    limit: int | None
    """Tokens that a row may have."""
    layout: LayoutName

    def encode(self, rows: Sequence[Row] | TokenStore) -> Encoded:
        """Rows as groups of ids; those of tasks, whose ids a store holds, only when they are laid out.

        Raises:
            DataError: no row is left.
        """
        loss, per_target, floor = self.args.loss, self.args.normaliser == "targets", self.args.target_length_floor
        store = rows if isinstance(rows, TokenStore) else _in_memory(rows, self.encoder)
        if store is not None:
            groups, dropped = stored_groups(store, max_length=self.limit, per_target=per_target, length_floor=floor)
            return check_left(Encoded(groups, dropped, groups.rows), store)
        assert not isinstance(rows, TokenStore)
        encoded = encode_rows(
            rows,
            self.encoder,
            max_length=self.limit,
            teacher_target=loss is not None and loss.targets_teacher,
            per_target=per_target,
            length_floor=floor,
        )
        return check_left(encoded, rows)

    def training(self, groups: Sequence[Group]) -> MicroBatches:
        """The micro-batches of a training."""
        steps = self.args.max_steps if self.args.max_steps > 0 else None
        units = groups.units if isinstance(groups, StoredGroups) else None
        return self._planned(groups, self.args.global_batch_size, self.args.num_train_epochs, steps, units)

    def evaluation(self, groups: Sequence[Group]) -> MicroBatches:
        """The micro-batches of one pass as one step, so that every denominator counts the whole of the groups."""
        return self._planned(groups, len(groups), 1, None)

    def _planned(
        self,
        groups: Sequence[Group],
        global_batch_size: int,
        epochs: float,
        max_steps: int | None,
        units: NDArray[np.int64] | None = None,
    ) -> MicroBatches:
        plan = plan_batches(
            groups.sizes if isinstance(groups, StoredGroups) else [group.size for group in groups],
            global_batch_size=global_batch_size,
            max_tokens_per_batch=self.args.max_tokens_per_batch,
            world_size=self.args.world_size,
            seed=self.args.seed,
            epochs=epochs,
            max_steps=max_steps,
            layout=self.layout,
            units=units,
        )
        return MicroBatches(
            groups, plan, self.encoder.pad_id, self.layout, mismatched=self.needs_kl, max_length=self.limit
        )

    @property
    def needs_kl(self) -> bool:
        """Whether the loss, which is KTO, compares rows with mismatched ones."""
        return self.args.loss is not None and self.args.loss.reads == "unpaired"


def _in_memory(rows: Sequence[Row], encoder: Encoder) -> TokenStore | None:
    """The store of rows of tasks; None of other rows."""
    tasks = [row for row in rows if isinstance(row, MultitaskRow)]
    return TokenStore.in_memory(tasks, encoder) if tasks and len(tasks) == len(rows) else None
