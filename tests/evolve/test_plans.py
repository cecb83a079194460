"""COTTON's plans: their place in a prompt, and that only those from which passing code comes are kept."""

import ast

import pytest

from align.evolve import Means, Planner, evolve
from align.evolve.eliminate import Fault
from align.evolve.plans import HEADING, add_plan, read_plan
from align.generate.request import Reply, Request
from align.rank import UnitTests
from align.schema import Message, Problem, Response, Verdict

PLAN = f"{HEADING}\nStep 1. Add them.\nStep 2. Return the sum."
STUB = 'import math\n\ndef add(a, b):\n    """Add two numbers.\n    >>> add(1, 2)\n    3\n    """\n'
TESTED = [
    Problem(
        prompt=STUB,
        entry_point="add",
        signature="def add(a, b):",
        tests=["assert add(1, 2) == 3"],
        reference="def add(a, b):\n    return a + b",
        meta={"task_id": "own/1"},
    ),
    Problem(prompt="Multiply two numbers: mul(a, b).", entry_point="mul", tests=["assert mul(2, 3) == 6"]),
]
BARE = Problem(prompt="Halve a number.")


def planner(codes: dict[str, str], asked: list[Request] | None = None) -> Planner:
    """A coder that answers by the entry point, and real runs of what it wrote."""

    def code(requests: list[Request], number: int) -> list[Reply]:
        if asked is not None:
            asked.extend(requests)
        return [Reply(text=codes[request.fields["entry_point"]]) for request in requests]

    def run_tests(problems: list[Problem], responses: list[Response]) -> list[Verdict]:
        return list(UnitTests(1, "none").judge(problems, responses))

    return Planner(code, run_tests)


def plan_all(requests: list[Request], number: int) -> list[Reply]:
    return [Reply(text=PLAN) for _ in requests]


def test_a_plan_stands_inside_the_docstring_before_its_closing_quotes() -> None:
    text = add_plan(STUB, PLAN)
    function = ast.parse(text).body[-1]
    assert isinstance(function, ast.FunctionDef)
    docstring = ast.get_docstring(function) or ""
    assert docstring.startswith("Add two numbers.\n>>> add(1, 2)\n3\n")
    assert docstring.endswith(PLAN)
    assert text.startswith("import math\n\ndef add(a, b):\n")
    assert text.endswith('    Step 2. Return the sum.\n    """\n')


@pytest.mark.parametrize(
    "prompt",
    [
        "def add(a, b):\n    'Add.'\n",
        'def add(a, b):\n    "Add."',
        "def add(a, b): '''Add «ü».'''\n",
        'def add(a, b):\n    r"""Add \\d."""\n',
        'def help(a):\n    return a\n\n\ndef add(a, b):\n\t"""Add."""\n',
    ],
)
@pytest.mark.parametrize("plan", [PLAN, PLAN.replace("them", "a\\\"\"\"b''' \\")])
def test_any_docstring_takes_any_plan(prompt: str, plan: str) -> None:
    text = add_plan(prompt, plan)
    function = ast.parse(text).body[-1]
    assert isinstance(function, ast.FunctionDef)
    assert "Step 2. Return the sum." in (ast.get_docstring(function) or "")


def test_a_prompt_without_a_docstring_gets_its_plan_at_the_end() -> None:
    assert add_plan("Add two numbers.\n", PLAN) == f"Add two numbers.\n\n{PLAN}"
    text = add_plan("def add(a, b):\n", PLAN)
    assert text.endswith("    # Step 2. Return the sum.\n")
    ast.parse(f"{text}    return a + b\n")


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        (PLAN, PLAN),
        ("How to solve:\n1. Add them.\n2. Return the sum.", PLAN),
        ("Sure!\n**Step 1:** Add them.\nstep 2) Return the sum.\nGood luck.", PLAN),
        ("Just add them.", "no_plan"),
        ("Step 1. Add them.", "no_plan"),
        ("I'm sorry, I cannot.", "refusal"),
        ("", "empty"),
    ],
)
def test_a_plan_is_read_in_one_form_or_not_at_all(text: str, plan: str) -> None:
    found = read_plan(Reply(text=text))
    assert (found.reason if isinstance(found, Fault) else found) == plan


def test_a_plan_is_kept_only_where_code_from_it_passes() -> None:
    right = "```python\ndef add(a, b):\n    return a + b\n```"
    wrong = "def mul(a, b):\n    return a + b"
    asked: list[Request] = []
    means = Means(operators=["plan"], planner=planner({"add": right, "mul": wrong}, asked))
    found = evolve([*TESTED, BARE], plan_all, rounds=1, means=means)
    (child,) = found.problems[3:]
    assert (child.operator, child.round, child.parent) == ("plan", 1, TESTED[0].id)
    for name in ("tests", "entry_point", "signature", "reference", "meta", "test_kind"):
        assert getattr(child, name) == getattr(TESTED[0], name), name
    assert [(entry.reason, entry.detail) for entry in found.rejected] == [("plan_fails", "wrong_answer, 0 of 1 tests")]
    assert [request.fields["problem"] for request in asked] == [add_plan(str(one.prompt), PLAN) for one in TESTED]
    assert {request.sampling.temperature for request in asked} == {0.0}


def test_a_problem_without_tests_is_never_planned() -> None:
    asked: list[str] = []

    def evolver(requests: list[Request], number: int) -> list[Reply]:
        asked.extend(request.purpose for request in requests)
        return [Reply(text=f"{request.fields['problem']} Word{request.seed}.") for request in requests]

    means = Means(operators=["plan", "more_steps"], planner=planner({}))
    seeds = [Problem(prompt=f"Halve the number {n}.") for n in range(20)]
    evolve(seeds, evolver, rounds=1, children=2, means=means)
    assert asked == ["evolve"] * 40


def test_a_planned_problem_stays_in_the_pool_and_is_planned_once() -> None:
    means = Means(operators=["plan"], planner=planner({"add": "def add(a, b):\n    return a + b"}))
    found = evolve(TESTED[:1], plan_all, rounds=3, children=2, means=means)
    assert [problem.operator for problem in found.problems] == [None, "plan"]
    again = evolve(found.problems, plan_all, rounds=1, means=means)
    assert len([problem for problem in again.problems if problem.operator == "plan"]) == 2


def test_a_failed_plan_is_tried_again_in_the_next_round() -> None:
    seeds: list[int] = []

    def evolver(requests: list[Request], number: int) -> list[Reply]:
        seeds.extend(request.seed for request in requests)
        return [Reply(text="No steps." if number == 1 else PLAN) for _ in requests]

    means = Means(operators=["plan"], planner=planner({"add": "def add(a, b):\n    return a + b"}))
    found = evolve(TESTED[:1], evolver, rounds=2, means=means)
    assert [problem.operator for problem in found.problems] == [None, "plan"]
    assert [entry.reason for entry in found.rejected] == ["no_plan"]
    assert len(set(seeds)) == 2


def test_no_code_is_no_verdict_on_a_plan() -> None:
    def code(requests: list[Request], number: int) -> list[Reply]:
        return [Reply(text="", finish="error", error="refused by a filter") for _ in requests]

    means = Means(operators=["plan"], planner=Planner(code, planner({}).run_tests))
    found = evolve(TESTED, plan_all, rounds=1, means=means)
    assert {(entry.reason, entry.detail) for entry in found.rejected} == {("unjudged", "refused by a filter")}


def test_messages_stay_messages() -> None:
    seed = Problem(
        prompt=[Message(role="user", content="Add: add(a, b).")], entry_point="add", tests=["assert add(1, 2) == 3"]
    )
    means = Means(operators=["plan"], planner=planner({"add": "def add(a, b):\n    return a + b"}))
    child = evolve([seed], plan_all, rounds=1, means=means).problems[1]
    assert child.prompt == [Message(role="user", content=f"Add: add(a, b).\n\n{PLAN}")]


def test_plans_without_who_checks_them_are_a_fault() -> None:
    with pytest.raises(ValueError, match="needs a planner"):
        evolve(TESTED, plan_all, rounds=1, means=Means(operators=["plan"]))
