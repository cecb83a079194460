"""A toy stage kind: a score in which a model's figure is given by its level."""

from pathlib import Path

from align.config import Section
from align.io import write, write_json
from align.recipe.stage import Context, Counts, File, Models

VERSION = 1
OUTPUTS = ("results.jsonl", "score.json")


class Config(Section):
    """Measuring."""

    models: dict[str, Models]
    """The models."""
    problems: File
    """Not read."""
    curve: list[float]
    """pass@1 of level 1, 2, …"""


def run(config: Config, context: Context) -> Counts:
    levels = {name: int(Path(path, "level").read_text()) for name, path in config.models.items()}
    figures = {name: config.curve[level - 1] for name, level in levels.items()}
    write(context.out / "results.jsonl", [])
    models = {
        name: {"pass@1": value, "low": 0.0, "high": 100.0, "problems": 1, "k": [1]} for name, value in figures.items()
    }
    write_json(context.out / "score.json", {"models": models, "paired": {}})
    return {"seed": str(context.seed), **figures}
