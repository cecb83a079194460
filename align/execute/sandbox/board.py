"""The shared memory in which a program's process leaves what happened, so that a kill loses nothing.

One byte an assert, one for how far it got, one for whose fault it is, and the first reason. It is memory and
not a descriptor: a program that closes everything loses nothing. A program that means to can find and forge it.
"""

import mmap
from typing import Any

LOADING, TESTING, BROKEN, ENDED = range(4)
"""How far the program got; BROKEN: an exception left the tests, ENDED: the tests ran to their end."""
NOBODY, COMPILE, TESTS = range(3)
"""Whose fault it is that nothing could be learnt: the program's source, or the tests."""
UNREACHED, RUNNING, HELD, FAILED = range(4)
"""State of one assert."""

_PHASE, _FAULT, _RAISED, _LENGTH, _REASON, _ASSERTS = 0, 1, 2, 3, 4, 256


class Board:
    """Shared between the zygote, which reads, and one program's process, which writes."""

    def __init__(self, asserts: int) -> None:
        self.asserts = asserts
        self._memory = mmap.mmap(-1, _ASSERTS + asserts)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()

    @property
    def phase(self) -> int:
        """How far the program got."""
        return self._memory[_PHASE]

    def reach(self, phase: int) -> None:
        """The program got as far as `phase`."""
        self._memory[_PHASE] = phase

    def blame(self, fault: int, reason: str) -> None:
        """Nothing can be learnt about the program's behaviour, because of `reason`."""
        self._memory[_FAULT] = fault
        self.note(reason)

    def raised(self, reason: str) -> None:
        """The program raised; the first reason is kept."""
        self._memory[_RAISED] = 1
        self.note(reason)

    def note(self, reason: str) -> None:
        """Keep the first reason."""
        if self._memory[_LENGTH] == 0:
            text = reason.encode("utf-8", "replace")[: _ASSERTS - _REASON - 1]
            self._memory[_REASON : _REASON + len(text)] = text
            self._memory[_LENGTH] = len(text)

    def begin(self, index: int) -> int:
        """Assert `index` is being evaluated."""
        if self._memory[_ASSERTS + index] != FAILED:
            self._memory[_ASSERTS + index] = RUNNING
        return index

    def held(self, index: int) -> None:
        """This execution of assert `index` held; an earlier failure stays."""
        if self._memory[_ASSERTS + index] != FAILED:
            self._memory[_ASSERTS + index] = HELD

    def failed(self, index: int) -> None:
        """Assert `index` did not hold."""
        self._memory[_ASSERTS + index] = FAILED

    def facts(self) -> dict[str, Any]:
        """Everything on the board, as plain data."""
        memory = self._memory
        return {
            "phase": self.phase,
            "fault": memory[_FAULT],
            "raised": bool(memory[_RAISED]),
            "reason": memory[_REASON : _REASON + memory[_LENGTH]].decode("utf-8", "replace"),
            "asserts": list(memory[_ASSERTS : _ASSERTS + self.asserts]),
        }
