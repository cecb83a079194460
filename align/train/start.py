"""What of a training can be known of the model it starts from before anything is loaded. Torch-free."""

from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, DataError, suggest
from ..models.chain import config_of, read_base
from ..models.entry import Weights
from ..models.launcher import check_trainable
from ..models.lora import Lora
from ..models.shapes import shape_of
from .arguments import Fault

HEAD = "lm_head"
"""A linear layer beside those of the blocks."""


def start_faults(entry: Weights, lora: Lora | None, max_length: int | None) -> Iterator[Fault]:
    """What would be refused when the model is loaded; the keys are the stage's.

    Args:
        entry: the model, by a folder as it is found from here, or a hub id.
        lora: the adapters.
        max_length: tokens of a row.
    """
    folder = Path(entry.model_name_or_path)
    try:
        base = read_base(folder) if entry.is_local else None
        if base is None:
            check_trainable(entry, adapters=lora is not None)
    except (ConfigError, DataError) as error:
        yield Fault("model", str(error))
        return
    if lora is not None and lora.continues and base is None:
        yield no_adapter(str(folder))
    shape = shape_of(str(folder))
    if shape is not None and shape.positions and (max_length or 0) > shape.positions:
        yield Fault("max_length", f"{max_length} is more than the model's {shape.positions} positions")
    if lora is not None and base is None:
        yield from _target_faults(folder, lora)


def no_adapter(model: str) -> Fault:
    """That there is nothing to continue."""
    return Fault("lora.continue", f"{model} holds no adapter: leave `continue` out for a new one")


def _target_faults(folder: Path, lora: Lora) -> Iterator[Fault]:
    shape, kind = shape_of(str(folder)), config_of(folder).get("model_type")
    try:
        targets = lora.targets(str(kind)) if kind else []
    except ConfigError as error:
        yield Fault("lora", str(error).removeprefix("lora: "))
        return
    if shape is None or isinstance(targets, str):
        return
    known = {name.rpartition(".")[2] for name, _, _ in shape.linear} | {HEAD}
    for target in targets:
        if target.rpartition(".")[2] not in known:
            yield Fault("lora.target_modules", f"no linear layer is called {target!r}: {suggest(target, known)}")
