"""Numbers below the normal ones of their type, on a CPU: taken for 0 while a model computes. Nothing else.

Weights of attention underflow, most of all by ALiBi, and a processor takes many times as long over such numbers.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_DENORMAL = sys.float_info.min / 2


@contextmanager
def flushed() -> Iterator[None]:
    """Flush denormals in this thread, and in the threads that PyTorch starts meanwhile, as it does but once.

    So a process gains most that loads its model in here, too. On a GPU, and where the processor cannot, nothing is.
    """
    before = _DENORMAL * 1.0 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
