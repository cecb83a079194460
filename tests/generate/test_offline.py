"""The offline stand-in answers from the request alone, at the error rates that its entry states."""

from pathlib import Path

import pytest

from align.errors import ConfigError, DataError
from align.evolve import OPERATORS
from align.generate.ask import Prompts
from align.generate.offline import MOVES, OfflineGenerator
from align.generate.request import Request, Sampling
from align.models.entry import Offline

FOLDER = str(Path(__file__).parents[2] / "data" / "offline")
RIGHT = OfflineGenerator(Offline(offline=FOLDER))
LONG = "# f(xs): keep the first 3 items, then square each number, then return the total."


def solve(problem: str, seed: int = 0) -> Request:
    return Prompts().ask("solve", {"problem": problem, "entry_point": "f", "signature": ""}, Sampling(), seed)


def evolve(problem: str, operator: str, seed: int = 0) -> Request:
    return Prompts().ask("evolve", {"problem": problem, "operator": operator, "method": "-"}, Sampling(), seed)


def wrong_share(errors: dict[str, float], problem: str, right: str) -> float:
    noisy = OfflineGenerator(Offline(offline=FOLDER, errors=errors, seed=3))
    return sum(right not in noisy.reply(solve(problem, seed)) for seed in range(1000)) / 1000


def test_without_errors_the_answer_is_the_right_program_in_a_fence() -> None:
    assert RIGHT.reply(solve("# f(n): square it, then return the number.")) == (
        "```python\ndef f(n):\n    n = n * n\n    return n\n```\nThe function takes 2 steps, in order."
    )


def test_errors_come_at_their_rates() -> None:
    square, sort = (
        "# f(n): square it, then return the number.",
        "# f(xs): sort in ascending order, then return the sum.",
    )
    assert wrong_share({"default": 0.3}, square, "n * n") == pytest.approx(0.3, abs=0.05)
    assert wrong_share({"squared": 0.7, "default": 0.1}, square, "n * n") == pytest.approx(0.7, abs=0.05)
    assert wrong_share({"tricky": 0.6, "default": 0.1}, square, "n * n") == pytest.approx(0.1, abs=0.03)
    assert wrong_share({"tricky": 0.6, "default": 0.1}, sort, "xs = sorted(xs)\n") == pytest.approx(0.6, abs=0.05)


def test_an_error_with_a_rate_of_its_own_is_always_the_same() -> None:
    noisy = OfflineGenerator(Offline(offline=FOLDER, errors={"tricky": 1.0}))
    problem = "# f(xs): sort in ascending order, then return the list."
    assert len({noisy.reply(solve(problem, seed)) for seed in range(50)}) == 1


def test_an_answer_depends_on_the_request_and_the_seeds_alone() -> None:
    noisy = Offline(offline=FOLDER, errors={"default": 0.5}, seed=1)
    requests = [solve(LONG, seed) for seed in range(20)]
    first = [OfflineGenerator(noisy).reply(request) for request in requests]
    again = OfflineGenerator(noisy)
    assert [again.reply(request) for request in reversed(requests)] == first[::-1]
    other = OfflineGenerator(noisy.model_copy(update={"seed": 2}))
    assert [other.reply(request) for request in requests] != first


def test_batches_cover_what_is_not_done() -> None:
    requests = [solve(LONG, seed) for seed in range(5)]
    batches = list(RIGHT.generate(requests, done={0, 3}))
    assert sorted(index for batch in batches for index in batch) == [1, 2, 4]


def test_every_operator_of_evolution_is_served() -> None:
    assert set(MOVES) == set(OPERATORS)


@pytest.mark.parametrize("operator", MOVES)
@pytest.mark.parametrize("problem", [LONG, "# f(s): return the string."])
def test_an_evolved_problem_is_new_short_enough_sound_and_not_held_out(operator: str, problem: str) -> None:
    for seed in range(40):
        child = RIGHT.family.read(RIGHT.reply(evolve(problem, operator, seed)))
        assert child != RIGHT.family.read(problem)
        assert len(child.steps) <= 3
        assert not child.is_held_out
        assert not child.is_vacuous()


def test_the_other_style_of_prompt_gets_an_evolved_problem_too() -> None:
    fields = {"problem": LONG, "operator": "more_steps", "method": "-"}
    answer = RIGHT.reply(Prompts().ask("evolve_wizardcoder", fields, Sampling(), 0))
    assert RIGHT.family.read(answer) != RIGHT.family.read(LONG)


@pytest.mark.parametrize(
    ("evolved", "verdict"),
    [(LONG, "Equal"), (LONG.replace("the total", "the sum"), "Equal"), (LONG.replace("3", "4"), "Different")],
)
def test_a_comparison_is_of_operations_not_of_words(evolved: str, verdict: str) -> None:
    fields = {"problem": LONG, "evolved": evolved}
    assert RIGHT.reply(Prompts().ask("compare", fields, Sampling(), 0)) == verdict


def plan(generator: OfflineGenerator, problem: str, seed: int = 0) -> str:
    fields = {"problem": problem, "entry_point": "f", "signature": ""}
    return generator.reply(Prompts().ask("plan", fields, Sampling(), seed))


def test_a_plan_names_the_steps() -> None:
    assert plan(RIGHT, LONG) == (
        "How to solve:\nStep 1. keep the first 3 items\nStep 2. square each number\nStep 3. return the total"
    )


def test_who_has_a_plan_follows_it_where_it_is_right_and_where_it_errs() -> None:
    assert RIGHT.reply(solve(f"{LONG}\n\n{plan(RIGHT, LONG)}")) == RIGHT.reply(solve(LONG))
    noisy = OfflineGenerator(Offline(offline=FOLDER, errors={"default": 0.5}))
    programs = [RIGHT.reply(solve(f"{LONG}\n\n{plan(noisy, LONG, seed)}")) for seed in range(100)]
    assert 50 < sum(program != RIGHT.reply(solve(LONG)) for program in programs) < 100


def test_written_tests_are_as_many_as_asked_and_true() -> None:
    fields = {"problem": LONG, "count": "12", "entry_point": "f", "signature": ""}
    block = (
        RIGHT.reply(Prompts().ask("write_tests", fields, Sampling(), 0))
        .removeprefix("```python\n")
        .removesuffix("\n```")
    )
    assert len(set(block.splitlines())) == 12
    exec(RIGHT.family.read(LONG).program() + "\n" + block, {})


def test_what_it_cannot_do_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="cannot read 'Add two numbers"):
        RIGHT.reply(solve("Add two numbers."))
    with pytest.raises(ConfigError, match="does not serve 'judge'"):
        RIGHT.reply(Request(prompt="?", purpose="judge", fields={"problem": LONG}))
    with pytest.raises(ConfigError, match="did you mean 'more_steps'"):
        RIGHT.reply(evolve(LONG, "more_step"))
    with pytest.raises(ConfigError, match="did you mean 'square'"):
        OfflineGenerator(Offline(offline=FOLDER, errors={"sqare": 0.5}))
