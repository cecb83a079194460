"""Drop duplicates, and problems that overlap with benchmarks."""

import sys
from collections import Counter
from pathlib import Path

from pydantic import Field

from ..clean import decontaminate, drop_duplicates
from ..clean.decontaminate import NGRAM
from ..config import Section
from ..errors import StageError
from ..io import read, write
from ..recipe.stage import Context, Counts, File
from ..schema import Problem

VERSION = 1
OUTPUTS = ("problems.jsonl", "rejected.jsonl")
MANY = 0.2
"""A larger share of contaminated problems is told."""


class Config(Section):
    """Clean problems; see `drop_duplicates` and `decontaminate`."""

    problems: File
    """Problems to clean."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    decontaminate: list[File] = []
    """Benchmarks, or files of problems, that must not be trained on."""
    ngram: int = Field(default=NGRAM, gt=0)
    """A problem that shares so many words in a row with a benchmark's is dropped."""


def run(config: Config, context: Context) -> Counts:
    """Read problems; write those that are left, and the others with the reason."""
    problems = read(config.problems, Problem, config.columns)
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to clean")
    benchmarks = [(context.labels.get(path, Path(path).name), read(path, Problem)) for path in config.decontaminate]
    distinct, duplicates = drop_duplicates(problems)
    kept, contaminated = decontaminate(distinct, benchmarks, config.ngram)
    rejected = duplicates + contaminated
    write(context.out / "problems.jsonl", kept)
    write(context.out / "rejected.jsonl", rejected)
    reasons = dict(sorted(Counter(entry.reason for entry in rejected).items()))
    if len(contaminated) > len(distinct) * MANY:
        print(
            f"align: warning: {context.name}: {len(contaminated)} of {len(distinct)} problems are dropped, which share "
            f"{config.ngram} words in a row with another file's: see {context.out / 'rejected.jsonl'}; "
            "if it is a pattern, raise ngram",
            file=sys.stderr,
        )
    if not kept:
        raise StageError(f"stages.{context.name}: no problem is left of {len(problems)}: {reasons}")
    return {"kept": len(kept), "rejected": reasons}
