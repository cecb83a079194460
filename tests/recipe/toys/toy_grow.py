"""A toy stage kind: a model that is one level above the one it starts from; or, asked for texts, what it answers."""

import time

from align.config import Section
from align.generate import Request, Sampling
from align.io import write
from align.recipe.stage import Context, Counts, File, Model

VERSION = 1
OUTPUTS = ("model", "texts.jsonl")


class Config(Section):
    """Growing."""

    model: Model
    """Where it starts from."""
    data: File | None = None
    """A file that is read."""
    ask: int = 0
    """How many texts it is asked for."""
    pause: float = 0.0
    """Seconds that it takes."""


def run(config: Config, context: Context) -> Counts:
    from pathlib import Path

    level = Path(context.weights(config.model).model_name_or_path, "level")
    below = int(level.read_text()) if level.exists() else 0
    time.sleep(config.pause)
    texts = []
    if config.ask:
        requests = [Request(prompt=f"p{n}", sampling=Sampling(), seed=context.seed) for n in range(config.ask)]
        batches = context.generator(config.model).generate(requests)
        texts = [reply.text for batch in batches for reply in batch.values()]
    write(context.out / "texts.jsonl", [{"text": text} for text in texts])
    (context.out / "model").mkdir(exist_ok=True)
    (context.out / "model" / "level").write_text(str(below + 1))
    return {"level": below + 1, "seed": str(context.seed), "from": context.label(config.model)}
