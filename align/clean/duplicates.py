"""Find problems that say the same as an earlier one, layout and case aside. Near-duplicates are `align.clean.near`.

Words and operators count, other punctuation does not. The prompts are compared, or the references, or both: the
same code often answers different tasks, and the same task may have many answers.
"""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..schema import Problem
from ..text.similarity import tokens
from ..text.template import prompt_text

Compared = Literal["prompt", "reference", "both"]
"""What must be alike for a problem to be a duplicate; with `both`, the two together."""

Keys = NDArray[np.uint64]
"""One row of two numbers a text: 128 bits of a hash."""


def compared_tokens(problem: Problem, compare: Compared) -> list[str]:
    """The tokens that are compared; none where there is nothing to compare, so that the problem stays.

    Raises:
        DataError: a prompt is a chat of several turns.
    """
    if compare == "prompt":
        text = prompt_text(problem)
        # a prompt of signs alone is still a text
        return tokens(text) or text.split()
    reference = tokens(problem.reference or "")
    if compare == "reference" or not reference:
        return reference
    return [*tokens(prompt_text(problem)), "\n", *reference]


def key(found: list[str], language: str) -> bytes:
    """16 bytes that are the same for the same tokens in the same programming language."""
    text = " ".join([language, *found])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def first_of_equal(keys: Keys) -> NDArray[np.int64]:
    """For each row the index of the first row with the same key, itself included.

    Sorts instead of building a table: 40 bytes a row.
    """
    if not len(keys):
        return np.empty(0, np.int64)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    opens = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    found = np.empty(len(keys), np.int64)
    # lexsort is stable: the first of a run has the lowest index
    found[order] = order[opens][np.cumsum(opens) - 1]
    return found
