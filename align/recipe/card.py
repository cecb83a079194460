"""The dataset card of a stage that makes data: where its records come from, and what was done to them.

Markdown with the YAML head that the Hugging Face hub reads, written as `README.md` beside the records. It holds nothing
measured, no address and no path of a machine: the same run gives the same bytes. Model cards are another thing.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ..io import replacing, rows
from ..mix.sources import benchmarks
from ..models.entry import AnyEntry, Endpoint, Offline
from ..models.trained_on import TrainedOn, write_trained_on
from .closing import describe
from .workspace import MEASURED

NAME = "README.md"
"""The card's file."""
SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))
"""The hub's names of sizes, and the number of records that each is below."""
UNKNOWN = "unknown"


def write_card(
    folder: Path,
    title: str,
    made: Sequence[Mapping[str, Any]],
    models: Mapping[str, AnyEntry],
    sources: Sequence[Path],
) -> None:
    """Write the card of a stage, and `trained_on.json` where the problems are a benchmark's.

    Args:
        folder: the stage's, with its records.
        title: the run's name and the stage's.
        made: what `stage.json` says of the stages that this one builds on, in order, and of itself at the end.
        models: the recipe's `models:`.
        sources: files of the problems that the records are about, for their sources and licences.
    """
    files = {path.name: _count(path) for path in sorted(folder.glob("*.jsonl")) if path.name not in MEASURED}
    origins = Counter(origin for path in sources for origin in _origins(path))
    write_trained_on(folder, TrainedOn(benchmarks=benchmarks({source for source, _ in origins})))
    licences = sorted({licence for _, licence in origins}) or [UNKNOWN]
    largest = max(files.values(), default=0)
    head = {
        "license": licences[0] if len(licences) == 1 else licences,
        "size_categories": [next((name for name, bound in SIZES if largest < bound), "n>10M")],
        "tags": ["code", "synthetic", "preference-alignment"],
        "configs": [{"config_name": Path(name).stem, "data_files": name} for name in files],
    }
    parts = [
        f"---\n{_yaml(head)}---\n# {title}",
        "Made by the stages below with align. The records' fields: `align show problem`, `align show response`, …",
        _table(("file", "records"), [(f"`{name}`", f"{count:,}") for name, count in files.items()]),
        "## Stages",
        _table(
            ("stage", "kind", "counts", "prompts"),
            [(m["name"], m["kind"], describe(m["counts"]), ", ".join(m.get("prompts", ()))) for m in made],
        ),
        "## Models",
        _models(made, models),
        "## Sources and licences",
        _table(
            ("source", "licence", "problems"),
            [(source, licence, f"{count:,}") for (source, licence), count in sorted(origins.items())],
        ),
        "A generated record inherits the licence of the problem that it was made from; the terms of the models that "
        "wrote it apply besides.",
        "## Decontamination",
        _decontamination(made),
        "## Settings",
        f"Seed {made[-1]['seed']}. What the recipe says and its defaults, sampling among them:",
        f"```yaml\n{_yaml({m['name']: {'use': m['kind'], **m['config']} for m in made})}```",
    ]
    with replacing(folder / NAME) as file:
        file.write("\n\n".join(parts) + "\n")


def _models(made: Sequence[Mapping[str, Any]], models: Mapping[str, AnyEntry]) -> str:
    """A table of the models that the settings name, by what they are and where they were used."""
    used: dict[str, list[str]] = {}
    for stage in made:
        for value in dict.fromkeys(_texts(stage["config"])):
            if value in models:
                used.setdefault(value, []).append(stage["name"])
    if not used:
        return "None."
    return _table(
        ("model", "what it is", "used by"),
        [(name, _identity(models[name]), ", ".join(by)) for name, by in used.items()],
    )


def _identity(entry: AnyEntry) -> str:
    """What a model is, without where it stands."""
    if isinstance(entry, Endpoint):
        return f"`{entry.model}` behind an OpenAI-compatible server"
    if isinstance(entry, Offline):
        return "a rule-based stand-in with constructed errors"
    name = Path(entry.model_name_or_path).name if entry.is_local else entry.model_name_or_path
    revision = f", revision {entry.revision}" if entry.revision else ""
    return f"weights `{name}`{revision}, {entry.dtype}"


def _decontamination(made: Sequence[Mapping[str, Any]]) -> str:
    """What each cleaning stage compared with, and what it found."""
    found = []
    for stage in made:
        benchmarks = stage["config"].get("decontaminate")
        if benchmarks:
            dropped = stage["counts"].get("rejected", {}).get("contaminated", 0)
            found.append(f"- `{stage['name']}` against {', '.join(f'`{b}`' for b in benchmarks)}: {dropped:,} dropped")
    return "\n".join(found) or "None was done: do not measure on a benchmark what is trained on these records."


def _origins(path: Path) -> Iterator[tuple[str, str]]:
    """(source, licence) of every problem in a file."""
    for _, row in rows(path):
        yield str(row.get("source") or UNKNOWN), str(row.get("licence") or row.get("license") or UNKNOWN)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *cells]
    # a source is a user's text: a bar or a line break in it would break the table
    return "\n".join(f"| {' | '.join(' '.join(cell.replace('|', '¦').split()) for cell in line)} |" for line in lines)


def _yaml(value: Any) -> str:
    dumper, text = YAML(), io.StringIO()
    dumper.default_flow_style = False
    dumper.width = 120
    dumper.dump(value, text)
    return text.getvalue()
