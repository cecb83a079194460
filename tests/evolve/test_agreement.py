"""The eliminator on the rows that another implementation kept and dropped: Evol-Instruct-jp, in Japanese.

All that it dropped, a model had called equal to the parent (`type` 1). Rules of wording see none of these: for that
rule a judge is needed here too.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from align.evolve.compare import judged
from align.evolve.eliminate import Case, Fault, Rules, ended_badly, find_fault
from align.evolve.known import Known
from align.evolve.wording import rouge_l, tokens
from align.generate.request import Reply

GENERATIONS = ("gen_1", "gen_2", "gen_3", "gen_4")
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def kept(shared: Path) -> Rows:
    return load(shared / "data/instruct/test_generated.json")


@pytest.fixture
def dropped(shared: Path) -> Rows:
    return load(shared / "data/instruct/test_eliminated.json")


def load(path: Path) -> Rows:
    if not path.exists():
        pytest.skip(f"ALIGN_TEST_DATA: no {path.name}")
    found: Rows = json.loads(path.read_text())
    return found


def parent(row: dict[str, Any], kept: Rows) -> str:
    """The text that a row was made from: of the same seed and history; the most alike where several are."""
    before = row["evol_history"][:-1]
    rows = kept[f"gen_{row['generation'] - 1}"]
    found = [one for one in rows if one["id"] == row["id"] and one.get("evol_history", []) == before]
    return str(
        max((one["instruction"] for one in found), key=lambda text: rouge_l(tokens(text), tokens(row["instruction"])))
    )


def fault(row: dict[str, Any], kept: Rows) -> Fault | None:
    before, text = parent(row, kept).strip(), row["instruction"].strip()
    return find_fault(Reply(text=text), Case(text, before, ""), Known([before]), Rules(task="any"))


def test_agreement_with_another_eliminator(kept: Rows, dropped: Rows) -> None:
    ours = Counter(
        (name, found.reason if (found := fault(row, kept)) else "kept")
        for name, rows in (("kept", kept), ("dropped", dropped))
        for generation in GENERATIONS
        for row in rows[generation]
    )
    assert ours == {("kept", "kept"): 66, ("kept", "too_long"): 2, ("dropped", "kept"): 21}
    assert {row["type"] for generation in GENERATIONS for row in dropped[generation]} == {1}


def test_with_its_judges_word_what_it_dropped_is_dropped(dropped: Rows) -> None:
    for generation in GENERATIONS:
        for row in dropped[generation]:
            found = judged(Reply(text="Equal" if row["type"] == 1 else "Not Equal"))
            assert found
            assert found.reason == "no_gain"


def test_its_answers_are_answers(kept: Rows) -> None:
    answers = [row["output"] for row in kept["gen_4"]]
    assert len(answers) == 9
    assert [ended_badly(Reply(text=answer)) for answer in answers] == [None] * 9
