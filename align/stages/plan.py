"""Put plans into problems: the steps of a solution that a model writes, as COTTON does (arXiv 2312.05562)."""

from collections import Counter
from collections.abc import Sequence

from pydantic import Field, model_validator

from ..config import bad_key
from ..errors import StageError
from ..evolve import Planner
from ..evolve.eliminate import Fault
from ..evolve.operators import request_plan
from ..evolve.plans import HEADING, check_plans, read_plan, with_plan
from ..generate import Prompts, Reply, Request, Sampling
from ..generate.ask import derive_seed
from ..io import read, write
from ..rank import UnitTests
from ..recipe.sections import Programs, Questions
from ..recipe.stage import Context, Counts, Demand, Model, PromptFiles
from ..schema import Problem, Rejected, Response, SftRow, Verdict
from ..text.template import prompt_text

VERSION = 1
DATASET = True
OUTPUTS = ("problems.jsonl", "rejected.jsonl", "sft.jsonl")
PROMPTS = ("plan", "solve")

Outcome = Problem | Fault
"""A problem with its plan, or why there is none."""


class Config(Programs, Questions):
    """Have plans written; `sft.jsonl` has the questions and the plans that were kept, to train a planner on."""

    model: Model
    """Who writes the plans."""
    coder: Model | None = None
    """Who writes code from each plan, greedily; a problem whose code fails its tests is dropped. Without a coder plans
    are not checked, and a problem without a plan stays as it is: a benchmark stays whole."""
    max_new_tokens: int = Field(default=512, gt=0)
    """Longest plan, and longest program, in tokens."""
    prompts: PromptFiles = {}
    """Jinja templates of your own for `plan`, and `solve` by which the coder is asked."""

    @model_validator(mode="after")
    def _prompts_are_used(self) -> "Config":
        if "solve" in self.prompts and self.coder is None:
            raise bad_key("prompts", "nothing is asked by solve: give a coder, or leave it out")
        return self


def runs_programs(config: Config) -> bool:
    """Whether programs are run: to check plans."""
    return config.coder is not None


def demand(config: Config, rows: int) -> Demand:
    """What it asks at most."""
    count = len(range(rows)[: config.limit])
    asks = {config.model: (count, config.max_new_tokens)}
    if config.coder:
        asks[config.coder] = (asks.get(config.coder, (0, 0))[0] + count, config.max_new_tokens)
    return Demand(asks, leaves=count)


def run(config: Config, context: Context) -> Counts:
    """Read problems; write them with their plans, those that have none with the reason, and the plans as rows."""
    problems = read(config.problems, Problem, config.columns)[: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to plan")
    if config.coder and not any(problem.tests for problem in problems):
        raise StageError(f"stages.{context.name}: no problem of {config.problems} has tests to check a plan by")
    prompts = Prompts(config.prompts)
    requests = [_request(config, context, prompts, problem) for problem in problems]
    replies = config.ask(context, config.model, requests, "plans")
    outcomes = [_planned(problem, reply) for problem, reply in zip(problems, replies, strict=True)]
    if config.coder:
        outcomes = _checked(config, context, prompts, outcomes)
    both = list(zip(problems, outcomes, strict=True))
    faults = [(problem, fault) for problem, fault in both if isinstance(fault, Fault)]
    # without a coder a problem without a plan stays as it was
    kept = [
        one if isinstance(one, Problem) else problem
        for problem, one in both
        if isinstance(one, Problem) or config.coder is None
    ]
    write(context.out / "problems.jsonl", kept)
    write(context.out / "rejected.jsonl", [_rejected(problem, fault) for problem, fault in faults])
    rows = [
        _row(request, reply)
        for request, reply, one in zip(requests, replies, outcomes, strict=True)
        if isinstance(one, Problem)
    ]
    write(context.out / "sft.jsonl", rows)
    if not kept:
        raise StageError(f"stages.{context.name}: no problem is left of {len(problems)}: {_reasons(faults)}")
    return {"kept": len(kept), "planned": len(rows), "rejected": _reasons(faults)}


def _request(config: Config, context: Context, prompts: Prompts, problem: Problem) -> Request:
    sampling = Sampling(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens)
    seed = derive_seed("plan", context.seed, problem.id)
    return request_plan(prompt_text(problem), problem.entry_point, problem.signature, prompts, sampling, seed)


def _planned(problem: Problem, reply: Reply) -> Outcome:
    if HEADING in prompt_text(problem):
        return Fault("has_plan")
    plan = read_plan(reply)
    return plan if isinstance(plan, Fault) else with_plan(problem, plan, 1)


def _checked(config: Config, context: Context, prompts: Prompts, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same, where code that is written from a plan passes the tests."""
    assert config.coder is not None
    coder, profile = config.coder, config.profile.made() if config.profile else None
    cache = context.out / ".executions.sqlite"
    tests = UnitTests(config.workers, config.isolation, config.timeout, cache, profile=profile)

    def write_code(requests: list[Request], number: int) -> list[Reply]:
        return config.ask(context, coder, requests, "code")

    def run_tests(problems: list[Problem], responses: list[Response]) -> list[Verdict]:
        return list(tests.judge(problems, responses))

    found = [Fault("no_tests") if isinstance(one, Problem) and not one.tests else one for one in outcomes]
    children = [one for one in found if isinstance(one, Problem)]
    greedy = Sampling(temperature=0, max_new_tokens=config.max_new_tokens)
    faults = iter(check_plans(children, Planner(write_code, run_tests), prompts, greedy, 1))
    return [(next(faults) or one) if isinstance(one, Problem) else one for one in found]


def _rejected(problem: Problem, fault: Fault) -> Rejected:
    return Rejected(reason=fault.reason, detail=fault.detail, record=problem.model_dump(exclude_none=True))


def _row(request: Request, reply: Reply) -> SftRow:
    """The question as it was asked, a line end, and the plan in its one form."""
    question, plan = request.prompt, read_plan(reply)
    assert isinstance(question, list)
    assert isinstance(plan, str)
    return SftRow(prompt=f"{question[-1].content}\n", completion=plan)


def _reasons(faults: Sequence[tuple[Problem, Fault]]) -> dict[str, int]:
    return dict(sorted(Counter(fault.reason for _, fault in faults).items()))
