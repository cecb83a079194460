"""Compare models on the same problems: pass@k with intervals, paired differences. Numbers are percent, 95 %."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..generate.request import Sampling
from ..schema import NO_VERDICT, Isolation, Outcome, Record
from .passk import mean_interval, paired_interval, pass_at_k


class Answer(Record):
    """One scored sample of one model."""

    model: str
    problem_id: str
    sample_index: int
    code: str
    passed: bool
    outcome: Outcome
    reason: str | None
    tests_passed: int
    tests_total: int
    isolation: Isolation
    meta: dict[str, Any]


def compare(answers: Mapping[str, Sequence[Answer]], k: Sequence[int], *, n: int, sampling: Sampling) -> dict[str, Any]:
    """`{models: {name: {"pass@1", low, high, …}}, paired: {"a-b": {delta, low, high}}}` as `align show` prints it.

    Raises:
        DataError: a problem could not be judged, through no fault of the programs.
    """
    rates = {name: pass_rates(rows, k) for name, rows in answers.items()}
    models = {name: _summary(rates[name], answers[name], n, sampling) for name in answers}
    paired = {
        f"{one}-{other}": _percent(("delta", "low", "high"), paired_interval(rates[one][k[0]], rates[other][k[0]]))
        for one in answers
        for other in answers
        if one != other
    }
    return {"models": models, "paired": paired}


def pass_rates(rows: Sequence[Answer], ks: Sequence[int]) -> dict[int, list[float]]:
    """pass@k of every problem, in order of first appearance."""
    judged: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for row in rows:
        if row.outcome in NO_VERDICT:
            raise DataError(f"problem {row.problem_id} cannot be scored: {row.outcome} ({row.reason}): mend its tests")
        judged[row.problem_id] += 1
        passed[row.problem_id] += row.passed
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
