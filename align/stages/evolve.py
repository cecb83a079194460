"""Make harder problems from simple ones with a model, by Evol-Instruct's in-depth heuristics."""

from collections import Counter
from random import Random

from pydantic import Field

from ..config import Section
from ..errors import StageError
from ..evolve import OPERATORS, evolve
from ..evolve.operators import OperatorName
from ..evolve.rounds import Pool
from ..generate import Reply, Request, Sampling, generator
from ..generate.answer import answer
from ..io import read, write
from ..recipe.stage import Context, Counts, File, Model
from ..schema import Problem

VERSION = 1
OUTPUTS = ("problems.jsonl", "rejected.jsonl")


class Config(Section):
    """Evolve problems; see `align.evolve.evolve`."""

    problems: File
    """Problems to start from; they are kept among the results."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    model: Model
    """The model that evolves."""
    rounds: int = Field(default=3, gt=0)
    """Rounds of evolution."""
    children: int = Field(default=1, gt=0)
    """Evolutions of a problem in a round."""
    pool: Pool = "latest"
    """What a round evolves: `latest` children and the parents of failed ones, or `all` problems so far."""
    operators: list[OperatorName] = Field(default=list(OPERATORS), min_length=1)
    """The heuristics drawn from."""
    max_words: int | None = Field(default=None, gt=0)
    """Longest new problem, in words."""
    limit: int | None = Field(default=None, gt=0)
    """Most problems kept, drawn at random over seeds and rounds."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=2048, gt=0)
    """Longest reply, in tokens."""
    batch_size: int = Field(default=256, gt=0)
    """Replies generated at once by weights run here."""


def run(config: Config, context: Context) -> Counts:
    """Read problems; write the seeds and what evolved from them, in random order, and the failed evolutions."""
    seeds = read(config.problems, Problem, config.columns)
    if not seeds:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem to evolve")
    model = generator(context.model(config.model), batch_size=config.batch_size)

    def ask_all(requests: list[Request], number: int) -> list[Reply]:
        journal = context.out / f".round-{number}.jsonl"
        return answer(model, requests, journal, f"{context.name}: round {number} of {config.rounds}")

    evolved = evolve(
        seeds,
        ask_all,
        rounds=config.rounds,
        children=config.children,
        pool=config.pool,
        operators=config.operators,
        max_words=config.max_words,
        sampling=Sampling(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens),
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
