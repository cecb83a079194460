"""What each exported form costs and keeps: the table 4 of PanGu-Coder2 (arXiv 2307.14936) for an export of one's own.

    python scripts/bench/exported.py EXPORT [--score FILE] [--tokens N] [--quick] [--json FILE]

EXPORT is the folder of an export stage. Each form is loaded in a process of its own: its weights on disk, what they
take of memory, and the median milliseconds of a greedy token of one row. FILE is the `score.json` of a score stage
whose models carry the names of the forms; `safetensors` is the one before. Runs on the processor, on as many threads as
OMP_NUM_THREADS says.
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from align.errors import AlignError, DataError
from align.export.formats import FOLDERS, FORMS
from align.io import write_json

TOKENS, QUICK_TOKENS, PROMPT = 64, 8, "def add(a, b):\n"
WARM = 2
"""Calls before anything is timed."""
WEIGHTS = ("*.safetensors", "model.bin")
ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code: 2 for a mistake or a form that cannot run, otherwise 0."""
    args = _arguments().parse_args(argv)
    tokens = args.tokens or (QUICK_TOKENS if args.quick else TOKENS)
    if args.form:
        print(json.dumps(measured(args.export, args.form, tokens)))
        return 0
    try:
        rows = table(args.export, args.score, tokens)
    except AlignError as error:
        print(f"exported: {error}", file=sys.stderr)
        return 2
    conditions = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} threads",
        "tokens": tokens,
    }
    print(", ".join(f"{name}: {value}" for name, value in conditions.items()))
    print(f"{'form':<14}{'MB on disk':>12}{'MB in memory':>14}{'ms/token':>10}{'pass@1 %':>10}")
    for row in rows:
        score = "–" if row["pass@1"] is None else f"{row['pass@1']:.2f}"
        print(f"{row['form']:<14}{row['disk']:>12.2f}{row['memory']:>14.1f}{row['ms']:>10.2f}{score:>10}")
    if args.json:
        write_json(args.json, {"conditions": conditions, "forms": rows})
    return 0


def table(export: Path, score: Path | None, tokens: int) -> list[dict[str, Any]]:
    """A row for each form that is there.

    Raises:
        DataError: the folder is no export's, or a form cannot run.
    """
    present = [name for name in FORMS if (export / FOLDERS[name]).is_dir()]
    if not (export / "export.json").is_file() or not present:
        raise DataError(f"{export}: no export.json: name the folder of an export stage")
    scores = json.loads(score.read_text(encoding="utf-8"))["models"] if score else {}
    rows = []
    for name in present:
        command = [sys.executable, __file__, str(export), "--form", name, "--tokens", str(tokens)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            told = ended.stderr.strip().splitlines() or [f"exit {ended.returncode}"]
            raise DataError(f"{export / FOLDERS[name]}: cannot be measured ({told[-1]})")
        found = json.loads(ended.stdout.strip().splitlines()[-1])
        rows.append({"form": name, **found, "pass@1": scores.get(name, {}).get("pass@1")})
    return rows


def measured(export: Path, name: str, tokens: int) -> dict[str, float]:
    """Megabytes on disk and in memory, and milliseconds a token, of one form in this process."""
    from align.generate import Request, Sampling
    from align.generate.batched import load
    from align.models.entry import Weights
    from align.models.load import load_tokenizer

    folder = export / FOLDERS[name]
    # what importing the libraries takes is no form's
    for module in ("align.generate.hf", "align.generate.ctranslate2", *FORMS[name].needs):
        importlib.import_module(module)
    load_tokenizer(Weights(model_name_or_path=str(folder)))
    before = psutil.Process().memory_info().rss
    generator = load(Weights(model_name_or_path=str(folder), dtype="auto"), 1)

    def seconds(length: int) -> float:
        how = Sampling(temperature=0.0, max_new_tokens=length, min_new_tokens=length)
        started = time.perf_counter()
        for _ in generator.generate([Request(prompt=PROMPT, sampling=how)]):
            pass
        return time.perf_counter() - started

    for _ in range(WARM):
        seconds(tokens)
    memory = psutil.Process().memory_info().rss - before
    # of two lengths, so that the prompt and what a call costs fall out
    rounds = [(seconds(tokens) - seconds(1)) / (tokens - 1) for _ in range(ROUNDS)]
    disk = sum(path.stat().st_size for pattern in WEIGHTS for path in folder.glob(pattern))
    return {"disk": disk / 1e6, "memory": memory / 1e6, "ms": statistics.median(rounds) * 1e3}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--score", type=Path, help="score.json with the forms' names")
    parser.add_argument("--tokens", type=int, help=f"greedy tokens that are timed: {TOKENS}, quick {QUICK_TOKENS}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--form", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
