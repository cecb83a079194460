"""A toy stage kind: writes numbers."""

from typing import Annotated

from align.config import Section
from align.io import write
from align.recipe.stage import UNKEYED, Context, Counts, File

VERSION = 1
OUTPUTS = ("numbers.jsonl",)


class Config(Section):
    """Numbers."""

    rounds: int = 3
    """How many numbers."""
    scale: int = 1
    """Factor; even and odd scales give the same numbers."""
    source: File | None = None
    """A file that is read."""
    workers: Annotated[int, UNKEYED] = 1
    """Changes nothing."""


def run(config: Config, context: Context) -> Counts:
    with open(context.out / "runs.log", "a") as log:
        log.write("run\n")
    write(context.out / "numbers.jsonl", [{"n": n} for n in range(config.rounds)])
    return {"kept": config.rounds}
