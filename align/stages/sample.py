"""Sample answers to problems from students and teachers, each at its own temperatures."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

from ..config import Section
from ..errors import StageError
from ..execute.program import extract_code
from ..generate import Prompts, Reply, Request, Sampling
from ..generate.answer import answer
from ..generate.ask import derive_seed
from ..io import read, write
from ..models.entry import Weights
from ..recipe.stage import Context, Counts, Demand, File, Model, PromptFiles
from ..schema import Problem, Response, Role, SftRow
from ..text.template import TemplateName, completion_text, prompt_text, render, template

VERSION = 3
DATASET = True
OUTPUTS = ("responses.jsonl", "sft.jsonl")
PROMPTS = ("solve",)


class Source(Section):
    """One model's part."""

    model: Model
    """The model."""
    n: int = Field(default=1, gt=0)
    """Samples a problem at each temperature."""
    temperature: float | list[float] = 1.0
    """One, or several; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=512, gt=0)
    """Longest answer, in tokens."""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    """Strings that end an answer."""
    role: Role | None = None
    """Whose answers these are; by default weights are students, the others are teachers."""

    @field_validator("temperature")
    @classmethod
    def _temperatures(cls, value: float | list[float]) -> float | list[float]:
        given = value if isinstance(value, list) else [value]
        if not given or min(given) < 0:
            raise ValueError("expected one or more numbers ≥ 0")
        return value

    def samplings(self) -> list[Sampling]:
        """How each of a problem's samples is drawn."""
        given = self.temperature if isinstance(self.temperature, list) else [self.temperature]
        return [
            Sampling(temperature=value, top_p=self.top_p, max_new_tokens=self.max_new_tokens, stop=self.stop)
            for value in given
            for _ in range(self.n)
        ]


class Config(Section):
    """Sample responses."""

    problems: File
    """Problems to answer."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    sources: list[Source] = Field(alias="from", min_length=1)
    """Who answers, and how often."""
    template: TemplateName | None = None
    """Template of final text: with it `sft.jsonl` is written. Students are prompted by it, or by `plain`."""
    limit: int | None = Field(default=None, gt=0)
    """Take only so many problems."""
    offset: int = Field(default=0, ge=0)
    """Leave out the first problems."""
    batch_size: int = Field(default=256, gt=0)
    """Answers generated at once by weights run here."""
    prompts: PromptFiles = {}
    """A Jinja template of your own for `solve`, by which those who teach are asked."""

    @field_validator("template")
    @classmethod
    def _can_train(cls, name: str | None) -> str | None:
        if name is not None and template(name).completion is None:
            raise ValueError(f"{name} only asks, and has no form for what is trained on: use it in score")
        return name


@dataclass(frozen=True)
class Asked:
    """One answer to be had."""

    problem: Problem
    index: int
    """Ordinal among the model's samples for the problem."""
    request: Request


def outputs(config: Config) -> tuple[str, ...]:
    """What this configuration leaves."""
    return OUTPUTS if config.template is not None else OUTPUTS[:1]


def demand(config: Config, rows: int) -> Demand:
    """What it asks at most."""
    count = len(range(rows)[config.offset :][: config.limit])
    asks: dict[str, tuple[int, int]] = {}
    for source in config.sources:
        requests, longest = asks.get(source.model, (0, 0))
        asks[source.model] = requests + count * len(source.samplings()), max(longest, source.max_new_tokens)
    return Demand(asks, leaves=count)


def run(config: Config, context: Context) -> Counts:
    """Read problems; write responses, and with a template one SFT row a response."""
    problems = read(config.problems, Problem, config.columns)[config.offset :][: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to answer after {config.offset}")
    by_source = [sample(config, context, number, problems) for number in range(len(config.sources))]
    each = [iter(responses) for responses in by_source]
    counts = [len(source.samplings()) for source in config.sources]
    responses = [next(taken) for _ in problems for taken, count in zip(each, counts, strict=True) for _ in range(count)]
    write(context.out / "responses.jsonl", responses)
    found: Counts = {
        "responses": len(responses),
        "without_code": sum(response.code is None for response in responses),
        "finish": dict(sorted(Counter(response.finish for response in responses).items())),
    }
    if config.template is not None:
        found["sft_rows"] = write(context.out / "sft.jsonl", sft_rows(config.template, problems, responses))
    return found


def sample(config: Config, context: Context, number: int, problems: list[Problem]) -> list[Response]:
    """The responses of one source, problem × sample."""
    source = config.sources[number]
    entry = context.model(source.model)
    role = source.role or ("student" if isinstance(entry, Weights) else "teacher")
    # a student goes on with the text it is trained on; who teaches is asked in messages
    student = isinstance(entry, Weights) and role != "teacher"
    earlier = sum(len(other.samplings()) for other in config.sources[:number] if other.model == source.model)
    name = config.template or "plain"
    label = context.label(source.model)
    prompts = Prompts(config.prompts)
    asked = [
        Asked(problem, index, _request(problem, sampling, name if student else prompts, (context.seed, index)))
        for problem in problems
        for index, sampling in enumerate(source.samplings(), start=earlier)
    ]
    replies = answer(
        context.generator(source.model, config.batch_size),
        [item.request for item in asked],
        context.out / f".replies-{number}.jsonl",
        f"{context.name}: {label}",
    )
    used = template(name).id if student else prompts.id("solve")
    return [_response(item, reply, label, role, used) for item, reply in zip(asked, replies, strict=True)]


def sft_rows(name: str, problems: Iterable[Problem], responses: Iterable[Response]) -> Iterator[SftRow]:
    """One row for each response that has code and was not cut off."""
    prompts = {problem.id: render(name, problem) for problem in problems}
    for response in responses:
        if response.code is not None and response.finish == "stop":
            yield SftRow(prompt=prompts[response.problem_id], completion=completion_text(name, response.code))


def _request(problem: Problem, sampling: Sampling, how: str | Prompts, draw: tuple[int, int]) -> Request:
    """Final text by the named template for a student, a chat message for a teacher."""
    seed = derive_seed("sample", *draw, problem.id)
    if isinstance(how, str):
        return Request(prompt=render(how, problem), sampling=sampling, seed=seed)
    fields = {
        "problem": prompt_text(problem),
        "entry_point": problem.entry_point or "",
        "signature": problem.signature or "",
    }
    return how.ask("solve", fields, sampling, seed)


def _response(item: Asked, reply: Reply, model: str, role: Role, used: str) -> Response:
    problem = item.problem
    return Response(
        problem_id=problem.id,
        sample_index=item.index,
        model=model,
        role=role,
        text=reply.text,
        code=extract_code(reply.text, prompt=prompt_text(problem), entry_point=problem.entry_point),
        finish=reply.finish,
        reasoning=reply.reasoning,
        template=used,
        sampling=item.request.sampling.model_dump(),
        usage=reply.usage,
    )
