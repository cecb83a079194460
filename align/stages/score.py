"""Measure models: sample answers to held-out problems, run their tests, report pass@k with intervals."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..config import Section
from ..errors import StageError
from ..execute import extract_code
from ..generate import generator
from ..generate.answer import answer
from ..generate.ask import derive_seed
from ..generate.request import Request, Sampling
from ..io import read, write, write_json
from ..progress import progress
from ..rank import UnitTests
from ..recipe.stage import UNKEYED, Context, Counts, File, Model
from ..schema import Problem, Response
from ..score.compare import Answer, answer_of, compare
from ..text.template import prompt_text, render

VERSION = 1
RUNS_PROGRAMS = True
OUTPUTS = ("results.jsonl", "score.json")


class Config(Section):
    """Score models on problems."""

    models: dict[str, Model] = Field(min_length=1)
    """Name in the results → model."""
    problems: File
    """Problems with tests; never any that were trained on."""
    template: str = "plain"
    """Template of the final prompt text."""
    n: int = Field(default=1, gt=0)
    """Samples a problem."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=512, gt=0)
    """Longest answer."""
    stop: list[str] = []
    """Strings that end an answer."""
    k: list[int] = Field(default=[1], min_length=1)
    """The k of pass@k."""
    limit: int | None = Field(default=None, gt=0)
    """Score only the first problems."""
    batch_size: int = Field(default=256, gt=0)
    """Answers generated at once."""
    workers: Annotated[int | None, UNKEYED] = None
    """Programs run at once."""
    timeout: float | None = Field(default=None, gt=0)
    """CPU seconds a program, where its problem has no limit."""
    isolation: Literal["auto", "A", "B", "none"] = "auto"
    """Isolation of the programs."""

    @model_validator(mode="after")
    def _k_fits(self) -> "Config":
        if max(self.k) > self.n:
            raise ValueError(f"k = {max(self.k)} needs n ≥ {max(self.k)} samples a problem, n is {self.n}")
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"n = {self.n} greedy samples are all the same: set a temperature, or n: 1")
        return self


def run(config: Config, context: Context) -> Counts:
    """Read problems; write one result a sample and the summary."""
    problems = read(config.problems, Problem)[: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem")
    answers: dict[str, list[Answer]] = {}
    for name, model in config.models.items():
        answers[name] = judge(config, context, name, problems, sample(config, context, name, model, problems))
    write(context.out / "results.jsonl", (row for rows in answers.values() for row in rows))
    score = compare(answers, config.k, n=config.n, sampling=sampling(config))
    write_json(context.out / "score.json", score)
    for journal in context.out.glob(".*.jsonl"):
        journal.unlink()
    return {"problems": len(problems), **{name: found.get("pass@1", 0.0) for name, found in score["models"].items()}}


def sampling(config: Config) -> Sampling:
    """How answers are drawn."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        max_new_tokens=config.max_new_tokens,
        stop=config.stop,
    )


def sample(config: Config, context: Context, name: str, model: str, problems: list[Problem]) -> list[str]:
    """The answers' texts, problem × sample."""
    requests = [
        Request(
            prompt=render(config.template, problem),
            sampling=sampling(config),
            seed=derive_seed("score", context.seed, index, problem.id),
            purpose="solve",
        )
        for problem in problems
        for index in range(config.n)
    ]
    model_generator = generator(context.model(model), batch_size=config.batch_size)
    replies = answer(model_generator, requests, context.out / f".replies-{name}.jsonl", f"{context.name}: {name}")
    return [reply.text for reply in replies]


def judge(config: Config, context: Context, name: str, problems: list[Problem], texts: list[str]) -> list[Answer]:
    """Run every answer's program on its problem's tests."""
    asked = [(problem, index) for problem in problems for index in range(config.n)]
    responses = [
        Response(
            problem_id=problem.id,
            sample_index=index,
            model=name,
            text=text,
            code=extract_code(text, prompt=prompt_text(problem), entry_point=problem.entry_point),
        )
        for (problem, index), text in zip(asked, texts, strict=True)
    ]
    tests = UnitTests(config.workers, config.isolation, config.timeout, context.out / f".executions-{name}.jsonl")
    found = []
    with progress(f"{context.name}: run {name}", len(responses)) as bar:
        for response, verdict in zip(responses, tests.judge(problems, responses), strict=True):
            found.append(answer_of(response, verdict))
            bar.advance()
    return found
