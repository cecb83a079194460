"""Of several temperatures each k's best: how Codex, BLOOM and BLOOMZ report pass@k. Knows figures, not samples.

The best of several is chosen on the problems that measure, and so flatters, all models alike (Chen et al. 2021, arXiv
2107.03374, section 3.3).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def key(model: str, temperature: float) -> str:
    """Name of a model's samples at a temperature, for `compare`."""
    return f"{model} at {temperature}"


def best_per_k(compared: Mapping[str, Any], models: Sequence[str], temperatures: Sequence[float]) -> dict[str, Any]:
    """What `compare` says of models, from what it says of each at each temperature.

    Args:
        compared: by `compare` from samples under the names that `key` gives.
        models: their own names.
        temperatures: those of the samples; of equals the first is the best.

    Returns:
        As `compare`. A model's `best_temperature` has the one of each `pass@k`, its `temperatures` all figures by
        temperature; models are paired at their best ones for pass@1.
    """
    best = {name: _merged(compared["models"], name, temperatures) for name in models}
    chosen = {name: key(name, summary["best_temperature"]["pass@1"]) for name, summary in best.items()}
    paired = {
        f"{one}-{other}": compared["paired"][f"{chosen[one]}-{chosen[other]}"]
        for one in models
        for other in models
        if one != other
    }
    return {"models": best, "paired": paired, "unscored": compared["unscored"]}


def _merged(found: Mapping[str, Any], name: str, temperatures: Sequence[float]) -> dict[str, Any]:
    """One model's summary."""
    all_of_them = {}
    for t in temperatures:
        summary = found[key(name, t)]
        all_of_them[t] = summary | {"sampling": summary["sampling"] | {"temperature": t}}
    first = all_of_them[temperatures[0]]
    merged, chosen, outcomes = dict(first), {}, Counter[str]()
    for k in first["k"]:
        figure = f"pass@{k}"
        # max takes the first of equals
        chosen[figure] = max(temperatures, key=lambda t: all_of_them[t][figure])
        for part in (figure, "low", "high") if k == 1 else (figure, f"low@{k}", f"high@{k}"):
            merged[part] = all_of_them[chosen[figure]][part]
    for summary in all_of_them.values():
        outcomes.update(summary["outcomes"])
    return merged | {
        "sampling": first["sampling"] | {"temperature": list(temperatures)},
        "outcomes": dict(sorted(outcomes.items())),
        "best_temperature": chosen,
        "temperatures": {str(t): summary for t, summary in all_of_them.items()},
    }
