"""Drop problems that say the same as an earlier one, layout and case aside. Near-duplicates are not found here."""

from collections.abc import Iterable

from ..schema import Problem, Rejected
from ..text.similarity import normalise
from ..text.template import prompt_text


def drop_duplicates(problems: Iterable[Problem]) -> tuple[list[Problem], list[Rejected]]:
    """The first problem of each normalised text, and the others with the id of the one they repeat.

    Raises:
        DataError: a prompt is a chat of several turns.
    """
    first: dict[str, Problem] = {}
    rejected: list[Rejected] = []
    for problem in problems:
        kept = first.setdefault(normalise(prompt_text(problem)), problem)
        if kept is not problem:
            rejected.append(Rejected(reason="duplicate", detail=f"of {kept.id}", record=problem.model_dump()))
    return list(first.values()), rejected
