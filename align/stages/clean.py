"""Drop duplicates, problems that overlap with benchmarks, and what the rules for quality and secrets say."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..clean.chain import Chain, Cleaned
from ..clean.checks import Rules, Secrets
from ..clean.corpus import Corpus, named
from ..clean.decontaminate import DEFAULT, NGRAM, Decontaminator, Method
from ..clean.duplicates import Compared
from ..clean.near import Sketcher
from ..clean.quality import Quality
from ..config import Section, bad_key
from ..errors import AlignError, StageError
from ..io import read, replacing, scan
from ..recipe.closing import describe
from ..recipe.stage import UNKEYED, Context, Counts, File
from ..schema import Problem

VERSION = 2
DATASET = True
OUTPUTS = ("problems.jsonl", "rejected.jsonl")
MANY = 0.2
"""A larger share of contaminated problems is told."""


class Config(Section):
    """Clean problems; see `align.clean`."""

    problems: File
    """Problems to clean, any number: they are read one at a time."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    decontaminate: list[File] = []
    """Benchmarks, or files of problems, that must not be trained on."""
    decontaminate_by: list[Method] = Field(default=list(DEFAULT), min_length=1)
    """How they are looked for; `execution` runs each `reference` on the benchmarks' tests and finds paraphrases."""
    ngram: int = Field(default=NGRAM, gt=0)
    """A problem that shares so many words in a row with a benchmark's is dropped."""
    compare: Compared = "prompt"
    """What must be alike for a problem to repeat an earlier one: prompt, reference, or both together."""
    near_duplicates: Sketcher | None = None
    """Also drop what is nearly alike; `{}` for the defaults. Without it only what is equal but for layout, case and
    punctuation goes: problems made by one pattern differ in a word and are still different problems."""
    quality: Quality | None = None
    """Rules for prompts and references."""
    secrets: Secrets = "off"
    """Keys, e-mail and IP addresses, names of home folders: `drop` the problem, or `replace` them by tags; what stands
    in tests is dropped by either."""
    datatrove: list[str | dict[str, dict[str, Any]]] = []
    """datatrove's filters and formatters for prompts in natural text, by class name or `{name: {argument: value}}`."""
    isolation: Literal["auto", "A", "B", "none"] = "auto"
    """Isolation of the programs that `execution` runs; `auto` is level A, or a refusal."""
    workers: Annotated[int | None, UNKEYED] = Field(default=None, gt=0)
    """Processes; by default as many as cores."""

    @model_validator(mode="after")
    def _names_filters(self) -> "Config":
        if self.datatrove:
            try:
                named(self.datatrove)
            except AlignError as error:
                raise bad_key("datatrove", str(error)) from None
        return self


def runs_programs(config: Config) -> bool:
    """Whether it does: only to look for benchmarks by execution."""
    return bool(config.decontaminate) and "execution" in config.decontaminate_by


def run(config: Config, context: Context) -> Counts:
    """Read problems; write those that are left, and the others with the reason."""
    where = f"stages.{context.name}"
    benchmarks = [(context.labels.get(path, Path(path).name), read(path, Problem)) for path in config.decontaminate]
    rules = Rules(
        secrets=config.secrets,
        quality=config.quality,
        corpus=Corpus(config.datatrove, f"{where}.datatrove") if config.datatrove else None,
        decontaminator=decontaminator(config, benchmarks),
        compare=config.compare,
        near=config.near_duplicates,
    )
    chain = Chain(rules, context.out, workers=config.workers, isolation=config.isolation, label=context.name)
    problems = (problem for _, problem in scan(config.problems, Problem, config.columns))
    kept, total = write_both(chain.run(problems), context.out)
    if not total:
        raise StageError(f"{where}: {config.problems} holds no problem to clean")
    reasons = dict(sorted(chain.faults.items()))
    contaminated, distinct = reasons.get("contaminated", 0), total - reasons.get("duplicate", 0)
    if contaminated > distinct * MANY:
        print(
            f"align: warning: {context.name}: {contaminated} of {distinct} problems are dropped, which share "
            f"{config.ngram} words in a row with another file's, or more: see {context.out / 'rejected.jsonl'}; "
            "if it is a pattern, raise ngram",
            file=sys.stderr,
        )
    if not kept:
        raise StageError(f"{where}: no problem is left of {total} ({describe(reasons)})")
    return {"kept": kept, **dict(sorted(chain.notes.items())), "rejected": reasons}


def decontaminator(config: Config, benchmarks: list[tuple[str, list[Problem]]]) -> Decontaminator | None:
    """What looks for the benchmarks, if there are any."""
    if not benchmarks:
        return None
    return Decontaminator(benchmarks, methods=config.decontaminate_by, ngram=config.ngram)


def write_both(cleaned: Iterator[Cleaned], out: Path) -> tuple[int, int]:
    """Write each problem's record to the one file or the other; (kept, all)."""
    kept = total = 0
    with replacing(out / "problems.jsonl") as problems, replacing(out / "rejected.jsonl") as rejected:
        for one in cleaned:
            total += 1
            if one.fault is None:
                kept += 1
                problems.write(f"{one.line}\n")
            else:
                rejected.write(f"{one.rejected}\n")
    return kept, total
