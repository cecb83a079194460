"""What decontamination finds: HumanEval's and MBPP's problems, hidden in disguises among clean rows.

Counts by kind and method; what is found among the clean rows; rows a second on this machine.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contaminated import CLEAN, Hidden, benchmarks, clean, hidden

from align.clean.decontaminate import METHODS, Decontaminator, Hit

ROWS, QUICK_ROWS, QUICK_EVERY = 20_000, 1_000, 20
FEW = 100
SHOWN = 12

Found = dict[int, Hit]


def main() -> int:
    options = _options()
    found = benchmarks(options.shared)
    planted = hidden(found, options.shared)
    if options.quick:
        # reworded and translated ones are few
        kinds = Counter(row.kind for row in planted)
        planted = [row for number, row in enumerate(planted) if number % QUICK_EVERY == 0 or kinds[row.kind] < FEW]
    rows = clean(options.shared, options.rows or (QUICK_ROWS if options.quick else ROWS)) + planted
    hits: dict[str, Found] = {}
    seconds: dict[str, float] = {}
    told: dict[str, Any] = {}
    for method in options.methods:
        decontaminator = Decontaminator(found, methods=[method])
        begun = time.perf_counter()
        hits[method] = _find(decontaminator, method, rows, options)
        seconds[method] = time.perf_counter() - begun
        if method == "execution":
            told["examined"] = vars(decontaminator.examined)
    report = {**_report(rows, hits, seconds), **told}
    _show(report, hits, rows)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("ALIGN_TEST_DATA", "../shared"))
    parser.add_argument("--shared", type=Path, default=default, help="folder that holds data/eval")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--rows", type=int, help=f"clean rows; {ROWS} by default")
    parser.add_argument("--workers", type=int, help="programs run at once")
    parser.add_argument("--isolation", default="auto")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows, one in {QUICK_EVERY} hidden")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    return parser.parse_args()


def _find(decontaminator: Decontaminator, method: str, rows: Sequence[Hidden], options: argparse.Namespace) -> Found:
    if method == "execution":
        programs = ((number, row.code) for number, row in enumerate(rows) if row.code is not None)
        return dict(decontaminator.by_execution(programs, workers=options.workers, isolation=options.isolation))
    checked = ((number, decontaminator.check(row.text, row.code)) for number, row in enumerate(rows))
    return {number: hit for number, hit in checked if hit is not None}


def _report(rows: Sequence[Hidden], hits: dict[str, Found], seconds: dict[str, float]) -> dict[str, Any]:
    kinds = Counter(row.kind for row in rows)
    ways = {**hits, "all": {number: hit for found in hits.values() for number, hit in found.items()}}
    return {
        "rows": dict(kinds),
        "found": {
            kind: {way: sum(rows[number].kind == kind for number in found) for way, found in ways.items()}
            for kind in kinds
        },
        "rows_per_second": {
            method: (sum(row.code is not None for row in rows) if method == "execution" else len(rows)) / taken
            for method, taken in seconds.items()
        },
        "false_positives_from": {
            method: dict(Counter(rows[number].task_id for number in found if rows[number].kind == CLEAN))
            for method, found in hits.items()
        },
    }


def _show(report: dict[str, Any], hits: dict[str, Found], rows: Sequence[Hidden]) -> None:
    ways = [*hits, "all"]
    print(f"{'':34}{'rows':>7}" + "".join(f"{way:>11}" for way in ways))
    for kind, count in report["rows"].items():
        print(f"{kind:34}{count:>7}" + "".join(f"{report['found'][kind][way]:>11}" for way in ways))
    speeds = report["rows_per_second"]
    print(f"{'rows a second':41}" + "".join(f"{speeds[method]:>11.0f}" for method in hits))
    if "examined" in report:
        print(f"execution: {report['examined']}")
    for method, found in hits.items():
        for number in [number for number in found if rows[number].kind == CLEAN][:SHOWN]:
            print(f"{method}: {rows[number].task_id}: {rows[number].text[:90]!r}: {found[number].detail}")


if __name__ == "__main__":
    sys.exit(main())
