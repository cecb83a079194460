"""The in-depth heuristics of Evol-Instruct for code (WizardCoder, arXiv 2306.08568), and COTTON's plans as one more.

What each tells a model is a template of its own under `generate/templates/`, in words of ours; so is the prompt
around it, of which there are two styles. In-breadth evolution is left out, as in PanGu-Coder2 (arXiv 2307.14936).
"""

from typing import Literal

from ..generate.ask import Prompts, derive_seed
from ..generate.request import Request, Sampling

OperatorName = Literal[
    "add_constraint", "rarer_requirement", "more_steps", "misleading_code", "higher_complexity", "plan"
]
Style = Literal["pangu-coder2", "wizardcoder"]

OPERATORS: tuple[OperatorName, ...] = (
    "add_constraint",
    "rarer_requirement",
    "more_steps",
    "misleading_code",
    "higher_complexity",
)
"""The heuristics."""
STYLES: dict[Style, str] = {"pangu-coder2": "evolve", "wizardcoder": "evolve_wizardcoder"}
"""Style → the template around a heuristic: a contest designer's brief with rules, or a plain demand."""
PROMPTS = (*STYLES.values(), *OPERATORS, "compare", "plan", "solve")
"""Templates that an evolution may ask by."""


def request_evolution(
    problem: str, operator: OperatorName, style: Style, prompts: Prompts, sampling: Sampling, seed: int
) -> Request:
    """The request to evolve a problem by a heuristic."""
    method = prompts.text(operator, {"problem": problem}).strip()
    fields = {"problem": problem, "operator": operator, "method": method}
    return prompts.ask(STYLES[style], fields, sampling, seed)


def request_plan(
    problem: str, entry_point: str | None, signature: str | None, prompts: Prompts, sampling: Sampling, seed: int
) -> Request:
    """The request for the steps of a solution."""
    fields = {"problem": problem, "entry_point": entry_point or "", "signature": signature or ""}
    return prompts.ask("plan", fields, sampling, seed)


def derive(seed: int, number: int, child: int, parent: str) -> int:
    """Seed of one attempt: it depends on the run's seed, the round, the child's number and the parent's id alone."""
    return derive_seed("evolve", seed, number, child, parent)
