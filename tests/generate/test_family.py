"""The offline family: what a problem's text says is what its program does, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from align.errors import DataError
from align.generate.family import LETTERS, VARIABLE, Family, Step, Task, compiled

FOLDER = Path(__file__).parents[2] / "data" / "offline"
FAMILY = Family(FOLDER)


def drawn_tasks(count: int) -> Iterator[Task]:
    random = Random("tests")
    for _ in range(count):
        domain = random.choice(list(VARIABLE))
        steps = [FAMILY.draw(domain, "step", random) for _ in range(random.randrange(4))]
        yield Task(domain, (*steps, FAMILY.draw(domain, "end", random)))  # type: ignore[arg-type]


def every_step() -> Iterator[Step]:
    """Every operation with every wording and its extreme values."""
    for operation in FAMILY.operations.values():
        for phrasing in range(len(operation.phrasings)):
            for k in operation.k or [0]:
                c, d = (LETTERS[0], LETTERS[-1]) if operation.letters else ("", "")
                two = any("{d}" in text for text in operation.phrasings)
                yield Step(operation, operation.name, k, c, d if two else "", phrasing)


def alone(step: Step) -> Task:
    domain = step.operation.domain
    end = FAMILY.kinds[domain, "end"][0]
    return Task(domain, (step,) if step.operation.kind == "end" else (step, Step(end, end.name)))


@pytest.mark.parametrize("step", list(every_step()), ids=lambda step: f"{step.name}-{step.phrasing}-{step.k}")
def test_every_phrase_is_read_back_as_its_own_operation(step: Step) -> None:
    task = alone(step)
    assert FAMILY.read(task.text) == task
    assert FAMILY.read(task.text).text == task.text


def test_a_problem_is_read_back_word_for_word() -> None:
    for task in drawn_tasks(500):
        assert FAMILY.read(task.text).text == task.text
        assert FAMILY.read(f"\n{task.text} \n") == task


def test_a_known_problem_has_this_text_and_program() -> None:
    task = FAMILY.read("# f(xs): keep multiples of 3, then rotate left by 2, then return the total.")
    assert task.program() == (
        "def f(xs):\n    xs = [x for x in xs if x % 3 == 0]\n    xs = xs[2:] + xs[:2]\n    return sum(xs)"
    )
    assert task.outputs([[3, 4, 6], []]) == [9, 0]


@pytest.mark.parametrize(
    "text",
    [
        "Add two numbers.",
        "# f(xs): return the total",
        "# f(q): return the total.",
        "# f(xs): fly to the moon, then return the total.",
        "# f(xs): raise numbers below 3 to 4, then return the total.",
        "# f(n): return the total.",
    ],
)
def test_other_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(DataError, match="the offline model"):
        FAMILY.read(text)


def test_no_bug_is_the_right_code() -> None:
    for operation in FAMILY.operations.values():
        assert operation.bugs, operation.name
        assert operation.code not in operation.bugs


def test_every_bug_is_found_by_the_inputs_of_some_problem() -> None:
    for step in every_step():
        for bug in step.operation.bugs:
            task = alone(step)
            inputs = task.inputs(40, "bugs")
            wrong = compiled(task.program(lambda at, step=step, bug=bug: bug if at is step else at.operation.code))
            assert _differs(wrong, inputs, task), (step.name, bug)


def _differs(function: object, inputs: list[object], task: Task) -> bool:
    for given, right in zip(inputs, task.outputs(inputs), strict=True):
        try:
            found = function(list(given) if isinstance(given, list) else given)  # type: ignore[operator]
        except Exception:
            return True
        if found != right:
            return True
    return False


def test_programs_do_not_raise_on_their_inputs() -> None:
    for task in drawn_tasks(500):
        task.outputs(task.inputs(20, "any"))


def test_inputs_are_distinct_probe_the_values_and_follow_the_salt() -> None:
    task = FAMILY.read("# f(n): raise it to at least 7, then return the number.")
    inputs = task.inputs(10, "a")
    assert {6, 7, 8, 0} <= set(inputs)
    assert len(set(inputs)) == 10
    assert inputs == task.inputs(10, "a") != task.inputs(10, "b")


def test_holding_out_depends_on_operations_and_order_not_on_values() -> None:
    named: dict[tuple[str, ...], set[bool]] = {}
    for task in drawn_tasks(4000):
        named.setdefault((task.domain, *(step.name for step in task.steps)), set()).add(task.is_held_out)
        assert len(task.steps) >= 3 or not task.is_held_out
    assert all(len(answers) == 1 for answers in named.values())
    long = [answers.pop() for names, answers in named.items() if len(names) > 3]
    assert 0.15 < sum(long) / len(long) < 0.25


def test_a_phrase_of_two_operations_is_refused(tmp_path: Path) -> None:
    row = {"domain": "int", "kind": "end", "phrasings": ["it"], "code": "n", "bugs": ["-n"]}
    rows = [{"name": "one", **row}, {"name": "two", **row}]
    (tmp_path / "operations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    with pytest.raises(DataError, match="is said by two and by one"):
        Family(tmp_path)
