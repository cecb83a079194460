"""Show a stage kind: what it does, what it leaves, and its keys."""

import importlib

from ..config import Section
from .keys import first_words, section_rows, show_keys


def config_of(kind: str) -> type[Section]:
    """The Config class of a stage kind."""
    config: type[Section] = importlib.import_module(f"align.stages.{kind}").Config
    return config


def outputs_of(kind: str) -> tuple[str, ...]:
    """The files and folders that a stage of the kind may leave."""
    outputs: tuple[str, ...] = importlib.import_module(f"align.stages.{kind}").OUTPUTS
    return outputs


def show_kind(kind: str) -> None:
    """What the stage does, what it leaves, and its keys."""
    print(f"{kind}: {first_words(config_of(kind))}")
    print(f"leaves {', '.join(outputs_of(kind))}\n")
    show_keys(section_rows(config_of(kind)))
