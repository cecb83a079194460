"""Compare models on the same problems: pass@k with intervals, paired differences. Numbers are percent, 95 %."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..generate.request import Sampling
from ..schema import NO_VERDICT, Isolation, Outcome, Record, Response, Verdict
from .passk import mean_interval, paired_interval, pass_at_k


class Answer(Record):
    """One scored sample of one model."""

    model: str
    """Its name in the score stage."""
    problem_id: str
    """Id of the problem."""
    sample_index: int
    """0, 1, … among the model's samples for the problem."""
    code: str | None
    """The program cut out of the answer; None where there is none."""
    passed: bool
    """Whether every test held."""
    outcome: Outcome
    """How it ended."""
    reason: str | None
    """Exception type, signal, `memory`, `output_limit`, …"""
    tests_passed: int
    """Assert statements that held."""
    tests_total: int
    """Assert statements in the test source."""
    isolation: Isolation
    """Isolation level the program ran under."""


def answer_of(response: Response, verdict: Verdict) -> Answer:
    """A judged response as a row of results."""
    told = verdict.model_dump(include=set(Answer.model_fields))
    return Answer(**told, model=response.model, sample_index=response.sample_index, code=response.code)


def compare(answers: Mapping[str, Sequence[Answer]], k: Sequence[int], *, n: int, sampling: Sampling) -> dict[str, Any]:
    """`{models: {name: {"pass@1", low, high, …}}, paired: {"a-b": {delta, low, high}}, unscored}`, for `align show`.

    A problem that could not be judged, through no fault of a program, is left out for all models and named.

    Raises:
        DataError: no problem is left.
    """
    unscored = {row.problem_id for rows in answers.values() for row in rows if row.outcome in NO_VERDICT}
    scored = {name: [row for row in rows if row.problem_id not in unscored] for name, rows in answers.items()}
    if not all(scored.values()):
        raise DataError(f"none of the {len(unscored)} problems could be judged: look at their tests")
    # pass@1 can always be told, and is what models are paired by
    rates = {name: pass_rates(rows, sorted({1, *k})) for name, rows in scored.items()}
    paired = {
        f"{one}-{other}": _percent(("delta", "low", "high"), paired_interval(rates[one][1], rates[other][1]))
        for one in answers
        for other in answers
        if one != other
    }
    return {
        "models": {name: _summary(rates[name], scored[name], n, sampling) for name in answers},
        "paired": paired,
        "unscored": sorted(unscored),
    }


def pass_rates(rows: Sequence[Answer], ks: Sequence[int]) -> dict[int, list[float]]:
    """pass@k of every problem, in order of first appearance."""
    judged = Counter(row.problem_id for row in rows)
    passed = Counter(row.problem_id for row in rows if row.passed)
    return {k: [pass_at_k(total, passed[problem], k) for problem, total in judged.items()] for k in ks}


def _summary(rates: dict[int, list[float]], rows: Sequence[Answer], n: int, sampling: Sampling) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k, values in rates.items():
        names = (f"pass@{k}", "low", "high") if k == 1 else (f"pass@{k}", f"low@{k}", f"high@{k}")
        found |= _percent(names, mean_interval(values))
    return {
        **found,
        "problems": len(next(iter(rates.values()))),
        "n": n,
        "k": list(rates),
        "sampling": sampling.model_dump(),
        "outcomes": dict(sorted(Counter(row.outcome for row in rows).items())),
    }


def _percent(names: tuple[str, ...], values: tuple[float, float, float]) -> dict[str, float]:
    return {name: round(100 * value, 3) for name, value in zip(names, values, strict=True)}
