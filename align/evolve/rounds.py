"""Rounds of evolution: every problem of the pool is put to a model, what survives joins the pool of the next round.

A failed evolution returns its parent to the pool, as in Evol-Instruct. A plan does not change its problem, which stays
in the pool beside it; the planned one is not evolved further. Deterministic by seed; how replies are got, and kept
across interruptions, is the caller's `ask_all`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from ..generate.ask import Prompts
from ..generate.request import Reply, Request, Sampling
from ..schema import Problem, Rejected
from ..text.template import prompt_text
from .compare import judged, request_comparison
from .eliminate import Case, Fault, Rules, find_fault
from .known import Known
from .operators import OPERATORS, OperatorName, Style, derive, request_evolution, request_plan
from .plans import Planner, can_be_planned, check_plans, read_plan, with_plan

Pool = Literal["latest", "all"]
AskAll = Callable[[list[Request], int], list[Reply]]
"""(requests, round) → replies in the same order."""


class Attempt(NamedTuple):
    """One evolution to be asked for."""

    parent: Problem
    operator: OperatorName
    request: Request


@dataclass(frozen=True)
class Means:
    """How problems are evolved, beside the model that does it."""

    operators: Sequence[OperatorName] = OPERATORS
    """Names of the operators drawn from; `plan` is drawn only for problems with tests."""
    style: Style = "pangu-coder2"
    """The prompt around a heuristic."""
    rules: Rules = field(default_factory=Rules)
    """Limits of a new problem."""
    sampling: Sampling = field(default_factory=Sampling)
    """How replies are drawn."""
    prompts: Prompts = field(default_factory=Prompts)
    """The templates."""
    judge: AskAll | None = None
    """A model that says whether a problem asks for more than its parent; nobody is asked without one."""
    planner: Planner | None = None
    """Who checks plans; needed by the operator `plan`."""


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
    means: Means | None = None,
    seed: int = 0,
) -> Evolved:
    """Evolve problems for some rounds.

    Args:
        seeds: the problems to start from; they are part of the result.
        ask_all: puts the requests of a round to the model that evolves.
        rounds: how many.
        children: evolutions of each problem of the pool in each round.
        pool: what a round evolves: the `latest` children and the parents of failed ones, or `all` problems so far.
        means: operators, prompts, rules of elimination, and who else is asked.
        seed: of the operators and of the replies.

    Raises:
        DataError: a seed's prompt is a chat of several turns.
        ValueError: plans are among the operators, and nobody checks them.
    """
    means = means or Means()
    if "plan" in means.operators and means.planner is None:
        raise ValueError("the operator plan needs a planner, which has code written from plans and runs it")
    result = Evolved([_as_seed(problem) for problem in seeds])
    known = Known(prompt_text(problem) for problem in result.problems)
    waiting = [problem for problem in result.problems if problem.operator != "plan"]
    planned: set[str] = set()
    for number in range(1, rounds + 1):
        drawn = (
            _attempt(parent, means, (seed, number, child), planned) for parent in waiting for child in range(children)
        )
        attempts = [attempt for attempt in drawn if attempt is not None]
        replies = ask_all([attempt.request for attempt in attempts], number) if attempts else []
        born: list[Problem] = []
        returned: dict[str, Problem] = {}
        outcomes = _outcomes(attempts, replies, means, known, number)
        for attempt, reply, outcome in zip(attempts, replies, outcomes, strict=True):
            if isinstance(outcome, Fault):
                result.rejected.append(_rejected(attempt, reply, outcome, number))
            else:
                result.problems.append(outcome)
            if attempt.operator == "plan" and isinstance(outcome, Problem):
                planned.add(attempt.parent.id)
            if attempt.operator == "plan" or isinstance(outcome, Fault):
                returned[attempt.parent.id] = attempt.parent
            else:
                born.append(outcome)
        waiting = [*returned.values(), *born]
        if pool == "all":
            waiting = [problem for problem in result.problems if problem.operator != "plan"]
    return result


def _as_seed(problem: Problem) -> Problem:
    return problem if problem.round is not None else problem.model_copy(update={"round": 0})


def _attempt(parent: Problem, means: Means, draw: tuple[int, int, int], planned: set[str]) -> Attempt | None:
    """One request; its operator and noise depend on the seed, the round, the parent and the child's number alone. None
    where only a plan could be asked for, and cannot or need not."""
    own = derive(*draw, parent.id)
    may_plan = draw[-1] == 0 and parent.id not in planned and can_be_planned(parent)
    operators = [name for name in means.operators if name != "plan" or may_plan]
    if not operators:
        return None
    operator, text = Random(own).choice(operators), prompt_text(parent)
    if operator == "plan":
        request = request_plan(text, parent.entry_point, parent.signature, means.prompts, means.sampling, own)
    else:
        request = request_evolution(text, operator, means.style, means.prompts, means.sampling, own)
    return Attempt(parent, operator, request)


def _outcomes(
    attempts: list[Attempt], replies: list[Reply], means: Means, known: Known, number: int
) -> list[Problem | Fault]:
    """The child of each attempt, or why there is none: by the rules, then by those who judge what the rules leave."""
    found = [
        (_planned if attempt.operator == "plan" else _evolved)(attempt, reply, means.rules, known, number)
        for attempt, reply in zip(attempts, replies, strict=True)
    ]
    for faults in (_compared(attempts, found, means, number), _checked(attempts, found, means, number)):
        for place, fault in faults.items():
            found[place] = fault
    return found


def _evolved(attempt: Attempt, reply: Reply, rules: Rules, known: Known, number: int) -> Problem | Fault:
    """The child by the rules; its text is known from now on, so that a model judges it once."""
    parent, text = attempt.parent, reply.text.strip()
    case = Case(text, prompt_text(parent), _instructions(attempt.request), attempt.operator, parent.language)
    if fault := find_fault(reply, case, known, rules):
        return fault
    known.add(text)
    # tests and reference belong to the parent's question; its interface is kept where the child's text allows it
    name = parent.entry_point
    keeps_interface = name is not None and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
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


def _planned(attempt: Attempt, reply: Reply, rules: Rules, known: Known, number: int) -> Problem | Fault:
    plan = read_plan(reply)
    return plan if isinstance(plan, Fault) else with_plan(attempt.parent, plan, number)


def _compared(attempts: list[Attempt], found: list[Problem | Fault], means: Means, number: int) -> dict[int, Fault]:
    """Place of a child that asks for no more than its parent, or of which that is not known → the fault."""
    if means.judge is None:
        return {}
    asked = {
        place: request_comparison(
            prompt_text(attempt.parent), prompt_text(child), means.prompts, means.sampling, attempt.request.seed
        )
        for place, (attempt, child) in enumerate(zip(attempts, found, strict=True))
        if isinstance(child, Problem) and attempt.operator != "plan"
    }
    replies = means.judge(list(asked.values()), number) if asked else []
    return {place: fault for place, reply in zip(asked, replies, strict=True) if (fault := judged(reply))}


def _checked(attempts: list[Attempt], found: list[Problem | Fault], means: Means, number: int) -> dict[int, Fault]:
    """Place of a plan from which no passing code came → the fault."""
    plans = {
        place: child
        for place, (attempt, child) in enumerate(zip(attempts, found, strict=True))
        if attempt.operator == "plan" and isinstance(child, Problem)
    }
    if means.planner is None or not plans:
        return {}
    faults = check_plans(list(plans.values()), means.planner, means.prompts, means.sampling, number)
    return {place: fault for place, fault in zip(plans, faults, strict=True) if fault}


def _instructions(request: Request) -> str:
    """What a model was told, without the problem."""
    content = "\n".join(message.content for message in request.prompt if not isinstance(message, str))
    return content.replace(request.fields["problem"], "\n")


def _rejected(attempt: Attempt, reply: Reply, fault: Fault, number: int) -> Rejected:
    made = {"prompt": reply.text, "parent": attempt.parent.id, "operator": attempt.operator, "round": number}
    return Rejected(reason=fault.reason, detail=fault.detail, record=made)
