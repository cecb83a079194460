"""Make a tiny model from nothing: a tokenizer trained on texts, and random weights."""

from typing import Literal

from pydantic import Field

from ..config import Section
from ..errors import DataError
from ..io import rows
from ..recipe.stage import Context, Counts, File

VERSION = 1
OUTPUTS = ("model",)

TEXT_FIELDS = ("prompt", "completion")


class Config(Section):
    """A randomly initialised model of a real architecture."""

    architecture: Literal["gpt_bigcode", "starcoder2", "bloom"]
    """Class of transformers: StarCoder, StarCoder2 or BLOOM."""
    hidden_size: int = Field(default=128, gt=0)
    """Width."""
    num_layers: int = Field(default=4, gt=0)
    """Depth."""
    num_heads: int = Field(default=4, gt=0)
    """Attention heads; they divide the width."""
    vocab_size: int = Field(default=768, gt=0)
    """Tokens, with the 256 bytes, pad and EOS."""
    max_position: int = Field(default=1024, gt=0)
    """Longest row in tokens; BLOOM has no limit."""
    texts: File
    """JSON Lines whose `prompt` and `completion` the tokenizer learns from."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: question, completion: answer}`."""
    split: list[str] = []
    """Regular expressions whose matches the tokenizer never merges with their surroundings: what carries meaning, such
    as the names of operations, which a small corpus would join into whole phrases."""


def run(config: Config, context: Context) -> Counts:
    """Train the tokenizer, draw the weights, save both."""
    from ..models.tiny import random_model, save_tiny, train_tokenizer

    names = [(config.columns or {}).get(name, name) for name in TEXT_FIELDS]
    texts = [row[name] for _, row in rows(config.texts) for name in names if isinstance(row.get(name), str)]
    if not texts:
        raise DataError(f"{config.texts}: no row has a text {' or '.join(names)}: name its columns in `columns:`")
    tokenizer = train_tokenizer(texts, config.vocab_size, config.split)
    model = random_model(
        config.architecture,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        vocab_size=len(tokenizer),
        max_position=config.max_position,
        seed=context.seed,
    )
    save_tiny(model, tokenizer, context.out / "model")
    return {"texts": len(texts), "vocabulary": len(tokenizer), "parameters": model.num_parameters()}
