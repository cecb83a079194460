"""Make harder problems from simple ones with a model, by Evol-Instruct's in-depth heuristics, and plans by COTTON's."""

from collections import Counter
from random import Random

from pydantic import Field, model_validator

from ..config import bad_key
from ..errors import StageError
from ..evolve import OPERATORS, Means, Planner, Rules, evolve
from ..evolve.eliminate import Task
from ..evolve.operators import PROMPTS as PURPOSES
from ..evolve.operators import STYLES, OperatorName, Style
from ..evolve.rounds import AskAll, Pool
from ..generate import Prompts, Reply, Request, Sampling
from ..generate.answer import answer
from ..io import read, write
from ..rank import UnitTests
from ..recipe.sections import Programs
from ..recipe.stage import Context, Counts, Demand, File, Model, PromptFiles
from ..schema import Problem, Response, Verdict

VERSION = 2
DATASET = True
OUTPUTS = ("problems.jsonl", "rejected.jsonl")
PROMPTS = PURPOSES


class Config(Programs):
    """Evolve problems; see `align.evolve.evolve`."""

    problems: File
    """Problems to start from; they are kept among the results."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    model: Model
    """The model that evolves, and that writes plans."""
    judge: Model | None = None
    """A model that says whether a new problem asks for more than its parent; without one that is not asked."""
    coder: Model | None = None
    """The model that writes code from plans, which must pass the problem's tests; needed by the operator `plan`."""
    rounds: int = Field(default=3, gt=0)
    """Rounds of evolution."""
    children: int = Field(default=1, gt=0)
    """Evolutions of a problem in a round."""
    pool: Pool = "latest"
    """What a round evolves: `latest` children and the parents of failed ones, or `all` problems so far."""
    style: Style = "pangu-coder2"
    """The prompt: PanGu-Coder2's contest designer, with rules for the new problem, or WizardCoder's plain demand."""
    operators: list[OperatorName] = Field(default=list(OPERATORS), min_length=1)
    """What is drawn from: the heuristics by default. `plan` adds the steps of a solution to problems with tests."""
    task: Task = "function"
    """`function`: drop what asks for a program, a window, a web site, classes or prose; `any`: keep it."""
    max_words: int | None = Field(default=None, gt=0)
    """Longest new problem, in words; two characters of a script without spaces count as one."""
    max_growth: float | None = Field(default=3.0, gt=1)
    """Longest new problem, times its parent's words; 50 words may be added to any. null: no such limit."""
    near_duplicate: float | None = Field(default=1.0, ge=0, le=1)
    """ROUGE-L of content words, from which a problem that has those of a known one and no other is dropped: 1 is the
    same order. null: only equal texts are."""
    limit: int | None = Field(default=None, gt=0)
    """Most problems kept, drawn at random over seeds and rounds."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy. The judge and the coder always are."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=2048, gt=0)
    """Longest reply, in tokens."""
    batch_size: int = Field(default=256, gt=0)
    """Replies generated at once by weights run here."""
    prompts: PromptFiles = {}
    """Jinja templates of your own, by purpose: `evolve` or `evolve_wizardcoder`, a heuristic by its name, `compare`,
    `plan`, and `solve` by which the coder is asked."""

    @model_validator(mode="after")
    def _plans_are_checked(self) -> "Config":
        if "plan" in self.operators and self.coder is None:
            raise bad_key("coder", "the operator plan needs `coder: <model>`, which writes code from the plans")
        if "plan" not in self.operators and self.coder is not None:
            raise bad_key("coder", "nothing is asked of it: add plan to `operators`, or leave it out")
        return self

    @model_validator(mode="after")
    def _prompts_are_used(self) -> "Config":
        for style, purpose in STYLES.items():
            if style != self.style and purpose in self.prompts:
                raise bad_key("prompts", f"{purpose} is not asked by `style: {self.style}`: write {STYLES[self.style]}")
        used = {*self.operators, *(("compare",) if self.judge else ()), *(("solve",) if self.coder else ())}
        for purpose in (*OPERATORS, "plan", "compare", "solve"):
            if purpose in self.prompts and purpose not in used:
                needed = {"compare": "name a `judge`", "solve": "name a `coder`"}.get(purpose, "add it to `operators`")
                raise bad_key("prompts", f"{purpose} is never asked: {needed}, or leave it out")
        return self


def runs_programs(config: Config) -> bool:
    """Whether programs are run: to check plans."""
    return "plan" in config.operators


def demand(config: Config, rows: int) -> Demand:
    """What it asks at most: in every round each problem of the pool is put to the model, `children` times.

    With one child it gives way to its parent or takes its place; with several the pool grows, as `all` makes it.
    """
    asked, waiting, born = 0, rows, 0
    for _ in range(config.rounds):
        asked += waiting * config.children
        born += waiting * config.children
        waiting = rows + born if config.pool == "all" else waiting * config.children
    asks = {config.model: (asked, config.max_new_tokens)}
    for other in (config.judge, config.coder):
        if other:
            # twice for a model that does both
            asks[other] = (asks.get(other, (0, 0))[0] + asked, config.max_new_tokens)
    return Demand(asks, leaves=min(rows + born, config.limit or rows + born))


def run(config: Config, context: Context) -> Counts:
    """Read problems; write the seeds and what evolved from them, in random order, and the failed evolutions."""
    seeds = read(config.problems, Problem, config.columns)
    if not seeds:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to evolve")
    if config.operators == ["plan"] and not any(problem.tests for problem in seeds):
        raise StageError(f"stages.{context.name}: no problem of {config.problems} has tests to check a plan by")
    evolved = evolve(
        seeds,
        asking(config, context, config.model, "round"),
        rounds=config.rounds,
        children=config.children,
        pool=config.pool,
        means=means(config, context),
        seed=context.seed,
    )
    # later stages take the first so many: these should be of all rounds
    Random(context.seed).shuffle(evolved.problems)
    kept = evolved.problems[: config.limit]
    write(context.out / "problems.jsonl", kept)
    write(context.out / "rejected.jsonl", evolved.rejected)
    reasons = dict(sorted(Counter(entry.reason for entry in evolved.rejected).items()))
    return {
        "kept": len(kept),
        "seeds": len(seeds),
        "over_limit": len(evolved.problems) - len(kept),
        "rejected": reasons,
    }


def means(config: Config, context: Context) -> Means:
    """How the stage evolves, beside its model."""
    return Means(
        operators=config.operators,
        style=config.style,
        rules=Rules(config.max_words, config.max_growth, config.near_duplicate, config.task),
        sampling=Sampling(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens),
        prompts=Prompts(config.prompts),
        judge=asking(config, context, config.judge, "judge") if config.judge else None,
        planner=planner(config, context) if config.coder else None,
    )


def asking(config: Config, context: Context, model: str, what: str) -> AskAll:
    """Puts the requests of a round to a model; what it replied is kept by round."""
    asked = context.generator(model, config.batch_size)

    def ask_all(requests: list[Request], number: int) -> list[Reply]:
        journal = context.out / f".{what}-{number}.jsonl"
        label = f"{what} {number}" if what == "round" else f"{what}, round {number}"
        return answer(asked, requests, journal, f"{context.name}: {label} of {config.rounds}")

    return ask_all


def planner(config: Config, context: Context) -> Planner:
    """Who checks plans: the coder, and the problems' tests."""
    assert config.coder is not None
    profile = config.profile.made() if config.profile else None
    cache = context.out / ".executions.sqlite"
    tests = UnitTests(config.workers, config.isolation, config.timeout, cache, profile=profile)

    def run_tests(problems: list[Problem], responses: list[Response]) -> list[Verdict]:
        return list(tests.judge(problems, responses))

    return Planner(asking(config, context, config.coder, "code"), run_tests)
