"""What decontamination finds, and how a benchmark's problem is named in it. Finds nothing itself."""

from dataclasses import dataclass
from typing import Literal

from ...schema import Problem

Method = Literal["substring", "ngram", "near", "execution"]
METHODS: tuple[Method, ...] = ("substring", "ngram", "near", "execution")
"""Cheapest first; a row is given the first that finds it."""


@dataclass(frozen=True)
class Hit:
    """Why a row must not be trained on."""

    method: Method
    benchmark: str
    """The benchmark's name."""
    problem: str
    """The user's own id of the problem, or its hash."""
    evidence: str
    """What the two share: words, tokens, or tests that the row's code passes."""

    @property
    def detail(self) -> str:
        """One line for `rejected.jsonl`."""
        return f"{self.method}: {self.benchmark} {self.problem}: {self.evidence}"


def label(problem: Problem) -> str:
    """The user's own id of a problem, where it has one."""
    return str(problem.meta.get("task_id") or problem.meta.get("id") or problem.id)
