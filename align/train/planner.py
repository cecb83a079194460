"""Rows to planned micro-batches, for training and for evaluation. Trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..text.collate import Group
from ..text.encode import Encoder
from ..text.plan import LayoutName, plan_batches
from .config import AlignConfig
from .data import Encoded, MicroBatches, Row, check_left, encode_rows


@dataclass(frozen=True)
class Planner:
    """What planning needs to know."""

    args: AlignConfig
    encoder: Encoder
    limit: int | None
    """Tokens that a row may have."""
    layout: LayoutName

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """Rows as groups of ids.

        Raises:
            DataError: no row is left.
        """
        loss = self.args.loss
        encoded = encode_rows(
            rows,
            self.encoder,
            max_length=self.limit,
            teacher_target=loss is not None and loss.targets_teacher,
            per_target=self.args.normaliser == "targets",
        )
        return check_left(encoded, rows)

    def training(self, groups: Sequence[Group]) -> MicroBatches:
        """The micro-batches of a training."""
        steps = self.args.max_steps if self.args.max_steps > 0 else None
        return self._planned(groups, self.args.global_batch_size, self.args.num_train_epochs, steps)

    def evaluation(self, groups: Sequence[Group]) -> MicroBatches:
        """The micro-batches of one pass as one step, so that every denominator counts the whole of the groups."""
        return self._planned(groups, len(groups), 1, None)

    def _planned(
        self, groups: Sequence[Group], global_batch_size: int, epochs: float, max_steps: int | None
    ) -> MicroBatches:
        plan = plan_batches(
            [group.size for group in groups],
            global_batch_size=global_batch_size,
            max_tokens_per_batch=self.args.max_tokens_per_batch,
            world_size=self.args.world_size,
            seed=self.args.seed,
            epochs=epochs,
            max_steps=max_steps,
            layout=self.layout,
        )
        return MicroBatches(
            groups, plan, self.encoder.pad_id, self.layout, mismatched=self.needs_kl, max_length=self.limit
        )

    @property
    def needs_kl(self) -> bool:
        """Whether the loss, which is KTO, compares rows with mismatched ones."""
        return self.args.loss is not None and self.args.loss.reads == "unpaired"
