"""Find rows that hold a benchmark's problem, so that no measured problem is trained on.

`Decontaminator.check` compares texts and programs, one row at a time; `Decontaminator.by_execution` runs rows' programs
on the benchmarks' tests, which finds paraphrases. What to do with a row that is found is the caller's.
"""

from .decontaminator import DEFAULT, NGRAM, Decontaminator
from .execution import Examined
from .hit import METHODS, Hit, Method

__all__ = ["DEFAULT", "METHODS", "NGRAM", "Decontaminator", "Examined", "Hit", "Method"]
