"""Show a kind of record: its fields, and the stages in whose files it is found."""

from ..recipe.recipe import kinds
from ..schema import PreferencePair, Problem, RankedGroup, Ranking, Record, Rejected, Response, SftRow, Verdict
from ..score.compare import Answer
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
    "rejected": Rejected,
    "result": Answer,
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
    "rejected.jsonl": "rejected",
    "results.jsonl": "result",
}
"""File that a stage leaves → the records in it."""


def show_record(name: str) -> None:
    """What the record is, where it is found, and its fields."""
    found = [
        f"{file} of {', '.join(kind for kind in kinds() if file in outputs_of(kind))}"
        for file, held in FILES.items()
        if held == name
    ]
    print(f"{name}: {first_words(RECORDS[name])}")
    print(f"found in {'; '.join(found)}\n")
    show_keys(section_rows(RECORDS[name]), "field")
