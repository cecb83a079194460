"""Measure how far synthesised tests can be trusted: hide the tests of a problem set, write others, compare the two."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from ..config import bad_key
from ..errors import DataError, StageError
from ..io import read, rows, write_json
from ..progress import progress
from ..rank.unit_tests import index_problems
from ..recipe.stage import Context, Counts, File
from ..schema import Problem
from ..score.samples import read_samples
from ..testgen import Candidate, Runner
from ..testgen.calibrate import calibrate, hidden, summary
from ..testgen.sieve import passes
from ..testgen.synthesise import Solve
from . import tests

VERSION = 2
OUTPUTS = ("calibration.json",)
PROMPTS = tests.PROMPTS
UNNAMED = "unnamed"
"""The author of a file's rows that name no `model`."""
COLUMNS = ("problems", "cases", "precision", "false_pass", "false_fail", "right_of_passing", "tau")


class Config(tests.Config):
    """Calibrate synthesised tests; see `align.testgen.calibrate`. Its other keys are those of a tests stage."""

    tests: File | None = None
    """Tests that were written already, beside those of `models`: rows `{task_id, samples}` with a list of texts, or
    `{task_id, text}`, and `model` where there are several."""
    continues: str = ""
    """What the texts of `tests` continue, such as `"assert "`."""
    samples: File | None = None
    """Programs that were sampled already, beside those of `candidates`: rows `{task_id, completion}` or `{task_id,
    solution}`. They and tests without a `model` count as one model's: see `own_votes`. Each may stand in for a
    teacher's."""
    voters: int | None = Field(default=None, gt=0)
    """Only a problem's first programs vote for cases, and the others are judged by them; by default all do both."""

    @model_validator(mode="after")
    def _compares(self) -> "Config":
        if not (self.models or self.tests or "extracted" in self.tiers):
            raise bad_key("tests", "nobody writes tests: name models or tests")
        if not self.has_programs():
            raise bad_key("samples", "there are no programs to run tests on: name candidates or samples")
        return self

    def has_programs(self) -> bool:
        """Whether there are any to run cases on."""
        return bool(self.candidates or self.samples)


def runs_programs(config: Config) -> bool:
    """It always runs programs."""
    return True


def run(config: Config, context: Context) -> Counts:
    """Read problems with tests; write and print what synthesised tests would have said of the same programs."""
    every = read(config.problems, Problem, config.columns)
    problems = [problem for problem in every if problem.tests][: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem with tests to compare with")
    written = all_written(config, context, problems)
    known = sampled(config.samples, every) if config.samples else {}
    further = tests.further_of(config)
    with progress(f"{context.name}: run cases", (len(passes(further)) + 1) * len(problems)) as bar:
        runner = Runner(
            workers=config.workers,
            isolation=config.isolation,
            timeout=config.timeout,
            cache=context.out / ".executions.sqlite",
            profile=config.profile.made() if config.profile else None,
            on_done=lambda _: bar.advance(),
        )
        found = calibrate(
            problems,
            written,
            solver(config, context, [known.get(problem.id, []) for problem in problems]),
            voters=config.voters,
            per_problem=config.per_problem,
            extract="extracted" in config.tiers,
            gate=config.gate,
            runner=runner,
            own_votes=config.own_votes,
            further=further,
        )
    told = summary(found, config.min_tests, further)
    write_json(context.out / "calibration.json", told)
    print("\n".join(table(told)))
    reasons = {"few_tests": told["rejected"]} if told["rejected"] else {}
    rates = {name: told["sieved"][name] for name in COLUMNS[1:] if told["sieved"][name] is not None}
    return {"problems": told["problems"], "rejected": reasons, **rates}


def all_written(config: Config, context: Context, problems: Sequence[Problem]) -> list[list[tuple[str, str]]]:
    """For each problem the answers that hold tests, each with its author."""
    known = from_file(config.tests, config.continues, problems) if config.tests else {}
    bare = tests.pinned(config, context, [hidden(problem) for problem in problems])
    found = [list(known.get(problem.id, ())) for problem in problems]
    for model in config.models:
        for place, text in zip(found, tests.ask_model(config, context, model, bare), strict=True):
            place += [(context.label(model), text)] if text is not None else []
    return found


def from_file(path: str, continues: str, problems: Iterable[Problem]) -> dict[str, list[tuple[str, str]]]:
    """The texts of a file by the id of their problem; rows of other problems are left out.

    Raises:
        DataError: with `file:line`: a row has no task_id, or no texts; or no row is of these problems.
    """
    index = index_problems(problems)
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for where, row in rows(path):
        texts = row.get("samples", [row.get("text")])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{where}: expected `samples`, a list of texts, or `text` (columns: {', '.join(row)})")
        if "task_id" not in row:
            raise DataError(f"{where}: task_id: missing (columns: {', '.join(row)})")
        if problem := index.get(str(row["task_id"])):
            author = str(row.get("model") or UNNAMED)
            found[problem.id] += [(author, continues + text) for text in texts]
    if not found:
        raise DataError(f"{path}: no row is of one of the problems: their task_id differs")
    return dict(found)


def solver(config: Config, context: Context, known: Sequence[Sequence[Candidate]]) -> Solve:
    """Gives the programs that are known of each problem, and those that the candidates of a configuration write."""

    def solve(problems: Sequence[Problem]) -> list[list[Candidate]]:
        written = tests.solver(config, context)(problems) if config.candidates else [[] for _ in problems]
        return [[*given, *programs] for given, programs in zip(known, written, strict=True)]

    return solve


def sampled(path: str, problems: Sequence[Problem]) -> dict[str, list[Candidate]]:
    """The programs of a sample file by the id of their problem."""
    found: defaultdict[str, list[Candidate]] = defaultdict(list)
    for sample in read_samples(path, problems):
        prompt = sample.problem.prompt
        begins = isinstance(prompt, str) and sample.form == "completion"
        found[sample.problem.id].append(Candidate(UNNAMED, f"{prompt}{sample.text}" if begins else sample.text))
    return dict(found)


def table(told: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines of text; a rate of nothing is `-`."""
    lines = list(_lines(told))
    width = max(len(name) for name, _ in lines)
    yield " " * width + "".join(f"{name:>18}" for name in COLUMNS)
    for name, row in lines:
        yield f"{name:{width}}" + "".join(f"{_shown(row[column]):>18}" for column in COLUMNS)


def _lines(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in told.items():
        if isinstance(value, Mapping):
            if "tau" in value:
                yield before + name, value
            else:
                yield from _lines(value, f"{before}{name} ")


def _shown(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
