"""Problems that exist, to tell a new one that is the same in other words. Exact and near; nothing is compared pairwise.

Two texts are near where they have the same content words, as often, and in about the same order: ROUGE-L of these
words decides. Self-Instruct (arXiv 2212.10560) drops what has a ROUGE-L above 0.7 with any other text; but an evolution
keeps most of its parent on purpose, so that overlap by itself says nothing: a number, a sign or a word that came or
went makes it another problem.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .wording import rouge_l, tokens

_FILLER = """
a an the this that these those which who of to in on at for so then it its is are be will shall should must please
kindly can could would you your me i we us need want write create implement develop design make build given give takes
take using use following below also just new function python program code problem task
て に を は の が で と も から まで です ます
"""
FILLER = frozenset(_FILLER.split())
"""Words that say nothing about what a problem asks."""


class Near(NamedTuple):
    """A known problem that says the same."""

    text: str
    rouge_l: float


class Known:
    """The texts seen so far.

    Args:
        texts: those that exist.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._exact: set[str] = set()
        self._alike: dict[tuple[str, ...], list[str]] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """A text that exists from now on."""
        form = same_form(text)
        if form not in self._exact:
            self._exact.add(form)
            self._alike.setdefault(tuple(sorted(_content(text))), []).append(text)

    def has(self, text: str) -> bool:
        """Whether a text with the same words in the same order exists."""
        return same_form(text) in self._exact

    def near(self, text: str, least: float) -> Near | None:
        """The nearest text with the same content words, where its ROUGE-L is at least `least`."""
        own = _content(text)
        found = [Near(other, rouge_l(own, _content(other))) for other in self._alike.get(tuple(sorted(own)), ())]
        best = max(found, key=lambda near: near.rouge_l, default=None)
        return best if best is not None and best.rouge_l >= least else None


def same_form(text: str) -> str:
    """What texts have in common that differ in case, layout and punctuation alone."""
    return " ".join(tokens(text)) or text.strip()


def _content(text: str) -> list[str]:
    return [word for word in tokens(text) if word not in FILLER]
