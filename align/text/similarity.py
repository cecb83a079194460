"""How alike two texts are, by words: normalisation, n-grams, overlap. Torch-free.

Does not find near-duplicates in large sets (MinHash), and knows nothing of problems.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

_WORD = re.compile(r"\w+")

Ngram = tuple[str, ...]


def words(text: str) -> list[str]:
    """The words of a text, in lower case, without punctuation: Unicode forms (NFKC) and layout do not matter."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(text: str) -> str:
    """The words joined by single spaces; a text without words is its own normal form, without outer space."""
    return " ".join(words(text)) or text.strip()


def ngrams(tokens: Sequence[str], n: int) -> Iterator[Ngram]:
    """All runs of `n` tokens; the whole sequence where it is shorter, nothing where it is empty."""
    if 0 < len(tokens) < n:
        yield tuple(tokens)
    for start in range(len(tokens) - n + 1):
        yield tuple(tokens[start : start + n])


def index(texts: Iterable[tuple[str, str]], n: int) -> dict[Ngram, str]:
    """n-gram → name of the first of the `(name, text)` that has it."""
    found: dict[Ngram, str] = {}
    for name, text in texts:
        for gram in ngrams(words(text), n):
            found.setdefault(gram, name)
    return found


def overlap(text: str, known: Mapping[Ngram, str], n: int) -> tuple[str, str] | None:
    """(name, shared words) of the first n-gram that the text shares with an `index`; None where it shares none.

    A text shorter than `n` words is compared whole: with indexed texts of the same length.
    """
    for gram in ngrams(words(text), n):
        if gram in known:
            return known[gram], " ".join(gram)
    return None
