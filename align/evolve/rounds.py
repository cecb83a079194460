"""Rounds of evolution: every problem of the pool is put to a model, what survives joins the pool of the next round.

A failed evolution returns its parent to the pool, as in Evol-Instruct. Deterministic by seed; how replies are
got, and kept across interruptions, is the caller's `ask_all`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from ..generate.ask import ask, derive_seed
from ..generate.request import Reply, Request, Sampling
from ..schema import Problem, Rejected
from ..text.similarity import normalise
from ..text.template import prompt_text
from .eliminate import find_fault
from .operators import OPERATORS, OperatorName

Pool = Literal["latest", "all"]
AskAll = Callable[[list[Request], int], list[Reply]]
"""(requests, round) → replies in the same order."""


class Attempt(NamedTuple):
    """One evolution to be asked for."""

    parent: Problem
    operator: OperatorName
    request: Request


@dataclass
class Evolved:
    """What the rounds left."""

    problems: list[Problem]
    """The seeds, then the children of each round."""
    rejected: list[Rejected] = field(default_factory=list)
    """Failed evolutions, with the reason."""


def evolve(
    seeds: Sequence[Problem],
    ask_all: AskAll,
    *,
    rounds: int,
    children: int = 1,
    pool: Pool = "latest",
    operators: Sequence[OperatorName] = tuple(OPERATORS),
    max_words: int | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> Evolved:
    """Evolve problems for some rounds.

    Args:
        seeds: the problems to start from; they are part of the result.
        ask_all: puts the requests of a round to a model.
        rounds: how many.
        children: evolutions of each problem of the pool in each round.
        pool: what a round evolves: the `latest` children and the parents of failed ones, or `all` problems so far.
        operators: names of the heuristics drawn from.
        max_words: longest new problem.
        sampling: how replies are drawn.
        seed: of the operators and of the replies.

    Raises:
        DataError: a seed's prompt is a chat of several turns.
    """
    result = Evolved([_as_seed(problem) for problem in seeds])
    known = {normalise(prompt_text(problem)) for problem in result.problems}
    waiting = list(result.problems)
    for number in range(1, rounds + 1):
        attempts = [
            _attempt(parent, operators, sampling or Sampling(), (seed, number, child))
            for parent in waiting
            for child in range(children)
        ]
        replies = ask_all([attempt.request for attempt in attempts], number)
        born: list[Problem] = []
        returned: dict[str, Problem] = {}
        for attempt, reply in zip(attempts, replies, strict=True):
            child_or_reject = _judge(attempt, reply, number, known, max_words)
            if isinstance(child_or_reject, Problem):
                born.append(child_or_reject)
            else:
                result.rejected.append(child_or_reject)
                returned[attempt.parent.id] = attempt.parent
        result.problems += born
        waiting = result.problems if pool == "all" else [*returned.values(), *born]
    return result


def _as_seed(problem: Problem) -> Problem:
    return problem if problem.round is not None else problem.model_copy(update={"round": 0})


def _attempt(
    parent: Problem, operators: Sequence[OperatorName], sampling: Sampling, draw: tuple[int, int, int]
) -> Attempt:
    """One request; its operator and noise depend on the seed, the round, the parent and the child's number alone."""
    own = derive_seed("evolve", *draw, parent.id)
    operator = Random(own).choice(list(operators))
    fields: dict[str, str] = {"problem": prompt_text(parent), "operator": operator, "method": OPERATORS[operator]}
    return Attempt(parent, operator, ask("evolve", fields, sampling, own))


def _judge(attempt: Attempt, reply: Reply, number: int, known: set[str], max_words: int | None) -> Problem | Rejected:
    """The child, which is known from now on, or why there is none."""
    parent, text = attempt.parent, reply.text.strip()
    before = prompt_text(parent)
    fault = find_fault(reply, parent=before, method=OPERATORS[attempt.operator], known=known, max_words=max_words)
    if fault:
        made = {"prompt": reply.text, "parent": parent.id, "operator": attempt.operator, "round": number}
        return Rejected(reason=fault.reason, detail=fault.detail, record=made)
    known.add(normalise(text))
    # tests and reference belong to the parent's question; its interface is kept where the child's text allows it
    keeps_interface = parent.entry_point is not None and parent.entry_point in text
    return Problem(
        prompt=text,
        entry_point=parent.entry_point if keeps_interface else None,
        signature=parent.signature if keeps_interface else None,
        language=parent.language,
        parent=parent.id,
        operator=attempt.operator,
        round=number,
        source=parent.source,
        licence=parent.licence,
    )
