import pytest
import torch

from align.errors import StageError
from align.loss import ResponseLogprobs
from align.text.collate import Group, Totals, collate
from align.train.finite import check_loss, check_norm
from align.train.policy import Output
from align.train.settings import Rrtf

from .conftest import GROUPS as RANKED

GROUPS = [Group(f"p{n}", [2, 3], [[4, 5], [6]], [1.0, 0.0], [False, False], [1.0, 0.0]) for n in range(12)]


def checked(sums, loss=float("nan"), reference=None):
    batch = collate(GROUPS[:3], Totals.of(GROUPS[:3]), pad_id=0, indices=[0, 1, 2], reference=reference)
    logp = ResponseLogprobs(torch.tensor(sums), torch.tensor([2, 1] * 3), torch.zeros(9))
    check_loss(torch.tensor(loss), Output(logp, None), batch, GROUPS, 4)


def test_a_finite_loss_passes():
    checked([0.0, float("-inf"), 0.0, 0.0, 0.0, 0.0], loss=1.0)


def test_only_the_rows_whose_own_log_probability_is_not_finite_are_named():
    with pytest.raises(StageError, match=r"nan at step 4 on the problems p1, whose own"):
        checked([0.0, 0.0, 0.0, float("nan"), 0.0, 0.0])


def test_a_reference_that_is_not_finite_names_its_row():
    reference = [torch.zeros(3), torch.zeros(3), torch.tensor([0.0, 0.0, float("-inf")])]
    with pytest.raises(StageError, match="on the problems p2, whose own"):
        checked([0.0] * 6, reference=reference)


def test_where_no_row_is_at_fault_alone_the_micro_batch_is_named():
    with pytest.raises(StageError, match="p0, p1, p2, of its micro-batch"):
        checked([0.0] * 6)


def test_a_gradient_that_is_not_finite_names_the_steps_rows():
    check_norm(1.0, GROUPS, range(12), 7)
    with pytest.raises(StageError, match=r"norm is inf at step 7 on the problems p0, .* p7 and 4 more"):
        check_norm(float("inf"), GROUPS, range(12), 7)


def test_a_training_whose_gradient_overflows_stops_before_the_update(run):
    """Scores this far apart give a loss that float32 holds, and a gradient whose squares it does not."""
    rows = [row.model_copy(update={"scores": [1e30] + [0.0] * (len(row.scores) - 1)}) for row in RANKED[:3]]
    with pytest.raises(StageError, match=r"gradient's norm is inf at step 1 on the problems p\d, p\d, p\d:"):
        run(rows, Rrtf(name="rrtf"))
