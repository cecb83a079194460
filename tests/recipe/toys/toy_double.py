"""A toy stage kind: doubles numbers, or fails."""

from align.config import Section
from align.errors import StageError
from align.io import rows, write
from align.recipe.stage import Context, Counts, File

VERSION = 1
OUTPUTS = ("numbers.jsonl",)


class Config(Section):
    """Doubling."""

    data: File
    """Numbers."""
    fail: bool = False
    """Stop with an error half-way."""


def run(config: Config, context: Context) -> Counts:
    write(context.out / "partial.jsonl", [])
    if config.fail:
        raise StageError("asked to fail")
    numbers = [{"n": 2 * row["n"]} for _, row in rows(config.data)]
    write(context.out / "numbers.jsonl", numbers)
    return {"kept": len(numbers)}
