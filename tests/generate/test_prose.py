"""Evolving problems that the stand-in cannot read."""

from pathlib import Path
from random import Random

from align.evolve import Rules
from align.evolve.eliminate import Case, find_fault
from align.evolve.known import Known
from align.generate import Prompts, Reply, Sampling
from align.generate.offline import MOVES, OfflineGenerator
from align.generate.prose import FAULTS, SENTENCES, evolve
from align.models.entry import Offline

OFFLINE = Path(__file__).parents[2] / "data" / "offline"
PROBLEM = "Write a function that returns the largest product of two neighbours in a list of numbers."


def test_every_operator_has_sentences() -> None:
    assert SENTENCES.keys() == MOVES.keys()


def test_each_failure_is_one_that_elimination_tells() -> None:
    reasons = []
    for fault in FAULTS:
        text = fault(PROBLEM)
        found = find_fault(Reply(text=text), Case(text, PROBLEM, "Add a condition."), Known([PROBLEM]), Rules())
        assert found is not None
        reasons.append(found.reason)
    assert reasons == ["refusal", "copies_prompt", "unchanged", "empty", "solution"]


def test_without_errors_the_problem_stands_before_the_new_sentence() -> None:
    for operator, sentences in SENTENCES.items():
        text = evolve(PROBLEM, operator, Random(0), 0.0)
        assert text.startswith(PROBLEM)
        assert text.removeprefix(PROBLEM).strip() in sentences


def test_the_stand_in_evolves_anybodys_problem_the_same_way_each_time() -> None:
    stand_in = OfflineGenerator(Offline(offline=str(OFFLINE)))
    fields = {"problem": PROBLEM, "operator": "add_constraint", "method": "-"}
    asked = Prompts().ask("evolve", fields, Sampling(), 3)
    (first,) = [reply for batch in stand_in.generate([asked]) for reply in batch.values()]
    assert first.text.startswith(PROBLEM)
    assert stand_in.reply(asked) == first.text
