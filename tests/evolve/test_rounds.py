"""Rounds of evolution: lineage, the pool, determinism."""

from align.evolve import OPERATORS, evolve
from align.generate.request import Reply, Request
from align.schema import Problem

SEEDS = [
    Problem(prompt="Sum f(x).", entry_point="f", signature="def f(x):", tests=["assert f([]) == 0"], licence="MIT"),
    Problem(prompt="Reverse text.", source="mine"),
]


class Evolver:
    """Appends a word of its own to every problem; refuses those that contain `refused`."""

    def __init__(self, refused: str = "nothing is refused") -> None:
        self.refused, self.asked = refused, list[list[str]]()

    def __call__(self, requests: list[Request], number: int) -> list[Reply]:
        self.asked.append([request.fields["problem"] for request in requests])
        return [self.reply(request) for request in requests]

    def reply(self, request: Request) -> Reply:
        problem = request.fields["problem"]
        return Reply(text="Sorry, no." if self.refused in problem else f"{problem} Word{request.seed}.")


def test_children_carry_their_lineage_and_what_belongs_to_them() -> None:
    found = evolve(SEEDS, Evolver(), rounds=2).problems
    by_id = {problem.id: problem for problem in found}
    assert [problem.round for problem in found] == [0, 0, 1, 1, 2, 2]
    for child in found[2:]:
        parent = by_id[child.parent or ""]
        assert str(child.prompt).startswith(str(parent.prompt))
        assert (child.round or 0) == (parent.round or 0) + 1
        assert child.operator in OPERATORS
        assert (child.licence, child.source) == (parent.licence, parent.source)
        assert child.tests == []
        assert child.reference is None


def test_the_interface_is_kept_only_where_the_text_still_names_it() -> None:
    child = evolve(SEEDS[:1], Evolver(), rounds=1).problems[1]
    assert (child.entry_point, child.signature) == ("f", "def f(x):")
    child = evolve(SEEDS[:1], lambda requests, _: [Reply(text="Add up numbers, g(y).")], rounds=1).problems[1]
    assert (child.entry_point, child.signature) == (None, None)


def test_a_failed_evolution_returns_its_parent_to_the_next_round() -> None:
    evolver = Evolver(refused="Reverse")
    found = evolve(SEEDS, evolver, rounds=2, children=2)
    assert evolver.asked[1].count("Reverse text.") == 2
    assert "Sum f(x)." not in evolver.asked[1]
    assert [entry.reason for entry in found.rejected] == ["refusal"] * 4
    assert found.rejected[0].record["parent"] == SEEDS[1].id


def test_the_pool_of_all_evolves_every_problem_again() -> None:
    evolver = Evolver()
    evolve(SEEDS, evolver, rounds=3, pool="all")
    assert [len(asked) for asked in evolver.asked] == [2, 4, 8]


def test_the_same_text_is_kept_once() -> None:
    found = evolve(SEEDS, lambda requests, _: [Reply(text="The same text.") for _ in requests], rounds=1)
    assert len(found.problems) == 3
    assert [entry.reason for entry in found.rejected] == ["duplicate"]


def test_the_seed_decides_and_nothing_else() -> None:
    first, same, other = (evolve(SEEDS, Evolver(), rounds=3, children=2, seed=seed) for seed in (5, 5, 6))
    assert first == same
    assert first.problems != other.problems


def test_a_problem_evolves_the_same_whatever_stands_beside_it() -> None:
    alone = evolve(SEEDS[1:], Evolver(), rounds=1).problems[1]
    assert alone in evolve(SEEDS, Evolver(), rounds=1).problems


def test_only_named_operators_are_used() -> None:
    found = evolve(SEEDS, Evolver(), rounds=3, pool="all", operators=["more_steps"])
    assert {problem.operator for problem in found.problems if problem.round} == {"more_steps"}
