"""What the offline stand-in makes of problems outside of its family: one more sentence, by rule.

It stands in for a model, so that rounds, lineage and elimination can be run on anybody's problems. It reads nothing,
and the result is no better a problem. At its error rate it answers as a model that failed would.
"""

from collections.abc import Callable
from random import Random

SENTENCES: dict[str, tuple[str, ...]] = {
    "add_constraint": (
        "An empty input gives an empty result.",
        "Negative numbers in the input are left out of account.",
        "Equal items count once, in the order of their first appearance.",
        "The input must not be changed.",
    ),
    "rarer_requirement": (
        "Order the result from the largest to the smallest, and equal ones by their names.",
        "Give the result together with the number of items that were looked at.",
        "Letters with accents count as the plain ones.",
    ),
    "more_steps": (
        "Before that, drop every second item, and give the median of what is left as well.",
        "Then apply the same to the result, until it no longer changes.",
        "Do it for each group of items with the same first letter, and combine the groups at the end.",
    ),
    "misleading_code": (
        "The line `return sorted(items)[0]` was proposed for it, and is wrong for an empty input.",
        "Somebody wrote `for i in range(1, n): total += i` for it, which leaves the last number out.",
    ),
    "higher_complexity": (
        "It has to work for a million items in a second.",
        "No more memory may be used than for ten items at a time.",
    ),
}
"""Operator → sentences that it adds."""
FAULTS: tuple[Callable[[str], str], ...] = (
    lambda text: "I'm sorry, but I can't help with that request.",
    lambda text: f"The rewritten problem: {text}",
    lambda text: text,
    lambda text: "...",
    lambda text: "```python\ndef solve(items):\n    return sorted(items)\n```",
)
"""Answers of a model that failed: a refusal, the prompt's own words, no change, nothing, a solution."""


def evolve(text: str, operator: str, random: Random, error_rate: float) -> str:
    """The problem with a sentence more, or at the error rate what a failed evolution looks like."""
    if random.random() < error_rate:
        return random.choice(FAULTS)(text)
    return f"{text.rstrip()} {random.choice(SENTENCES[operator])}"
