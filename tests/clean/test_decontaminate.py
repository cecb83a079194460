"""Overlap with benchmarks, by text."""

import ast
import pickle
import time
from pathlib import Path

import pytest

from align.clean.decontaminate import Decontaminator, Hit
from align.clean.decontaminate.sought import prose, sought
from align.clean.decontaminate.tokens import code_tokens
from align.errors import ConfigError, DataError
from align.generate.family import Family
from align.io import read
from align.schema import Message, Problem
from align.text.template import prompt_text

FOLDER = Path(__file__).parents[2] / "data" / "offline"
LONG = "given a list of rainfall figures for each day return the longest run of days without any rain at all"
REFERENCE = '''def dry(rain):
    """The longest dry run."""
    best = now = 0
    for figure in rain:
        now = 0 if figure > 0 else now + 1
        best = max(best, now)
    if best == len(rain):
        print("a desert")
    return best
'''
COPY = """import math
# another's
def f(values):
    a = b = 0
    for v in values:
        b = 0 if v > 0 else b + 1  # count
        a = max(a, b)
    if a == len(values):
        print('a desert')
    return a
"""
RAIN = Problem(prompt=LONG, entry_point="dry", reference=REFERENCE, meta={"task_id": "Rain/7"})


@pytest.fixture(scope="module")
def held_out() -> list[Problem]:
    return read(FOLDER / "heldout.jsonl", Problem)


def rain(*methods: str, ngram: int = 13) -> Decontaminator:
    return Decontaminator([("rain", [RAIN])], methods=methods, ngram=ngram)


def kept(problems: list[Problem], benchmark: list[Problem]) -> list[Problem]:
    decontaminator = Decontaminator([("held out", benchmark)])
    return [one for one in problems if decontaminator.check(prompt_text(one), one.reference) is None]


def test_a_shared_run_of_words_is_found_and_named() -> None:
    hit = rain("ngram").check(f"In Python: {LONG.upper()}; print it.")
    assert hit == Hit("ngram", "rain", "Rain/7", " ".join(LONG.split()[:13]))
    assert rain("ngram").check("Given a list of numbers, return the longest run of numbers without any zero.") is None


def test_a_statement_is_found_whole_under_any_layout_and_case() -> None:
    found = rain("substring")
    hit = found.check("Hello.\n  * " + LONG.title().replace(" ", "\n # ") + "\nThanks")
    assert hit is not None
    assert hit.detail.startswith("substring: rain Rain/7: its statement: given a list of rain")
    assert found.check(" ".join(LONG.split()[:-1])) is None


def test_a_solution_is_found_without_its_comments_and_layout() -> None:
    code = "\n\n".join(line.replace("    ", "\t") + "  # mine" for line in REFERENCE.splitlines())
    hit = rain("substring").check("Answer: this", code.replace('"""The longest dry run."""', "'''Other.'''"))
    assert hit is not None
    assert "its solution" in hit.evidence


def test_a_renamed_solution_is_found_by_its_tokens() -> None:
    hit = rain("ngram").check("A program", COPY)
    assert hit is not None
    assert "tokens of its solution" in hit.evidence
    assert rain("substring").check("A program", COPY) is None


def test_a_solution_within_an_answer_is_found() -> None:
    text = f"You do it like this:\n```python\n{COPY}```\nIt's simple, isn't it?"
    assert rain("ngram").check(text) is not None
    assert rain("near").check(text) is not None


def test_a_slightly_changed_statement_is_near() -> None:
    changed = LONG.replace("figures", "readings").replace("at all", "")
    hit = rain("near").check(changed)
    assert hit is not None
    assert "statements with a Jaccard similarity of 0." in hit.evidence
    assert rain("substring", "ngram").check(changed, None) is None
    assert rain("near").check("given a list of prices for each day return the best day to buy and to sell") is None


def test_a_trivial_solution_is_not_looked_for() -> None:
    reference = "def add(x, y):\n    return x + y\n"
    problem = Problem(prompt=f"{LONG} add", entry_point="add", reference=reference)
    (one,) = sought([("b", [problem])])
    assert one.is_trivial
    everything = Decontaminator([("b", [problem])], methods=["substring", "ngram", "near"])
    assert everything.check("Plus.", reference) is None
    assert not sought([("rain", [RAIN])])[0].is_trivial


def test_a_statement_of_few_words_is_not_looked_for() -> None:
    problem = Problem(prompt="Write a function to add numbers.")
    assert Decontaminator([("b", [problem])], methods=["substring"]).check(f"First: {problem.prompt} Go.") is None


def test_examples_are_no_part_of_a_statement() -> None:
    prompt = 'def f(n):\n    """ Count the ways.\n    >>> f(3)\n    2\n    """\n'
    assert prose(prompt).strip() == "Count the ways."
    assert prose("Count the ways. For example, f(3) is 2.").strip() == "Count the ways."
    assert prose(">>> f(3)\n2") == ">>> f(3)\n2"


def test_names_are_made_equal_but_for_keywords_builtins_and_attributes() -> None:
    assert code_tokens("for x in y.items(): print(x, 'a')", renamed=True) == code_tokens(
        'for  key in table.items() :\n print(key,"a") # so', renamed=True
    )
    assert code_tokens("y.items()", renamed=True) != code_tokens("y.keys()", renamed=True)
    assert code_tokens("min(x)", renamed=True) != code_tokens("max(x)", renamed=True)


def test_a_method_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigError, match=r"substrings.*did you mean 'substring'"):
        rain("substrings")


def test_a_benchmark_of_dialogues_is_refused() -> None:
    turns = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    with pytest.raises(DataError, match="2 turns"):
        Decontaminator([("b", [Problem(prompt=turns)])])


@pytest.mark.parametrize("text", ["", "\x00", "\ud800 def f(x):", "'" * 9, '"""' * 5, "def f(:\n" * 50, "(" * 9000])
def test_any_text_can_be_checked(text: str) -> None:
    everything = rain("substring", "ngram", "near")
    assert everything.check(text) is None
    assert everything.check(text, text) is None


@pytest.mark.parametrize("piece", ["\n", "    \n", "'", "f(", "word ", "'''x", ">>> ", "a" * 10])
def test_checking_takes_time_in_proportion_to_the_text(piece: str) -> None:
    everything = rain("substring", "ngram", "near")
    begun = time.process_time()
    everything.check(piece * (300_000 // len(piece)))
    assert time.process_time() - begun < 5


def test_it_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(rain("substring", "ngram", "near")))
    assert copy.check(LONG) == rain("substring", "ngram", "near").check(LONG)


def test_a_benchmark_loses_all_of_itself(held_out: list[Problem]) -> None:
    assert kept(held_out, held_out) == []


def test_reworded_ends_of_held_out_problems_are_mostly_found(held_out: list[Problem]) -> None:
    family = Family(FOLDER)
    near = []
    for problem in held_out:
        task = family.read(str(problem.prompt))
        end = family.kinds[task.domain, "end"]
        other = next(operation for operation in end if operation.name != task.steps[-1].name)
        changed = task.steps[-1].__class__(other, other.name, k=3, c="a")
        near.append(Problem(prompt=type(task)(task.domain, (*task.steps[:-1], changed)).text))
    assert len(kept(near, held_out)) < 0.6 * len(near)


def test_the_offline_family_is_not_emptied(held_out: list[Problem]) -> None:
    seeds = read(FOLDER / "seeds.jsonl", Problem)
    assert len(kept(seeds, held_out)) > 0.9 * len(seeds)


def test_real_benchmarks_do_not_hit_each_other_by_the_way(shared: Path) -> None:
    folder = shared / "data" / "eval"
    humaneval, mbpp = read(folder / "HumanEval.jsonl.gz", Problem), read(folder / "mbpp.jsonl", Problem)
    assert len(mbpp) - len(kept(mbpp, humaneval)) < 0.02 * len(mbpp)
    assert kept(humaneval, humaneval) == []


def test_renamed_solutions_of_humaneval_are_found_by_likeness(shared: Path) -> None:
    problems = read(shared / "data" / "eval" / "HumanEval.jsonl.gz", Problem)
    everything = Decontaminator([("humaneval", problems)], methods=["ngram", "near"])
    looked_for = [one for one in sought([("humaneval", problems)]) if not one.is_trivial]
    found = 0
    for one in looked_for:
        tree = ast.parse(one.problem.reference or "")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.name = f"{node.name}_too"
                node.body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        hit = everything.check("Write a program.", ast.unparse(tree))
        found += hit is not None and hit.problem == one.name
    assert found > 0.8 * len(looked_for)
