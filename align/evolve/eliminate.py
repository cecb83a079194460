"""Tell evolutions that failed, and why: Evol-Instruct's elimination rules.

They are those of WizardLM (arXiv 2304.12244) and WizardCoder (arXiv 2306.08568).

Whether a text asks for more than its parent is left to a judge; here it only must not be the same text.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..generate.request import Reply
from ..text.similarity import normalise, words

REFUSAL_WORDS = 80
"""A refusal is shorter than this."""
_REFUSAL = re.compile(
    r"\b(sorry|i (?:can ?not|can't|am unable|'m unable)|as an ai|as a language model)\b", re.IGNORECASE
)
_PROMPT_WORDING = (
    "given problem",
    "given prompt",
    "new problem:",
    "the new problem is",
    "rewritten problem",
    "rewritten prompt",
    "evolved problem",
    "more demanding one",
    "design problems for a programming contest",
)
_STOP_WORDS = frozenset(
    words("a an and are as at be by for from in is it its of on or so that the then this to was with you your")
)


@dataclass(frozen=True)
class Fault:
    """Why an evolution failed."""

    reason: str
    detail: str | None = None


def find_fault(
    reply: Reply, *, parent: str, method: str, known: Collection[str], max_words: int | None = None
) -> Fault | None:
    """The first rule that an evolution breaks; None where it breaks none.

    Args:
        reply: the model's answer: the new problem.
        parent: text of the problem it was made from.
        method: what the model was told to do.
        known: normal forms (`text.similarity.normalise`) of the problems that exist.
        max_words: longest new problem.
    """
    text = reply.text.strip()
    found = words(text)
    if reply.finish != "stop":
        return Fault("cut_off" if reply.finish == "length" else "no_answer")
    if len(found) < REFUSAL_WORDS and (refusal := _REFUSAL.search(text)):
        return Fault("refusal", refusal[0])
    if not set(found) - _STOP_WORDS:
        return Fault("empty", text[:80])
    if copied := _copied(text, parent, method):
        return Fault("copies_prompt", copied)
    if max_words is not None and len(found) > max_words:
        return Fault("too_long", f"{len(found)} words, at most {max_words}")
    if normalise(text) == normalise(parent):
        return Fault("unchanged")
    if normalise(text) in known:
        return Fault("duplicate")
    return None


def _copied(text: str, parent: str, method: str) -> str | None:
    """Wording of the prompt that came back in the answer and was not in the problem before."""
    lowered, before = text.casefold(), parent.casefold()
    phrases = (*_PROMPT_WORDING, method.casefold())
    return next((phrase for phrase in phrases if phrase in lowered and phrase not in before), None)
