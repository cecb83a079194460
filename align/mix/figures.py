"""What a mixture is made of: tables by set and by task and language, for people and for `mixture.json`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..terminal import Table
from .mixture import UNITS, Mixture

SHOWN = 60
"""Lines of a table that are printed; `mixture.json` has all."""
NO_CODE = "-"
"""Language of rows that were dropped in a source whose rows tell their own."""


def by_set(mixture: Mixture) -> list[dict[str, Any]]:
    """One entry for each set: its units and rows there, expected and drawn."""
    groups = mixture.set_of
    rows = np.bincount(groups, minlength=len(mixture.names))
    held = np.bincount(groups[mixture.held_out], minlength=len(mixture.names))
    found = []
    for number, name in enumerate(mixture.names):
        units, drawn = mixture.sizes[name], mixture.drawn[name]
        about = {
            "set": name,
            "rows": int(rows[number]),
            "held_out": int(held[number]),
            "units": units,
            "expected": round(mixture.shares[name], 6),
            "drawn": drawn,
            "share": round(drawn / mixture.units, 6),
            "passes": round(drawn / units, 4) if units else 0.0,
        }
        found.append(about | _drawn(mixture, mixture.order[groups[mixture.order] == number]))
    return found


def by_task(mixture: Mixture) -> list[dict[str, Any]]:
    """One entry for each task in each language: rows there and drawn, and what was dropped, by reason.

    The shares are of rows; `expected` stands only where the unit is an example.
    """
    pool = mixture.pool
    tasks = sorted({part.source.task for part in pool.parts})
    numbers = {task: number for number, task in enumerate(tasks)}
    task_of = np.array([numbers[part.source.task] for part in pool.parts], np.int64)
    groups = task_of[pool.part] * len(pool.languages) + pool.codes
    drawn = groups[mixture.order]
    trains = ~(mixture.held_out | mixture.over_long)
    there = np.bincount(mixture.set_of[trains], minlength=len(mixture.names))
    dropped = _dropped(mixture)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for group in np.unique(groups).tolist():
        own = np.flatnonzero(groups == group)
        key = (tasks[group // len(pool.languages)], pool.languages[group % len(pool.languages)])
        usable, rows = int(trains[own].sum()), mixture.order[drawn == group]
        number = int(mixture.set_of[own[0]])
        expected = mixture.shares[mixture.names[number]] * usable / max(1, int(there[number]))
        found[key] = {
            "task": key[0],
            "language": key[1],
            "rows": len(own),
            "held_out": int(mixture.held_out[own].sum()),
            "expected": round(expected, 6) if mixture.packs is None else None,
            "drawn": len(rows),
            "share": round(len(rows) / len(mixture.order), 6),
            "passes": round(len(rows) / usable, 4) if usable else 0.0,
            **_drawn(mixture, rows),
            "dropped": dict(sorted(dropped.pop(key, Counter()).items())),
        }
    for key, reasons in dropped.items():
        nothing = {"rows": 0, "drawn": 0, "dropped": dict(sorted(reasons.items()))}
        found[key] = {"task": key[0], "language": key[1], **nothing}
    return [found[key] for key in sorted(found)]


def _dropped(mixture: Mixture) -> dict[tuple[str, str], Counter[str]]:
    """(task, language) → reason → rows."""
    pool = mixture.pool
    found = defaultdict[tuple[str, str], Counter[str]](Counter)
    for part, reasons in zip(pool.parts, pool.dropped, strict=True):
        if reasons:
            found[part.source.task, part.source.language or NO_CODE] += reasons
    rows = np.flatnonzero(mixture.over_long)
    for number, code in zip(pool.part[rows].tolist(), pool.codes[rows].tolist(), strict=True):
        found[pool.parts[number].source.task, pool.languages[code]]["over_long"] += 1
    return found


def _drawn(mixture: Mixture, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Tokens and lengths of what was drawn. Nothing is ever cut: what is too long is left out."""
    lengths = mixture.lengths
    return {
        "tokens": None if lengths is None else int(lengths.whole[rows].sum()),
        "truncated": 0,
        "target_characters": _typical(mixture.pool.characters[rows]),
        "target_tokens": None if lengths is None else _typical(lengths.targets[rows]),
    }


def _typical(values: NDArray[Any]) -> dict[str, float] | None:
    if not len(values):
        return None
    return {"mean": round(float(values.mean()), 2), "median": float(np.median(values))}


def total_dropped(tasks: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Reason → rows, over all tasks."""
    found = sum((Counter(entry.get("dropped", {})) for entry in tasks), Counter[str]())
    return dict(sorted(found.items()))


def show(mixture: Mixture, sets: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> None:
    """Print both tables."""
    unit = UNITS[mixture.settings.unit]
    titled = f"{mixture.units:,} {unit}s of {len(mixture.names)} sets; lengths of targets: mean / median"
    columns = ["set", f"{unit}s", "held out", "expected", "drawn", "share", "passes"]
    _table(titled, columns, sets, mixture, lambda one: [one["set"], f"{one['units']:,}"]).show()
    print()
    columns = ["task", "language", "rows", "held out", "expected", "drawn", "share", "passes"]
    _table(
        "By task, in rows", columns, tasks, mixture, lambda one: [one["task"], one["language"], f"{one['rows']:,}"]
    ).show()


def _table(title: str, columns: list[str], entries: list[dict[str, Any]], mixture: Mixture, first: Any) -> Table:
    lengths = ["tokens", "truncated"] if mixture.lengths else []
    typical = ["target characters", *(["target tokens"] if mixture.lengths else [])]
    columns = [*columns, *lengths, *typical, *(["dropped"] if "language" in columns else [])]
    words = ("set", "task", "language", "dropped")
    table = Table(columns, title, [name for name in columns if name not in words])
    for one in entries[:SHOWN]:
        cells = [*first(one), f"{one.get('held_out', 0):,}", _percent(one.get("expected")), f"{one['drawn']:,}"]
        cells += [_percent(one.get("share")), f"{one.get('passes', 0):.2f}"]
        cells += [f"{one.get(name) or 0:,}" for name in lengths]
        cells += [_means(one.get(name.replace(" ", "_"))) for name in typical]
        if "dropped" in columns:
            cells.append(", ".join(f"{reason} {count:,}" for reason, count in one["dropped"].items()))
        table.add(*cells)
    if len(entries) > SHOWN:
        table.add(f"… {len(entries) - SHOWN} more in mixture.json", *[""] * (len(columns) - 1))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _means(typical: Mapping[str, float] | None) -> str:
    """Mean and median."""
    return "" if typical is None else f"{typical['mean']:.1f} / {typical['median']:g}"
