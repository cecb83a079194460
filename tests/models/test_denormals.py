import sys

import pytest
import torch

from align.models.denormals import flushed

LEAST = sys.float_info.min / 4


def test_denormals_are_zero_inside_and_themselves_outside():
    with flushed():
        assert not torch.full((64,), 1e-39).mul(1e30).any()
        with flushed():
            pass
        assert LEAST * 1.0 == 0
    assert LEAST * 1.0 > 0
    assert torch.full((64,), 1e-39).mul(1e30).all()


def test_an_error_inside_restores_them():
    with pytest.raises(KeyError), flushed():
        raise KeyError
    assert LEAST * 1.0 > 0
