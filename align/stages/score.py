"""Measure models: sample answers to held-out problems, run their tests, report pass@k with intervals."""

import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..config import bad_key
from ..errors import ConfigError, StageError, suggest
from ..execute import extract_code
from ..generate.answer import answer
from ..generate.ask import derive_seed
from ..generate.endpoint import check_least
from ..generate.request import Reply, Request, Sampling
from ..io import HUB, parse_hub, read, rows, write, write_json
from ..mix.sources import benchmarks
from ..models.chain import copy_model
from ..models.entry import Endpoint
from ..models.trained_on import contaminated
from ..progress import progress
from ..rank import UnitTests
from ..recipe.sections import Programs
from ..recipe.stage import ALL, Context, Counts, Demand, File, Models
from ..schema import Problem, Response
from ..score.compare import Answer, answer_of, compare
from ..score.samples import own_id
from ..score.temperatures import best_per_k, key
from ..text.template import TemplateName, prompt_text, render
from ..train.checkpoints import PREFIX, step_of

VERSION = 5
RUNS_PROGRAMS = True
OUTPUTS = ("results.jsonl", "score.json", "model")
NO_ANSWER = "no_answer"
"""The reason in the row of a request that failed."""


class Config(Programs):
    """Score models on problems."""

    models: dict[Annotated[str, Field(pattern=r"^[\w.+-]+$")], Models] = Field(min_length=1)
    """Name in the results → model. `$stage/checkpoints/*` is every step that a training kept, as `name@step`."""
    problems: File
    """Problems with tests."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: question}`."""
    allow_trained: bool = False
    """Score problems too that stand word for word in what the models were trained on."""
    keep_best: bool = False
    """Leave the model with the highest pass@1 in `model/`, of equals the first; never on a benchmark."""
    template: TemplateName | None = None
    """Template of the final prompt text; by default the one that the stages below name, or `plain`."""
    prefix: dict[str, str] = {}
    """Name of a model → text before all its prompts, such as `{bloom: "</s>"}`: a special token is one token."""
    n: int = Field(default=1, gt=0)
    """Samples a problem, at each temperature."""
    temperature: float | list[float] = 0.0
    """0 is greedy. Of several the best one is taken for each k and model, as Codex and BLOOMZ report pass@k, which
    flatters; `score.json` has all. Samples are numbered through: the first `n` are the first one's."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=512, gt=0)
    """Longest answer."""
    min_new_tokens: int = Field(default=0, ge=0)
    """Before so many tokens nothing ends an answer: models tuned on short targets stop early."""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    """Strings that end an answer."""
    k: list[Annotated[int, Field(gt=0)]] = Field(default=[1], min_length=1)
    """The k of pass@k."""
    limit: int | None = Field(default=None, gt=0)
    """Score only so many problems."""
    offset: int = Field(default=0, ge=0)
    """Leave out the first problems."""
    batch_size: int = Field(default=256, gt=0)
    """Answers generated at once."""

    @field_validator("temperature")
    @classmethod
    def _temperatures_fit(cls, value: float | list[float]) -> float | list[float]:
        given = value if isinstance(value, list) else [value]
        if not given or min(given) < 0:
            raise ValueError("expected one or more numbers ≥ 0")
        if len(set(given)) < len(given):
            raise ValueError("one temperature stands twice: its samples would be the same")
        return value

    @model_validator(mode="after")
    def _k_fits(self) -> "Config":
        if max(self.k) > self.n:
            raise ValueError(f"k = {max(self.k)} needs n ≥ {max(self.k)} samples a problem, n is {self.n}")
        if self.n > 1 and 0 in self.temperatures:
            raise ValueError(f"n = {self.n} greedy samples are all the same: set a temperature, or n: 1")
        if self.min_new_tokens > self.max_new_tokens:
            raise bad_key("min_new_tokens", f"is over max_new_tokens {self.max_new_tokens}: no answer could end")
        return self

    @model_validator(mode="after")
    def _prefixes_have_models(self) -> "Config":
        for name in self.prefix:
            if name not in self.models:
                raise bad_key("prefix", f"no model {name!r}: {suggest(name, self.models)}")
        return self

    @model_validator(mode="after")
    def _servers_know_the_least(self, info: ValidationInfo) -> "Config":
        refuse_least(self.models, self.min_new_tokens, info)
        return self

    @property
    def temperatures(self) -> list[float]:
        """Those of the samples, in order."""
        return self.temperature if isinstance(self.temperature, list) else [self.temperature]

    @model_validator(mode="after")
    def _choice_is_fair(self, info: ValidationInfo) -> "Config":
        if not self.keep_best:
            return self
        if info.context is not None and info.context.is_benchmark(self.problems):
            raise bad_key("keep_best", f"a model chosen on the benchmark {self.problems!r} cannot be measured on it")
        for name, model in self.models.items():
            if not model.startswith("$"):
                raise bad_key("keep_best", f"the model {name!r} is no stage's: choose among $stage/… models")
        return self


def outputs(config: Config) -> tuple[str, ...]:
    """What this configuration leaves."""
    return OUTPUTS if config.keep_best else OUTPUTS[:2]


def demand(config: Config, rows: int) -> Demand:
    """What it asks at most."""
    count = len(range(rows)[config.offset :][: config.limit]) * config.n * len(config.temperatures)
    named = Counter(config.models.values())
    return Demand({model: (times * count, config.max_new_tokens) for model, times in named.items()}, leaves=0)


def run(config: Config, context: Context) -> Counts:
    """Read problems; write one result a sample and the summary."""
    problems = read(config.problems, Problem, config.columns)[config.offset :][: config.limit]
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem after {config.offset}")
    if untested := [own_id(problem) for problem in problems if not problem.tests]:
        # before any answer is paid
        told = f"{len(untested)} of {len(problems)} problems have no tests ({untested[0]}, …)"
        raise StageError(f"stages.{context.name}.problems: {told}: add them (a tests stage does), or leave them out")
    config = config.model_copy(update={"template": asked_by(config, context)})
    if not config.allow_trained:
        refuse_trained(config, context, problems)
    answers: dict[str, list[Answer]] = {}
    models, steps = spelt_out(config.models, context)
    warnings = warn_of_contamination(config, context, models, problems)
    for name, model in models.items():
        answers[name] = judge(config, context, name, problems, sample(config, context, name, model, problems))
    write(context.out / "results.jsonl", (row for rows in answers.values() for row in rows))
    score = measured(config, answers)
    score["steps"] = steps
    found: Counts = {"problems": len(problems)}
    if warnings:
        score["warnings"] = warnings
        found["warnings"] = len(warnings)
    if lacking := sum(row.reason == NO_ANSWER for rows in answers.values() for row in rows):
        found["unanswered"] = lacking
    if config.keep_best:
        # max takes the first of equals
        score["best"] = found["best"] = max(models, key=lambda name: score["models"][name]["pass@1"])
        copy_model(Path(models[score["best"]]), context.out / "model")
    write_json(context.out / "score.json", score)
    return found | {name: summary["pass@1"] for name, summary in score["models"].items()}


def measured(config: Config, answers: dict[str, list[Answer]]) -> dict[str, Any]:
    """The figures of all models; of several temperatures each k's best."""
    most = max(config.k)
    if not isinstance(config.temperature, list):
        own = {name: answered(rows, most) for name, rows in answers.items()}
        return compare(own, config.k, n=config.n, sampling=sampling(config, config.temperature))
    by_temperature = {
        key(name, temperature): answered([row for row in rows if row.sample_index // config.n == place], most)
        for name, rows in answers.items()
        for place, temperature in enumerate(config.temperature)
    }
    compared = compare(by_temperature, config.k, n=config.n, sampling=sampling(config, config.temperature[0]))
    return best_per_k(compared, list(answers), config.temperature)


def warn_of_contamination(
    config: Config, context: Context, models: dict[str, str], problems: list[Problem]
) -> list[str]:
    """A line, also on stderr, for each model that was trained on a benchmark which the problems are of."""
    folder = Path(config.problems)
    if config.problems.startswith(HUB):
        names = {parse_hub(config.problems)[0]}
    else:
        # the folder's name says something of rows that do not tell where they come from
        names = set() if all(problem.source for problem in problems) else {folder.parent.name}
    names |= {folder.name.partition(".")[0]}
    for problem in problems:
        names |= {problem.source, problem.id, str((problem.meta or {}).get("task_id", ""))}
    return warn_of(names, context, models)


def warn_of(names: set[str], context: Context, models: dict[str, str]) -> list[str]:
    """A line, also on stderr, for each model that was trained on one of the benchmarks that the names are of."""
    held = benchmarks(names)
    # all steps of a training have one history
    entries = {name.partition("@")[0]: model for name, model in models.items()} if held else {}
    lines = contaminated({name: context.model(model) for name, model in entries.items()}, held, context.name)
    for line in lines:
        print(f"align: warning: {line}", file=sys.stderr)
    return lines


def refuse_least(models: dict[str, str], least: int, info: ValidationInfo, key: str = "min_new_tokens") -> None:
    """Refuse, in a validator, a least length that a model's server is not said to know."""
    for model in models.values():
        entry = getattr(info.context, "models", {}).get(model)
        if isinstance(entry, Endpoint):
            try:
                check_least(entry, f"models.{model}", least)
            except ConfigError as error:
                raise bad_key(key, str(error)) from None


def spelt_out(models: dict[str, str], context: Context) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """The models with each `…/checkpoints/*` as `name@step` in order; and of each such name, model → step.

    Raises:
        StageError: a folder holds no step.
    """
    found: dict[str, str] = {}
    steps: dict[str, dict[str, int]] = defaultdict(dict)
    for name, model in models.items():
        if not model.endswith(ALL):
            found[name] = model
            continue
        for folder in sorted(Path(model).parent.glob(f"{PREFIX}*"), key=step_of):
            found[f"{name}@{step_of(folder)}"] = str(folder)
            steps[name][f"{name}@{step_of(folder)}"] = step_of(folder)
        if name not in steps:
            raise StageError(f"stages.{context.name}.models.{name}: no step in {model}: name `$stage/checkpoints/*`")
    return found, dict(steps)


def asked_by(config: Config, context: Context) -> str:
    """The template: a model is measured in the form that it was trained on, unless another one is given.

    Raises:
        StageError: the stages below name several.
    """
    if config.template is None and len(context.templates) > 1:
        told = ", ".join(context.templates)
        raise StageError(f"stages.{context.name}.template: the stages below use several ({told}): name one of them")
    return config.template or next(iter(context.templates), "plain")


def prompt(config: Config, problem: Problem, name: str = "") -> str:
    """What the model of a name is asked, once the template is decided."""
    assert config.template is not None
    return config.prefix.get(name.partition("@")[0], "") + render(config.template, problem)


def refuse_trained(config: Config, context: Context, problems: list[Problem]) -> None:
    """Refuse problems whose prompt, in any template used, is that of a row which a stage below trained on.

    White space does not matter; signs do, which tell one problem from another.

    Raises:
        StageError: with the first such row.
    """
    known, found, first = {}, set(), ""
    for problem in problems:
        asked = [render(name, problem) for name in context.templates]
        for text in (prompt_text(problem), prompt(config, problem), *asked):
            known[" ".join(text.split())] = problem.id
    for name, trained in context.trained_on.items():
        column = (trained.columns or {}).get("prompt", "prompt")  # type: ignore[attr-defined]
        for where, row in rows(trained.data):  # type: ignore[attr-defined]
            hit = known.get(" ".join(str(row.get(column)).split()))
            if hit is not None:
                found.add(hit)
                first = first or f"{name} was trained on {where}"
    if found:
        raise StageError(
            f"stages.{context.name}.problems: {len(found)} of {len(problems)} problems are trained on ({first}): "
            "leave them out of the training or of the score, or write allow_trained: true"
        )


def sampling(config: Config, temperature: float) -> Sampling:
    """How answers are drawn."""
    return Sampling(
        temperature=temperature,
        top_p=config.top_p,
        max_new_tokens=config.max_new_tokens,
        min_new_tokens=config.min_new_tokens,
        stop=config.stop,
    )


def sample(config: Config, context: Context, name: str, model: str, problems: list[Problem]) -> list[Reply]:
    """The answers, temperature × problem × sample."""
    requests = [
        Request(
            prompt=prompt(config, problem, name),
            sampling=sampling(config, temperature),
            seed=derive_seed("score", context.seed, index, problem.id),
            purpose="solve",
        )
        for temperature in config.temperatures
        for problem in problems
        for index in range(config.n)
    ]
    model_generator = context.generator(model, config.batch_size)
    return answer(model_generator, requests, context.out / f".replies-{name}.jsonl", f"{context.name}: {name}")


def judge(config: Config, context: Context, name: str, problems: list[Problem], replies: list[Reply]) -> list[Answer]:
    """Run every answer's program on its problem's tests; where the model gave none there is no verdict."""
    asked = [
        (problem, first * config.n + index)
        for first in range(len(config.temperatures))
        for problem in problems
        for index in range(config.n)
    ]
    responses = [
        Response(
            problem_id=problem.id,
            sample_index=index,
            model=name,
            text=reply.text,
            code=extract_code(reply.text, prompt=prompt_text(problem), entry_point=problem.entry_point),
            finish=reply.finish,
        )
        for (problem, index), reply in zip(asked, replies, strict=True)
    ]
    given = [response for response in responses if response.finish != "error"]
    cache, profile = context.out / f".executions-{name}.sqlite", config.profile.made() if config.profile else None
    tests = UnitTests(config.workers, config.isolation, config.timeout, cache, profile=profile)
    found = {}
    with progress(f"{context.name}: run {name}", len(given)) as bar:
        for response, verdict in zip(given, tests.judge(problems, given), strict=True):
            found[response.problem_id, response.sample_index] = answer_of(response, verdict)
            bar.advance()
    return [found.get((one.problem_id, one.sample_index)) or unanswered(one) for one in responses]


def unanswered(response: Response) -> Answer:
    """The row of a request that failed: an endpoint's fault, which no model is charged with."""
    return Answer(
        model=response.model,
        problem_id=response.problem_id,
        sample_index=response.sample_index,
        code=None,
        passed=False,
        outcome="infra_error",
        reason=NO_ANSWER,
        tests_passed=0,
        tests_total=0,
        isolation="none",
    )


def answered(answers: list[Answer], k: int) -> list[Answer]:
    """The rows that are measured: those without an answer are left out where a problem has `k` others.

    Where it has not, they stay, and the problem is left out for all models, as one that cannot be judged.
    """
    others = Counter(row.problem_id for row in answers if row.reason != NO_ANSWER)
    return [row for row in answers if row.reason != NO_ANSWER or others[row.problem_id] < k]
