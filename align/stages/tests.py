"""Give tests to the problems that have none: examples in their text and what models write; or leave these out."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from ..config import Section, bad_key
from ..errors import StageError
from ..execute.program import extract_code
from ..generate import Prompts, Request, Sampling
from ..generate.ask import derive_seed
from ..io import read, write
from ..models.entry import Weights
from ..progress import progress
from ..recipe.closing import describe
from ..recipe.sections import Programs, Questions
from ..recipe.stage import Context, Counts, Demand, File, Model, PromptFiles
from ..schema import Problem
from ..testgen import Candidate, Gate, Runner, Synthesis, synthesise
from ..testgen.cases import FURTHER, Further, Written
from ..testgen.interface import pin, read_signature, request_interface, with_interface
from ..testgen.sieve import passes
from ..testgen.synthesise import Solve, request_tests
from ..text.template import prompt_text

VERSION = 3
DATASET = True
OUTPUTS = ("problems.jsonl", "rejected.jsonl")
PROMPTS = ("write_tests", "solve", "interface")


class Solver(Section):
    """A model whose programs the cases are run on."""

    model: Model
    """The model."""
    n: int = Field(default=4, gt=0)
    """Programs a problem."""
    temperature: float = Field(default=0.8, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=1024, gt=0)
    """Longest answer, in tokens."""
    role: Literal["student", "teacher"] | None = None
    """Whether it counts for the gate on teachers; by default weights are students, the others are teachers."""


class Config(Programs, Questions):
    """Write tests; see `align.testgen.synthesise`."""

    problems: File
    """Problems; those with tests keep them."""
    models: list[Model] = []
    """Who writes tests; those of all are taken together. Without any, problems whose text has no examples are
    rejected."""
    tiers: list[Written | Further] = ["extracted", "synthesised"]
    """Where tests come from: `extracted` are the examples in a problem's text (doctests, `f(1) == 2`, `Input:` with
    `Output:`), `synthesised` what `models` write. With `candidates` also `differential`, the values that most of their
    programs return where they differ, and `property`, checks of the interface alone. Without a test of the first two a
    problem is never `verified`."""
    interface: Model | None = None
    """Who names the function and its parameters, where nothing that comes with the problem does."""
    candidates: list[Solver] = []
    """Who solves the problems, so that the cases can be run and gated; their tests do not vote for their own programs.
    Without any, nothing is run and the tests are `unverified`."""
    gate: Gate = Gate()
    """What tests must show to be `verified`; the others are kept as `weak`."""
    own_votes: bool = False
    """Let a model's tests vote for its own programs too, where there is no second model."""
    per_problem: int = Field(default=10, gt=0)
    """Tests asked of each model for a problem."""
    min_tests: int = Field(default=5, gt=0)
    """A problem with fewer usable tests is rejected."""
    max_new_tokens: int = Field(default=1024, gt=0)
    """Longest reply, in tokens."""
    prompts: PromptFiles = {}
    """Jinja templates of your own for `write_tests`, `solve` and `interface`."""
    timeout: float | None = Field(default=None, gt=0)
    """CPU seconds of one call; 0.5 by default."""

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        if self.models and "synthesised" not in self.tiers:
            raise bad_key("tiers", "models write tests of the tier `synthesised`: add it, or leave out `models`")
        if further_of(self) and not self.has_programs():
            raise bad_key("tiers", f"`{further_of(self)[0]}` needs programs to run: name candidates")
        return self

    def has_programs(self) -> bool:
        """Whether there are any to run cases on."""
        return bool(self.candidates)


def further_of(config: Config) -> list[Further]:
    """The tiers of what nobody writes."""
    return [tier for tier in FURTHER if tier in config.tiers]


def runs_programs(config: Config) -> bool:
    """Whether it runs programs: only those of candidates."""
    return bool(config.candidates)


def demand(config: Config, rows: int) -> Demand:
    """What it asks at most: problems that have tests are not asked about."""
    count = len(range(rows)[: config.limit])
    given = [(model, count, config.max_new_tokens) for model in config.models]
    given += [(solver.model, count * solver.n, solver.max_new_tokens) for solver in config.candidates]
    given += [(config.interface, count, INTERFACE_TOKENS)] if config.interface else []
    asks: dict[str, tuple[int, int]] = {}
    for model, requests, longest in given:
        known = asks.get(model, (0, 0))
        asks[model] = known[0] + requests, max(known[1], longest)
    return Demand(asks, leaves=count)


INTERFACE_TOKENS = 128
"""Longest `def` line, in tokens."""


def run(config: Config, context: Context) -> Counts:
    """Read problems; write those that have tests now, and the others with the reason."""
    problems = read(config.problems, Problem, config.columns)[: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to test")
    problems = pinned(config, context, problems)
    bare = [problem for problem in problems if not problem.tests]
    written = [ask_model(config, context, model, bare) for model in config.models]
    found = sieved(config, context, problems, list(zip(*written, strict=True)) if written else None)
    write(context.out / "problems.jsonl", found.kept)
    write(context.out / "rejected.jsonl", found.rejected)
    reasons = dict(sorted(Counter(entry.reason for entry in found.rejected).items()))
    if not found.kept:
        raise StageError(f"stages.{context.name}: no problem has tests ({describe(reasons)})")
    return {"kept": len(found.kept), "native": found.native, "rejected": reasons, **told_of(found)}


def told_of(found: Synthesis) -> Counts:
    """Cases dropped, by reason; problems by tier, by verdict, and by the gate that they fail. What is empty is left
    out."""
    known = [problem.meta["tests"] for problem in found.kept if isinstance(problem.meta.get("tests"), dict)]
    known = [one for one in known if "verdict" in one]
    counts = {
        "dropped_cases": found.dropped,
        "tiers": Counter(one["tier"] for one in known),
        "verdicts": Counter(one["verdict"] for one in known),
        "failed_gates": Counter(name for one in known for name in one.get("failed", ())),
    }
    return {name: dict(sorted(counted.items())) for name, counted in counts.items() if counted}


def pinned(config: Config, context: Context, problems: Sequence[Problem]) -> list[Problem]:
    """The problems with their interfaces: read, or asked for where nothing tells them."""
    read_off = [pin(problem) for problem in problems]
    unknown = [one for one in read_off if not one.tests and not (one.entry_point and one.signature)]
    if config.interface is None or not unknown:
        return read_off
    sampling = Sampling(temperature=0.0, max_new_tokens=INTERFACE_TOKENS)
    prompts = Prompts(config.prompts)
    requests = [request_interface(problem, sampling, context.seed, prompts) for problem in unknown]
    replies = asked(config, context, config.interface, requests, "interface")
    named = {
        problem.id: with_interface(problem, function)
        for problem, reply in zip(unknown, replies, strict=True)
        if (function := read_signature(reply or "")) is not None
    }
    return [named.get(problem.id, problem) for problem in read_off]


def ask_model(config: Config, context: Context, model: str, problems: list[Problem]) -> list[str | None]:
    """What one model writes for each problem."""
    sampling = Sampling(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens)
    prompts = Prompts(config.prompts)
    requests = [request_tests(problem, config.per_problem, sampling, context.seed, prompts) for problem in problems]
    return asked(config, context, model, requests, f"tests-{config.models.index(model)}")


def asked(config: Config, context: Context, model: str, requests: list[Request], name: str) -> list[str | None]:
    """The texts of a model's answers; None for a request that got none."""
    replies = config.ask(context, model, requests, name)
    return [None if reply.finish == "error" else reply.text for reply in replies]


def sieved(
    config: Config, context: Context, problems: list[Problem], answers: Sequence[Sequence[str | None]] | None
) -> Synthesis:
    """The tests of all problems, run on the candidates' programs where there are any."""
    total = len(passes(further_of(config))) * sum(not problem.tests for problem in problems) if config.candidates else 0
    with progress(f"{context.name}: run cases", total) as bar:
        runner = Runner(
            workers=config.workers,
            isolation=config.isolation,
            timeout=config.timeout,
            cache=context.out / ".executions.sqlite",
            profile=config.profile.made() if config.profile else None,
            on_done=lambda _: bar.advance(),
        )
        return synthesise(
            problems,
            answers,
            per_problem=config.per_problem,
            min_tests=config.min_tests,
            authors=[context.label(model) for model in config.models],
            extract="extracted" in config.tiers,
            candidates=solver(config, context) if config.candidates else None,
            gate=config.gate,
            runner=runner,
            own_votes=config.own_votes,
            further=further_of(config),
        )


def solver(config: Config, context: Context) -> Solve:
    """Asks the candidates of a configuration to solve problems."""

    def solve(problems: Sequence[Problem]) -> list[list[Candidate]]:
        found: list[list[Candidate]] = [[] for _ in problems]
        for number, one in enumerate(config.candidates):
            role = one.role or ("student" if isinstance(context.model(one.model), Weights) else "teacher")
            for place, text in zip(_places(problems, one.n), _programs(config, context, number, problems), strict=True):
                problem = problems[place]
                code = extract_code(text or "", prompt=prompt_text(problem), entry_point=problem.entry_point)
                if code is not None:
                    found[place].append(Candidate(context.label(one.model), code, role == "teacher"))
        return found

    return solve


def _places(problems: Sequence[Problem], n: int) -> list[int]:
    return [place for place in range(len(problems)) for _ in range(n)]


def _programs(config: Config, context: Context, number: int, problems: Sequence[Problem]) -> list[str | None]:
    """What one solver answers, problem × sample."""
    one, prompts = config.candidates[number], Prompts(config.prompts)
    sampling = Sampling(temperature=one.temperature, top_p=one.top_p, max_new_tokens=one.max_new_tokens)
    requests = []
    for index, place in enumerate(_places(problems, one.n)):
        problem = problems[place]
        fields = {
            "problem": prompt_text(problem),
            "entry_point": problem.entry_point or "",
            "signature": problem.signature or "",
        }
        seed = derive_seed("tests", context.seed, number, index % one.n, problem.id)
        requests.append(prompts.ask("solve", fields, sampling, seed))
    return asked(config, context, one.model, requests, f"candidates-{number}")
