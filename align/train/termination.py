"""A request to end, SIGTERM, as schedulers send it before they take a machine back: noted here, obeyed after a step.

All ranks obey after the same step, though they are told at different moments, or only one of them is.
"""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

import torch

CODE = 128 + signal.SIGTERM


class Termination:
    """While it is entered, SIGTERM ends nothing by itself."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Termination":
        # another thread has no signals; then they end the process, as ever
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def agreed(self, accelerator: Any) -> bool:
        """Whether any rank was asked to end. Every rank takes part, once a step."""
        if accelerator.num_processes == 1:
            return self.asked
        told = torch.tensor([float(self.asked)], device=accelerator.device)
        return bool(accelerator.reduce(told, reduction="sum").item() > 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


class Terminated(SystemExit):
    """The process was asked to end, and goes; its exit code is 143."""

    def __init__(self, step: int, steps: int, label: str, *, tell: bool) -> None:
        super().__init__(CODE)
        if tell:
            print(
                f"align: {label}: ended by SIGTERM after step {step} of {steps}, which is saved; the same command goes "
                "on from there",
                file=sys.stderr,
                flush=True,
            )
