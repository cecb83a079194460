"""How alike two texts are, by words: normalisation, n-grams, overlap, Jaccard. Torch-free.

Does not find near-duplicates in large sets (`align.clean.near`), and knows nothing of problems.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|!=|[-+*/%<>=&|^~@$\\\[\]{}]")
_STEP = 0x9E3779B97F4A7C15
"""An odd number whose powers tell the places of a run's tokens apart."""

Ngram = tuple[str, ...]
Shingles = NDArray[np.uint32]
"""The set of a text's n-grams, each as a hash of 32 bits, sorted."""


def words(text: str) -> list[str]:
    """The words of a text, in lower case, without punctuation: Unicode forms (NFKC) and layout do not matter."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(text: str) -> str:
    """The words joined by single spaces; a text without words is its own normal form, without outer space."""
    return " ".join(words(text)) or text.strip()


def tokens(text: str) -> list[str]:
    """Words like `words`, and operators and brackets: `a + b` and `a - b` ask for different programs."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


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


def shingles(tokens: Sequence[str], n: int, salt: str = "") -> Shingles:
    """The set of n-grams of a text's tokens; one for the whole text where it is shorter, none where it is empty.

    Args:
        tokens: of the text.
        n: tokens in a run.
        salt: texts with different ones share nothing.
    """
    if not tokens:
        return np.empty(0, np.uint32)
    start = zlib.crc32(salt.encode("utf-8", "surrogatepass"))
    crc = (zlib.crc32(token.encode("utf-8", "surrogatepass"), start) for token in tokens)
    hashes = np.fromiter(crc, np.uint64, len(tokens))
    n = min(n, len(hashes))
    runs = np.zeros(len(hashes) - n + 1, np.uint64)
    for place in range(n):
        runs = runs * np.uint64(_STEP) + hashes[place : place + len(runs)]
    return np.unique((mix(runs) >> np.uint64(32)).astype(np.uint32))


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread 64-bit numbers evenly: the finaliser of splitmix64, a bijection."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def jaccard(first: Shingles, second: Shingles) -> float:
    """Shared share of two sets, |A ∩ B| / |A ∪ B|; 0 where both are empty."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - shared
    return shared / union if union else 0.0
