"""Have models write unit tests for the problems that have none, or leave these out."""

from collections import Counter

from pydantic import Field

from ..config import Section
from ..errors import StageError
from ..generate import Sampling, generator
from ..generate.answer import answer
from ..io import read, write
from ..recipe.stage import Context, Counts, File, Model
from ..schema import Problem
from ..testgen import synthesise
from ..testgen.synthesise import request_tests

VERSION = 1
OUTPUTS = ("problems.jsonl", "rejected.jsonl")


class Config(Section):
    """Write tests; see `align.testgen.synthesise`."""

    problems: File
    """Problems; those with tests keep them."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    models: list[Model] = []
    """Who writes tests; those of all are taken together. Without any, problems without tests are rejected."""
    per_problem: int = Field(default=10, gt=0)
    """Tests asked of each model for a problem."""
    min_tests: int = Field(default=5, gt=0)
    """A problem with fewer usable tests is rejected."""
    limit: int | None = Field(default=None, gt=0)
    """Take only the first problems."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=1024, gt=0)
    """Longest reply, in tokens."""
    batch_size: int = Field(default=256, gt=0)
    """Replies generated at once by weights run here."""


def run(config: Config, context: Context) -> Counts:
    """Read problems; write those that have tests now, and the others with the reason."""
    problems = read(config.problems, Problem, config.columns)[: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to test")
    bare = [problem for problem in problems if not problem.tests]
    written = [ask_model(config, context, model, bare) for model in config.models]
    answers = list(zip(*written, strict=True)) if written else None
    found = synthesise(problems, answers, per_problem=config.per_problem, min_tests=config.min_tests)
    write(context.out / "problems.jsonl", found.kept)
    write(context.out / "rejected.jsonl", found.rejected)
    reasons = dict(sorted(Counter(entry.reason for entry in found.rejected).items()))
    if not found.kept:
        raise StageError(f"stages.{context.name}: no problem has tests: {reasons}")
    return {"kept": len(found.kept), "native": found.native, "rejected": reasons}


def ask_model(config: Config, context: Context, model: str, problems: list[Problem]) -> list[str]:
    """What one model writes for each problem."""
    if not problems:
        return []
    sampling = Sampling(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens)
    requests = [request_tests(problem, config.per_problem, sampling, context.seed) for problem in problems]
    journal = context.out / f".tests-{config.models.index(model)}.jsonl"
    asked = generator(context.model(model), batch_size=config.batch_size)
    return [reply.text for reply in answer(asked, requests, journal, f"{context.name}: {context.label(model)}")]
