"""Rounds of evolution: lineage, the pool, determinism."""

from align.evolve import OPERATORS, Means, Rules, evolve
from align.generate.request import Reply, Request
from align.schema import Problem

SEEDS = [
    Problem(prompt="Sum f(x).", entry_point="f", signature="def f(x):", tests=["assert f([]) == 0"], licence="MIT"),
    Problem(prompt="Reverse the string.", source="mine"),
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
    # a name is a word: `f` is not named by `for`
    for text in ("Add up numbers, g(y).", "Write a function for numbers."):
        child = evolve(SEEDS[:1], lambda requests, _, text=text: [Reply(text=text)], rounds=1).problems[1]
        assert (child.entry_point, child.signature) == (None, None)


def test_a_failed_evolution_returns_its_parent_to_the_next_round() -> None:
    evolver = Evolver(refused="Reverse")
    found = evolve(SEEDS, evolver, rounds=2, children=2)
    assert evolver.asked[1].count("Reverse the string.") == 2
    assert "Sum f(x)." not in evolver.asked[1]
    assert [entry.reason for entry in found.rejected] == ["refusal"] * 4
    assert found.rejected[0].record["parent"] == SEEDS[1].id


def test_the_pool_of_all_evolves_every_problem_again() -> None:
    evolver = Evolver()
    evolve(SEEDS, evolver, rounds=3, pool="all")
    assert [len(asked) for asked in evolver.asked] == [2, 4, 8]


def test_the_same_text_is_kept_once() -> None:
    found = evolve(SEEDS, lambda requests, _: [Reply(text="The same string.") for _ in requests], rounds=1)
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
    found = evolve(SEEDS, Evolver(), rounds=3, pool="all", means=Means(operators=["more_steps"]))
    assert {problem.operator for problem in found.problems if problem.round} == {"more_steps"}


def test_a_judge_drops_what_asks_for_no_more_and_keeps_apart_what_it_cannot_tell() -> None:
    said = iter(["Equal", "I cannot say.", "Different", "Different"])
    judged: list[int] = []

    def judge(requests: list[Request], number: int) -> list[Reply]:
        judged.append(len(requests))
        return [Reply(text=next(said)) for _ in requests]

    evolver = Evolver()
    found = evolve(SEEDS, evolver, rounds=2, means=Means(judge=judge))
    assert [entry.reason for entry in found.rejected] == ["no_gain", "unjudged"]
    assert evolver.asked[1] == ["Sum f(x).", "Reverse the string."]
    assert [problem.round for problem in found.problems] == [0, 0, 2, 2]
    assert judged == [2, 2]


def test_a_judge_is_not_asked_about_what_the_rules_drop() -> None:
    def judge(requests: list[Request], number: int) -> list[Reply]:
        raise AssertionError("asked")

    found = evolve(SEEDS, Evolver(refused=""), rounds=1, means=Means(judge=judge))
    assert [entry.reason for entry in found.rejected] == ["refusal", "refusal"]


def test_every_rejected_answer_has_its_lineage_and_its_evidence() -> None:
    answers = iter(["Write a GUI with a button for strings.", "I'm sorry, no."])
    found = evolve(SEEDS, lambda requests, _: [Reply(text=next(answers)) for _ in requests], rounds=1)
    assert [(entry.reason, bool(entry.detail)) for entry in found.rejected] == [
        ("not_a_function", True),
        ("refusal", True),
    ]
    for entry, seed in zip(found.rejected, SEEDS, strict=True):
        assert (entry.record["parent"], entry.record["round"]) == (seed.id, 1)
        assert entry.record["operator"] in OPERATORS


def test_both_styles_show_problem_and_heuristic_and_differ() -> None:
    asked: dict[str, list[Request]] = {}
    for style in ("pangu-coder2", "wizardcoder"):
        evolve(
            SEEDS,
            lambda requests, _, style=style: [Reply(text="") for _ in asked.setdefault(style, requests)],
            rounds=1,
            means=Means(style=style),
        )
    for requests in asked.values():
        for request, seed in zip(requests, SEEDS, strict=True):
            content = str(request.prompt)
            assert str(seed.prompt) in content
            assert request.fields["method"] in content
    assert [one.purpose for one in asked["wizardcoder"]] == ["evolve_wizardcoder"] * 2
    assert asked["wizardcoder"][0].prompt != asked["pangu-coder2"][0].prompt


def test_rules_can_be_widened() -> None:
    seeds = [Problem(prompt="Name a fruit.")]
    evolver = Evolver()
    assert [entry.reason for entry in evolve(seeds, evolver, rounds=1).rejected] == ["not_a_function"]
    assert len(evolve(seeds, evolver, rounds=1, means=Means(rules=Rules(task="any"))).problems) == 2


def test_untrusted_answers_crash_nothing() -> None:
    nasty = ["\ud800", "\0" * 10, "```" * 10_000, "(" * 100_000, "def f(" * 5_000, "\u202e\ufeff" * 99, "9" * 300_000]
    seeds = [Problem(prompt=f"Sum the list {n}.") for n in range(len(nasty))]
    found = evolve(seeds, lambda requests, _: [Reply(text=text) for text in nasty], rounds=1)
    assert len(found.rejected) == len(nasty)
