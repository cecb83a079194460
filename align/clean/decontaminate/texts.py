"""Benchmarks' texts and programs, indexed so that one row is compared with all of them in time linear in its length.

`Runs` finds what stands in a row word for word (BigCode's exact substring), or a run of n tokens of it (GPT-3's
n-grams); `Shingles` finds what resembles it. Knows neither problems nor rows: sequences of tokens only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ...text.similarity import Ngram, ngrams

FREQUENT = 40
"""A shingle that so many texts have brings none of them up for comparison."""


class Whole:
    """Sequences that are found where they stand whole in another, one beginning at one place."""

    def __init__(self, sequences: Iterable[tuple[int, Sequence[str]]], anchor: int) -> None:
        self._anchor = anchor
        self._found: dict[Ngram, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
        for number, sequence in sequences:
            if len(sequence) >= anchor:
                self._found[tuple(sequence[:anchor])].append((number, tuple(sequence)))

    def find(self, tokens: Sequence[str]) -> tuple[int, tuple[str, ...]] | None:
        """The first of the sequences that stands in the tokens, with its number."""
        for start in range(len(tokens) - self._anchor + 1):
            for number, whole in self._found.get(tuple(tokens[start : start + self._anchor]), ()):
                if tuple(tokens[start : start + len(whole)]) == whole:
                    return number, whole
        return None


class Runs:
    """Runs of n tokens; a sequence that is shorter is one run, compared with sequences of its own length."""

    def __init__(self, sequences: Iterable[tuple[int, Sequence[str]]], n: int) -> None:
        self._n = n
        self._known: dict[Ngram, int] = {}
        for number, sequence in sequences:
            for gram in ngrams(sequence, n):
                self._known.setdefault(gram, number)

    def find(self, tokens: Sequence[str]) -> tuple[int, Ngram] | None:
        """The first run that the tokens share, with the number of the sequence that has it."""
        for gram in ngrams(tokens, self._n):
            if gram in self._known:
                return self._known[gram], gram
        return None


class Shingles:
    """Sets of n-grams, compared by their exact Jaccard similarity with those that share an infrequent one."""

    def __init__(self, sequences: Iterable[tuple[int, Sequence[str]]], n: int, threshold: float) -> None:
        self._n, self._threshold = n, threshold
        self._sizes: dict[int, int] = {}
        postings: dict[Ngram, list[int]] = defaultdict(list)
        for number, sequence in sequences:
            grams = set(ngrams(sequence, n))
            self._sizes[number] = len(grams)
            for gram in grams:
                postings[gram].append(number)
        self._postings = dict(postings)

    def find(self, tokens: Sequence[str]) -> tuple[int, float] | None:
        """The most similar sequence, with the similarity, where it reaches the threshold; the first among equals."""
        grams = set(ngrams(tokens, self._n))
        held = [numbers for gram in grams if (numbers := self._postings.get(gram))]
        candidates = {number for numbers in held if len(numbers) <= FREQUENT for number in numbers}
        if not candidates:
            return None
        shared = Counter(number for numbers in held for number in numbers if number in candidates)
        similarity = {number: count / (len(grams) + self._sizes[number] - count) for number, count in shared.items()}
        best = min(similarity, key=lambda number: (-similarity[number], number))
        return (best, similarity[best]) if similarity[best] >= self._threshold else None
