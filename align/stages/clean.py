"""Drop duplicates, and problems that overlap with benchmarks."""

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
    benchmarks = [(Path(path).name, read(path, Problem)) for path in config.decontaminate]
    distinct, duplicates = drop_duplicates(problems)
    kept, contaminated = decontaminate(distinct, benchmarks, config.ngram)
    rejected = duplicates + contaminated
    write(context.out / "problems.jsonl", kept)
    write(context.out / "rejected.jsonl", rejected)
    reasons = dict(sorted(Counter(entry.reason for entry in rejected).items()))
    if not kept:
        raise StageError(f"stages.{context.name}: no problem is left of {len(problems)}: {reasons}")
    return {"kept": len(kept), "rejected": reasons}
