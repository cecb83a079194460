"""Join what a model wrote with its problem's tests.

Cutting the code out of an answer is `extract`, the tests' side is `checks`. Kinds of tests that cannot be judged
become programs that say why they are not run. Runs nothing.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ..schema import Limits, Problem, content_id
from .checks import Checks, checks_for
from .definitions import compiles
from .extract import Policy, extract_code
from .sandbox.stand_ins import register

__all__ = ["Policy", "Program", "extract_code", "program_for"]

Profile = Literal["std", "numpy"]

_NUMPY = re.compile(r"\bnumpy\b")


@dataclass(frozen=True)
class Program:
    """A program and the tests to run it on."""

    source: str
    """What the model wrote, with the prompt in front where it continues it."""
    prelude: str | None
    """Source that the program's process runs before it: a prompt whose helpers a whole solution needs, or what gives
    it the name under which a unittest file imports it."""
    checks: Checks
    limits: Limits | None
    unsupported: str | None
    """Why it cannot be run, where that is known beforehand; decided from the problem alone."""
    setup: str = ""
    """Source that its process runs after it: a set-up that makes the arguments of asserts from its classes."""

    @cached_property
    def key(self) -> str:
        """Hash of everything but the limits: programs with one key do the same."""
        return content_id([self.source, self.prelude, self.checks.key])

    @cached_property
    def profile(self) -> Profile:
        """What its process has imported beforehand."""
        checks = self.checks
        texts = (self.source, self.prelude or "", checks.imports, checks.setup, checks.prelude or "", *checks.tests)
        return "numpy" if any("numpy" in text and _NUMPY.search(text) for text in texts) else "std"

    def job(self) -> dict[str, Any]:
        """What a worker needs, as plain data."""
        checks = self.checks
        return {
            "source": self.source,
            "prelude": self.prelude,
            "test_kind": checks.kind,
            "tests": "\n".join(checks.tests),
            "imports": checks.imports,
            "setup": checks.setup,
            "entry_point": checks.entry_point,
        }


def program_for(problem: Problem, *, completion: str | None = None, solution: str | None = None) -> Program:
    """The program that an answer to a problem makes.

    Args:
        problem: it gives the tests.
        completion: the answer continues the problem's prompt (HumanEval's form). Where the prompt is prose or
            messages, which no program can begin with, it is taken as a solution.
        solution: the answer is a whole program. A `check` test may need the prompt's helpers (HumanEval 10, 32, 38
            and 50): the prompt runs before it where it is a program itself.
    """
    if (completion is None) == (solution is None):
        raise TypeError("program_for: give completion or solution")
    prompt = problem.prompt if isinstance(problem.prompt, str) else None
    continues = completion is not None and prompt is not None and _can_be_continued(prompt)
    answer = solution if completion is None else completion
    checks, unsupported = checks_for(problem)
    return Program(
        source=f"{prompt}{answer}" if continues else str(answer),
        prelude=_prelude(checks, None if continues else prompt),
        checks=checks,
        limits=problem.limits,
        unsupported=unsupported,
        setup=checks.setup if checks.given else "",
    )


def _prelude(checks: Checks, prompt: str | None) -> str | None:
    """What runs before a program; `prompt` where that is not its beginning."""
    if checks.kind == "unittest" and checks.module is not None:
        return register(checks.module)
    helps = checks.kind == "check" and prompt and compiles(prompt)
    return prompt if helps else None


def _can_be_continued(prompt: str) -> bool:
    return compiles(prompt) or compiles(f"{prompt}\n    pass\n")
