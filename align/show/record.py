"""Show a kind of record: its fields, and the stages in whose files it is found."""

from ..recipe.recipe import kinds
from ..schema import (
    MultitaskRow,
    PreferencePair,
    Problem,
    RankedGroup,
    Ranking,
    Record,
    Rejected,
    Response,
    SftRow,
    Verdict,
)
from ..score.compare import Answer
from ..score.multitask import ChoiceResult, TextResult
from .keys import first_words, section_rows, show_keys
from .kind import outputs_of

RECORDS: dict[str, type[Record]] = {
    "problem": Problem,
    "response": Response,
    "verdict": Verdict,
    "ranking": Ranking,
    "group": RankedGroup,
    "pair": PreferencePair,
    "sft-row": SftRow,
    "multitask-row": MultitaskRow,
    "rejected": Rejected,
    "result": Answer,
    "choice-result": ChoiceResult,
    "text-result": TextResult,
}
"""Name → class."""
FILES = {
    "problems.jsonl": "problem",
    "responses.jsonl": "response",
    "verdicts.jsonl": "verdict",
    "rankings.jsonl": "ranking",
    "groups.jsonl": "group",
    "pairs.jsonl": "pair",
    "sft.jsonl": "sft-row",
    "rows.jsonl": "multitask-row",
    "validation.jsonl": "multitask-row",
    "rejected.jsonl": "rejected",
    "results.jsonl": "result",
}
"""File that a stage leaves → the records in it."""
OF_KIND = {("evaluate", "results.jsonl"): ("choice-result", "text-result")}
"""Kind and file whose records are others than `FILES` says."""


def held_in(file: str, kind: str) -> str:
    """The records in a file of a stage kind."""
    return ", ".join(OF_KIND.get((kind, file), (FILES.get(file, ""),)))


def show_record(name: str) -> None:
    """What the record is, where it is found, and its fields."""
    found = []
    for file in FILES:
        leaving = [kind for kind in kinds() if file in outputs_of(kind) and name in held_in(file, kind).split(", ")]
        if leaving:
            found.append(f"{file} of {', '.join(leaving)}")
    print(f"{name}: {first_words(RECORDS[name])}")
    print(f"found in {'; '.join(found)}\n")
    show_keys(section_rows(RECORDS[name]), "field")
