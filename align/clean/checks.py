"""What is told of each problem by itself: secrets, quality, natural text, overlap with benchmarks. Knows no others.

Runs in worker processes, a chunk at a time, and gives back what later steps compare: a key and a sketch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ..io import dump
from ..schema import Message, Problem, Prompt
from ..text.template import prompt_text
from . import secrets
from .corpus import Corpus
from .decontaminate import Decontaminator
from .duplicates import Compared, Keys, compared_tokens, key
from .near import Sketcher, Sketches
from .quality import Fault, Quality

Secrets = Literal["off", "drop", "replace"]


@dataclass(frozen=True)
class Rules:
    """What a problem must satisfy; each part may be absent."""

    secrets: Secrets = "off"
    """What happens to a problem with a key, an e-mail or IP address, or a user name in it."""
    quality: Quality | None = None
    corpus: Corpus | None = None
    """datatrove's filters for the prompt."""
    decontaminator: Decontaminator | None = None
    compare: Compared = "prompt"
    """What makes duplicates."""
    near: Sketcher | None = None
    """How near-duplicates are found."""


class Checked(NamedTuple):
    """A chunk of problems after the checks."""

    lines: list[str]
    """Each problem's record."""
    ids: list[str]
    faults: list[Fault | None]
    """Why each goes, if it does."""
    comparable: list[bool]
    """Whether there is something that may be a duplicate."""
    keys: Keys
    sketches: Sketches | None
    notes: Counter[str]
    """How many were changed, and by what."""


class Checks:
    """The rules, applied to a chunk."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def __call__(self, problems: Sequence[Problem]) -> Checked:
        rules, notes = self.rules, Counter[str]()
        checked, faults, found = [], [], []
        for problem in problems:
            problem, fault = self._check(problem, notes)
            checked.append(problem)
            faults.append(fault)
            found.append([] if fault else compared_tokens(problem, rules.compare))
        keys = b"".join(key(tokens, problem.language) for tokens, problem in zip(found, checked, strict=True))
        sketches = None
        if rules.near is not None:
            near, pairs = rules.near, zip(found, checked, strict=True)
            sketches = near.sketch([near.shingles(tokens, problem.language) for tokens, problem in pairs])
        return Checked(
            [dump(problem) for problem in checked],
            [problem.id for problem in checked],
            faults,
            [bool(tokens) for tokens in found],
            np.frombuffer(keys, np.uint64).reshape(-1, 2),
            sketches,
            notes,
        )

    def _check(self, problem: Problem, notes: Counter[str]) -> tuple[Problem, Fault | None]:
        """The problem as it goes on, and the first rule that it breaks."""
        rules = self.rules
        if rules.secrets != "off" and (found := secrets.search(problem)):
            # the secret is not written anywhere, the rejects included
            problem = secrets.redacted(problem)
            tests = [field for field in secrets.CHECKED if field in found]
            if rules.secrets == "drop" or tests:
                where = found[tests[0]] if tests else next(iter(found.values()))
                return problem, Fault("secret", where)
            notes["replaced"] += 1
        if rules.corpus is not None and (changed := formatted(problem, rules.corpus)) is not problem:
            problem = changed
            notes["formatted"] += 1
        return problem, self._fault(problem)

    def _fault(self, problem: Problem) -> Fault | None:
        rules = self.rules
        if rules.quality is not None and (fault := rules.quality.fault(problem)):
            return fault
        if rules.corpus is not None and (refused := rules.corpus.refused(prompt_text(problem))):
            return Fault(*refused)
        if rules.decontaminator is not None:
            hit = rules.decontaminator.check(prompt_text(problem), problem.reference)
            if hit is not None:
                return Fault("contaminated", hit.detail)
        return None


def formatted(problem: Problem, corpus: Corpus) -> Problem:
    """The problem with the prompt that datatrove's formatters make of its own; itself where they change nothing."""
    prompt: Prompt
    if isinstance(problem.prompt, str):
        prompt = corpus.format(problem.prompt)
    else:
        prompt = [Message(role=turn.role, content=corpus.format(turn.content)) for turn in problem.prompt]
    return (
        problem if prompt == problem.prompt else Problem.model_validate({**dict(problem), "prompt": prompt, "id": ""})
    )
