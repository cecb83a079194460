"""Drop problems that share a run of words with a benchmark's, so that no measured problem is trained on.

Compares texts only: a paraphrase passes (running its programs on the benchmark's tests would find it). A text
shorter than the run is compared whole.
"""

from collections.abc import Iterable, Sequence

from ..schema import Problem, Rejected
from ..text.similarity import index, overlap
from ..text.template import prompt_text

NGRAM = 13
"""Words in a run, as for GPT-3 (arXiv 2005.14165). Problems that merely resemble each other share ten: of 12,000
problems of the offline family 45 % share ten words with its 1,000 held-out ones, 12 % share thirteen."""


def decontaminate(
    problems: Iterable[Problem], benchmarks: Iterable[tuple[str, Sequence[Problem]]], ngram: int = NGRAM
) -> tuple[list[Problem], list[Rejected]]:
    """The problems that share no run of `ngram` words with a benchmark, and the others with what they hit.

    Args:
        problems: to be cleaned.
        benchmarks: names, each with the problems that must not be trained on.
        ngram: words in a run.

    Raises:
        DataError: a prompt is a chat of several turns.
    """
    known = index(
        ((f"{name} {_label(problem)}", prompt_text(problem)) for name, held in benchmarks for problem in held),
        ngram,
    )
    kept: list[Problem] = []
    rejected: list[Rejected] = []
    for problem in problems:
        hit = overlap(prompt_text(problem), known, ngram)
        if hit is None:
            kept.append(problem)
        else:
            detail = f"{hit[0]}: {hit[1]}"
            rejected.append(Rejected(reason="contaminated", detail=detail, record=problem.model_dump()))
    return kept, rejected


def _label(problem: Problem) -> str:
    return str(problem.meta.get("task_id") or problem.meta.get("id") or problem.id)
