"""`trained_on.json`: the benchmarks that a model was trained on, carried from base to model. Torch-free.

Says what mixtures held and what is known of published models; does not look at rows, nor at a model's answers.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from ..errors import DataError
from ..io import explain, write_json
from ..schema import Record
from .chain import read_base
from .entry import AnyEntry, Endpoint, Weights

FILE = "trained_on.json"
MIXTURE = "mixture.json"
"""Beside the rows of a mixture: says which benchmarks are among them."""
XP3 = ("MBPP", "APPS")
"""Benchmarks that xP3 trains on (Muennighoff et al. 2023, arXiv 2211.01786)."""
PUBLISHED = re.compile(r"(?:^|/|--)(?:bloomz|mt0)(?P<rest>(?:-[a-z0-9]+)*)(?:/snapshots/[^/]+)?/?$", re.IGNORECASE)
"""Names of models tuned on xP3 or xP3mt: hub ids, folders of that name, and the hub's folders on disk."""


class TrainedOn(Record):
    """What a model was trained on that others are measured by."""

    benchmarks: list[str] = []
    """Their names, as `align.mix.sources.BENCHMARKS` has them."""
    variant: str | None = None
    """Which of xP3's mixtures the rows were: `xP3`, `xP3mt`, `xP3all`."""

    def with_base(self, base: "TrainedOn") -> "TrainedOn":
        """This, and what the model below was trained on before."""
        return TrainedOn(
            benchmarks=list(dict.fromkeys([*base.benchmarks, *self.benchmarks])), variant=self.variant or base.variant
        )


NOTHING = TrainedOn()


def benchmarks_of(model: AnyEntry | Path | str) -> tuple[str, ...]:
    """The benchmarks that a model is known to have been trained on; none where nothing is known.

    Args:
        model: an entry of `models:`, a model's folder, or a hub id. An adapter's chain is followed to its base.

    Raises:
        DataError: a folder's `trained_on.json` is damaged.
    """
    return tuple(trained_on(model).benchmarks)


def trained_on(model: AnyEntry | Path | str) -> TrainedOn:
    """What is known of a model, by its folder, those below it in an adapter's chain, and its name.

    Raises:
        DataError: a folder's `trained_on.json` is damaged.
    """
    found = NOTHING
    for name in reversed(list(chain(_name(model)))):
        found = (read_trained_on(Path(name)) or _published(name)).with_base(found)
    return found


def read_trained_on(folder: Path) -> TrainedOn | None:
    """What a folder's `trained_on.json` says; None without one.

    Raises:
        DataError: it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return TrainedOn.model_validate_json(path.read_text(encoding="utf-8", errors="replace"))
    except ValidationError as error:
        raise DataError(f"{path}: {explain(error)}") from None


def of_data(data: str | Path) -> TrainedOn:
    """What the stage that left these rows says of them: a mixture, or the card of one made from problems.

    Raises:
        DataError: the `mixture.json` or `trained_on.json` beside them is damaged.
    """
    path = Path(data).parent / MIXTURE
    if str(data).startswith("hf://"):
        return NOTHING
    if not path.is_file():
        return read_trained_on(path.parent) or NOTHING
    try:
        said = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        return TrainedOn.model_validate({name: said[name] for name in ("benchmarks", "variant")})
    except (ValueError, KeyError, TypeError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else f"no table of a mixture ({error})"
        raise DataError(f"{path}: {reason}: run the stage that left it again") from None


def write_trained_on(folder: Path, found: TrainedOn) -> None:
    """Leave `trained_on.json` in a model's folder, where there is anything to say."""
    if found != NOTHING:
        write_json(folder / FILE, found.model_dump())


def contaminated(models: Mapping[str, AnyEntry], measured: Collection[str], where: str) -> list[str]:
    """A line for each model that was trained on a benchmark which is among those measured.

    Args:
        models: by their names in the results.
        measured: names of benchmarks.
        where: what measures them, as the line begins.
    """
    found = []
    for name, entry in models.items():
        known = trained_on(entry)
        hit = [benchmark for benchmark in known.benchmarks if benchmark in measured]
        if hit:
            mixture = f" (in {known.variant})" if known.variant else ""
            found.append(f"{where}: {name} was trained on {', '.join(hit)}{mixture}: its figure there measures nothing")
    return found


def chain(name: str) -> Iterator[str]:
    """A model's folder or hub id, then those of the bases below an adapter. A base that is gone ends the chain.

    Raises:
        DataError: an adapter without its `base.json`, or a `base.json` that is not one.
    """
    seen = set()
    while name and name not in seen:
        yield name
        seen.add(name)
        folder = Path(name)
        base = read_base(folder) if folder.is_dir() else None
        if base is None:
            return
        below = base.model_name_or_path
        name = str((folder / below).resolve()) if below.startswith("..") else below


def _name(model: AnyEntry | Path | str) -> str:
    if isinstance(model, Endpoint):
        return model.model
    if isinstance(model, Weights):
        return model.model_name_or_path
    return str(model) if isinstance(model, str | Path) else ""


def _published(name: str) -> TrainedOn:
    """What a published model's name tells. P3, of the models that end in `-p3`, holds no programs."""
    told = PUBLISHED.search(name)
    if told is None or told["rest"].endswith("-p3"):
        return NOTHING
    return TrainedOn(benchmarks=list(XP3), variant="xP3mt" if told["rest"].endswith("-mt") else "xP3")
