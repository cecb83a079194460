"""Stop a training whose numbers are not finite, and name the rows. Repairs nothing."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..errors import StageError
from ..text.collate import Group, GroupBatch
from .policy import Output

SHOWN_PROBLEMS = 8
"""Problem ids that an error names."""
CURE = "lower args.learning_rate, or look at these rows"


def check_loss(loss: Tensor, output: Output, batch: GroupBatch, groups: Sequence[Group], step: int) -> None:
    """Nothing, if a micro-batch's loss is finite.

    Args:
        loss: its loss.
        output: what the policy said of it.
        batch: the micro-batch.
        groups: those of the data set, for their ids.
        step: the optimizer step, from 1.

    Raises:
        StageError: it is not: names the problems whose own log-probabilities or scores are not finite; where all are,
            those of the whole micro-batch.
    """
    if torch.isfinite(loss):
        return
    sound_R = output.logp.sum.isfinite() & batch["scores_R"].isfinite()
    for reference_N in (output.reference_N, batch.get("reference_N")):
        if reference_N is not None:
            sound_R[batch["response_N"][~reference_N.isfinite()]] = False
    own = sorted(set(batch["group_R"][~sound_R].tolist()))
    places = batch["index_G"].tolist()
    named = named_problems(groups, (places[i] for i in own if i < len(places)) if own else places)
    whose = "whose own log-probabilities or scores are not finite" if own else "of its micro-batch"
    raise StageError(f"the loss is {loss.item()} at step {step} on the problems {named}, {whose}: {CURE}")


def check_norm(norm: float, groups: Sequence[Group], rows: Iterable[int], step: int) -> None:
    """Nothing, if the norm of an optimizer step's gradient is finite.

    Args:
        norm: of the gradient, over all ranks.
        groups: those of the data set, for their ids.
        rows: places of the step's groups.
        step: the optimizer step, from 1.

    Raises:
        StageError: it is not, though every loss was.
    """
    if not torch.isfinite(torch.as_tensor(norm)):
        named = named_problems(groups, rows)
        raise StageError(f"the gradient's norm is {float(norm)} at step {step} on the problems {named}: {CURE}")


def named_problems(groups: Sequence[Group], places: Iterable[int]) -> str:
    """The ids of the first few problems, and how many more there are."""
    ids = [groups[place].problem_id for place in places]
    more = f" and {len(ids) - SHOWN_PROBLEMS} more" if len(ids) > SHOWN_PROBLEMS else ""
    return ", ".join(ids[:SHOWN_PROBLEMS]) + more
