"""Tables of runs: stages with their counts, models with their scores, and what a plan would run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..models.entry import AnyEntry, Endpoint
from ..recipe.closing import describe
from ..recipe.estimate import Estimate, total
from ..recipe.plan import Step
from ..terminal import Table


def show_run(found: Mapping[str, Any]) -> None:
    """The stages' counts and the models' scores, of a `summary`."""
    table = Table(("stage", "seconds", "counts"), f"{found['run']} (seed {found['seed']})", ("seconds",))
    for stage in found["stages"]:
        done = stage["seconds"] is not None
        changed = "" if stage["cached"] or not done else "; its files were changed"
        table.add(
            stage["name"],
            f"{stage['seconds']:.1f}" if done else "",
            describe(stage["counts"]) + changed if done else "not done",
        )
    table.show()
    if "repeat" in found:
        print(f"repeat {', '.join(found['repeat']['stages'])}: {found['repeat']['told']}")
    show_scores(found)


def show_scores(found: Mapping[str, Any]) -> None:
    """One table a stage that scores: two of them may have scored the same names on different problems.

    pass@k of other k than 1 stands in a table of its own, so that both fit a terminal of 80 columns.
    """
    for stage, score in found["scores"].items():
        print()
        if is_of_tasks(score):
            _tasks(f"{stage}: tasks, percent", score["models"], score["paired"]).show()
            continue
        _scores(f"{stage}: {score['problems']}", score["models"], score["paired"]).show()
        if more := [k for k in next(iter(score["models"].values()))["k"] if k != 1]:
            print()
            _several(f"{stage}: pass@k", score["models"], more).show()


def is_of_tasks(score: Mapping[str, Any]) -> bool:
    """Whether models were measured on tasks, and not by programs that pass."""
    return any("tasks" in model for model in score["models"].values())


def show_plan(steps: Iterable[Step], seconds: Mapping[str, float]) -> None:
    """Each stage: cached, or why it runs, and how long it last took."""
    table = Table(("stage", "key", "last took", "state"), numbers=("last took",))
    for step in steps:
        name = step.stage.name
        took = f"{seconds[name]:.1f} s" if name in seconds else ""
        table.add(name, step.key[:12] if step.key else "", took, step.why)
    table.show()


def show_estimates(found: Sequence[Estimate], models: Mapping[str, AnyEntry]) -> None:
    """What endpoints will be asked, at most, and the limits that this may meet. Nothing where none is asked."""
    if not found:
        return
    print()
    columns = ("stage", "model", "requests", "prompt tokens", "answer tokens", "cost")
    table = Table(columns, "at most, if nothing is kept yet and every answer is as long as it may be", columns[2:])
    for entry in found:
        cost = "" if entry.cost is None else f"{entry.cost:,.2f}"
        counts = (entry.requests, entry.prompt_tokens, entry.completion_tokens)
        table.add(entry.stage, entry.model, *(f"{count:,}" for count in counts), cost)
    table.show()
    for name in dict.fromkeys(entry.model for entry in found):
        endpoint = models[name]
        assert isinstance(endpoint, Endpoint)
        needs = dict(zip(("max_requests", "max_tokens", "max_cost"), total(found, name), strict=True))
        for key, need in needs.items():
            limit = getattr(endpoint, key)
            if limit is not None and need is not None and need > limit:
                print(f"models.{name}: {key} {limit:,} may be reached: the run stops there in order, and goes on after")


def _scores(title: str, models: Mapping[str, Any], paired: Mapping[str, Any]) -> Table:
    """pass@1 by model in percent, and the paired difference to the first model. Intervals are 95 %."""
    first = next(iter(models))
    minus = [f"minus {first}", "95 %"] if len(models) > 1 else []
    columns = ("model", "pass@1", "95 %", *minus, "problems")
    table = Table(columns, title, columns[1:])
    for name, score in models.items():
        pair = paired.get(f"{name}-{first}")
        difference = [f"{pair['delta']:+.1f}", f"[{pair['low']:+.1f}, {pair['high']:+.1f}]"] if pair else ["", ""]
        table.add(
            name,
            f"{score['pass@1']:.1f}",
            f"[{score['low']:.1f}, {score['high']:.1f}]",
            *difference[: len(minus)],
            str(score["problems"]),
        )
    return table


def _tasks(title: str, models: Mapping[str, Any], paired: Mapping[str, Any]) -> Table:
    """A figure for each task and model in percent, and the paired difference to the first model. Intervals are 95 %."""
    first = next(iter(models))
    minus = [f"minus {first}", "95 %"] if len(models) > 1 else []
    columns = ("task", "model", "figure", "95 %", *minus)
    table = Table(columns, title, columns[2:])
    for task in models[first]["tasks"]:
        for name, model in models.items():
            value, low, high = model["tasks"][task]
            pair = paired.get(f"{name}-{first}", {}).get("tasks", {}).get(task)
            difference = [f"{pair['delta']:+.1f}", f"[{pair['low']:+.1f}, {pair['high']:+.1f}]"] if pair else ["", ""]
            table.add(task, name, f"{value:.1f}", f"[{low:.1f}, {high:.1f}]", *difference[: len(minus)])
    return table


def _several(title: str, models: Mapping[str, Any], ks: Sequence[int]) -> Table:
    """pass@k by model in percent, with 95 % intervals."""
    columns = ("model", *(heading for k in ks for heading in (f"pass@{k}", "95 %")))
    table = Table(columns, title, columns[1:])
    for name, score in models.items():
        cells = ((f"{score[f'pass@{k}']:.1f}", f"[{score[f'low@{k}']:.1f}, {score[f'high@{k}']:.1f}]") for k in ks)
        table.add(name, *(cell for pair in cells for cell in pair))
    return table
