"""What a stage is: a Config class, a VERSION, and `run(config, context)` that reads, calls the library, writes.

A stage kind is a module `align.stages.<kind>`. Markers in a Config's annotations tell the engine which values
are files or models, and which do not change results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..config import Section
from ..errors import ConfigError, suggest
from ..generate import Generator, Ranks, generator
from ..models.entry import AnyEntry, Weights

if TYPE_CHECKING:
    from .serving import Serving


@dataclass(frozen=True)
class Marker:
    """Says what a Config value is."""

    name: str


FILE, FOLDER, MODEL, MODELS = Marker("file"), Marker("folder"), Marker("model"), Marker("models")
UNKEYED = Marker("unkeyed")

File = Annotated[str, FILE]
"""A path, `$stage/file`, the name of a benchmark, or `hf://datasets/…`. Its content is in the key."""
Folder = Annotated[str, FOLDER]
"""A path of a folder. The names and contents of all its files are in the key."""
Model = Annotated[str, MODEL]
"""The name of an entry under `models:`, or `$stage/model`."""
PromptFiles = dict[str, File]
"""`{purpose: path}` of Jinja templates in the place of our own: `{evolve: my-evolve.jinja}`."""
Models = Annotated[str, MODELS]
"""A `Model`, or `$stage/checkpoints/*`: all that a training left along its way."""
ALL = "/*"
"""How such a value ends."""
# Annotated[T, UNKEYED] marks a value that does not change results: workers, micro-batches, logging.


@dataclass(frozen=True)
class Without:
    """Marks a mapping of which some keys do not change results."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Context:
    """What a running stage gets beside its Config, in which every `$stage/…` and benchmark is a path already."""

    name: str
    """The stage's name in the recipe."""
    out: Path
    """Folder of the stage; everything it writes goes there."""
    seed: int
    """The recipe's seed; in the later iterations of a loop another one."""
    models: Mapping[str, AnyEntry] = field(default_factory=dict)
    """The recipe's `models:`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Path of every file or model that an earlier stage left → that stage's name."""
    trained_on: Mapping[str, Section] = field(default_factory=dict)
    """Training stage that this one builds on, near or far → its Config."""
    templates: Sequence[str] = ()
    """The templates that stages below this one name."""
    replies: Path | None = None
    """Folder of what endpoints answered in this run."""
    ranks: Ranks | None = None
    """The processes of a launcher, over which generation by weights is divided."""
    serving: "Serving | None" = None
    """A server that weights are asked by, in the place of generating here."""

    def model(self, name: str) -> AnyEntry:
        """The entry of a `Model` value: by name, or the weights in a folder that a stage left."""
        if name in self.models:
            return self.models[name]
        if Path(name).is_dir():
            return Weights(model_name_or_path=name)
        raise ConfigError(f"stages.{self.name}: no model {name!r}: {suggest(name, self.models)}")

    def generator(self, name: str, batch_size: int = 256) -> Generator:
        """What answers requests for a `Model` value."""
        entry = self.model(name)
        if self.serving is not None and isinstance(entry, Weights):
            return self.serving.generator(entry)
        return generator(entry, batch_size=batch_size, replies=self.replies, ranks=self.ranks, name=f"models.{name}")

    def label(self, name: str) -> str:
        """The name of a `Model` value in records: its entry's, or that of the stage that left it.

        A record never holds a path: outputs must be the same bytes wherever `runs/` stands.
        """
        return self.labels.get(name, name)

    def weights(self, name: str) -> Weights:
        """Like `model`, for stages that need weights here."""
        entry = self.model(name)
        if not isinstance(entry, Weights):
            raise ConfigError(f"stages.{self.name}: model {name!r} has no weights here: give model_name_or_path")
        return entry


@dataclass(frozen=True)
class Demand:
    """What a stage asks of models at most: told by its `demand(config, rows)`, for `align plan`."""

    asks: Mapping[str, tuple[int, int]]
    """`Model` value → requests, and the longest answer in tokens."""
    leaves: int
    """Rows that it may leave in `problems.jsonl`."""


Counts = dict[str, Any]
"""What a stage returns: how many were kept and dropped and why; written to its `stage.json`."""
