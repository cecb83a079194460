"""The rule-based stand-in teacher: it solves, plans, evolves and tests problems of the offline family, and errs at a
stated rate.

Every answer follows from the request's purpose and fields, which also stand in its prompt, and from the seeds;
there is no hidden state. Its expected values come from its own right programs, run in this process: an offline
folder is code. Of two problems it says whether they are the same. It reads none of another family: these it can only
evolve, unread (`prose`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from random import Random

from ..errors import ConfigError, suggest
from ..models.entry import Offline
from . import prose
from .family import MAX_OPERATIONS, VARIABLE, Family, Step, Task, draw_values
from .request import Batches, Reply, Request

BATCH = 1000
"""Requests a journal entry."""
ATTEMPTS = 100
"""Draws for one evolved problem before the old one is given back."""
GROUPS = ("default", "tricky")
"""Names under `errors` that stand for many operations."""

WRITTEN = "tests"
"""Salt of the inputs of written tests; evaluation uses another, and avoids what this one gives."""
PLAN = "\n\nHow to solve:\n"
"""What stands between a problem of this family and its plan."""

EVOLVING = ("evolve", "evolve_wizardcoder")
"""Purposes that it serves for problems of anybody."""

Move = Callable[[Family, Task, Random], tuple[Step, ...]]


class OfflineGenerator:
    """Answers requests whose purpose is `solve`, `evolve`, `compare`, `plan` or `write_tests`."""

    keeps = False

    def __init__(self, entry: Offline) -> None:
        self.family = Family(Path(entry.offline))
        self.errors = entry.errors
        self.seed = entry.seed
        known = [*GROUPS, *self.family.operations]
        for name in entry.errors:
            if name not in known:
                raise ConfigError(f"{entry.offline}: errors: no operation {name!r}: {suggest(name, known)}")
        self._answers = {
            "solve": self._solve,
            "evolve": self._evolve,
            "evolve_wizardcoder": self._evolve,
            "compare": self._compare,
            "plan": self._plan,
            "write_tests": self._write_tests,
        }

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """Answer the requests in batches.

        Raises:
            ConfigError: a request has a purpose that the stand-in does not serve.
            DataError: a problem is not of this family, and more is asked than to evolve it.
        """
        for start in range(0, len(requests), BATCH):
            batch = [index for index in range(start, min(start + BATCH, len(requests))) if index not in done]
            if batch:
                yield {index: Reply(text=self.reply(requests[index])) for index in batch}

    def reply(self, request: Request) -> str:
        """The answer to one request."""
        if request.purpose not in self._answers or "problem" not in request.fields:
            raise ConfigError(f"the offline model does not serve {request.purpose!r} requests: name another model")
        problem = request.fields["problem"]
        if request.purpose in EVOLVING and not self.family.claims(problem):
            return self._evolve_prose(problem, request)
        task = self._read(problem)
        random = Random(f"{self.seed}|{request.seed}|{request.purpose}|{task.text}")
        return self._answers[request.purpose](task, request.fields, random)

    def _read(self, text: str) -> Task:
        """The task of a problem, or the one that the plan below it describes: who has a plan follows it."""
        problem, _, plan = text.partition(PLAN)
        task = self.family.read(problem)
        phrases = [phrase for line in plan.splitlines() if (phrase := line.partition(". ")[2])]
        return self.family.read(worded(task, phrases)) if phrases else task

    def _solve(self, task: Task, fields: Mapping[str, str], random: Random) -> str:
        program = task.program(lambda step: self._code(step, random))
        count = len(task.steps)
        return f"```python\n{program}\n```\nThe function takes {count} step{'s' if count > 1 else ''}, in order."

    def _code(self, step: Step, random: Random) -> str:
        """The code of a step, wrong at its rate: where the rate is the operation's own, always in the same way."""
        operation = step.operation
        own = operation.name if operation.name in self.errors else "tricky" if operation.tricky else ""
        rate = self.errors.get(own, self.errors.get("default", 0.0))
        if random.random() >= rate:
            return operation.code
        return operation.bugs[0] if own in self.errors else random.choice(operation.bugs)

    def _evolve_prose(self, problem: str, request: Request) -> str:
        """Anybody's problem: it is not read."""
        random = Random(f"{self.seed}|{request.seed}|{request.purpose}|{problem}")
        return prose.evolve(problem, _operator(request.fields), random, self.errors.get("default", 0.0))

    def _evolve(self, task: Task, fields: Mapping[str, str], random: Random) -> str:
        operator = _operator(fields)
        for _ in range(ATTEMPTS):
            child = Task(task.domain, MOVES[operator](self.family, task, random))
            if child != task and not child.is_held_out and not child.is_vacuous():
                return child.text
        return task.text

    def _compare(self, task: Task, fields: Mapping[str, str], random: Random) -> str:
        return "Equal" if self._read(fields["evolved"]) == task else "Different"

    def _plan(self, task: Task, fields: Mapping[str, str], random: Random) -> str:
        """The task's own steps; each is another one at its operation's rate of errors."""
        steps = [
            step if self._code(step, random) == step.operation.code else self._other(task, step, random)
            for step in task.steps
        ]
        told = Task(task.domain, tuple(steps)).text.partition(": ")[2].removesuffix(".").split(", then ")
        lines = [f"Step {number}. {phrase}" for number, phrase in enumerate(told, start=1)]
        return "\n".join([PLAN.strip(), *lines])

    def _other(self, task: Task, step: Step, random: Random) -> Step:
        return self.family.draw(task.domain, step.operation.kind, random)

    def _write_tests(self, task: Task, fields: Mapping[str, str], random: Random) -> str:
        inputs = task.inputs(int(fields["count"]), WRITTEN)
        return "```python\n" + "\n".join(asserts(task, inputs)) + "\n```"


def worded(task: Task, phrases: Sequence[str]) -> str:
    """The text of a problem that says these phrases."""
    return f"# f({VARIABLE[task.domain]}): {', then '.join(phrases)}."


def _operator(fields: Mapping[str, str]) -> str:
    operator = fields["operator"]
    if operator not in MOVES:
        raise ConfigError(f"the offline model knows no operator {operator!r}: {suggest(operator, MOVES)}")
    return operator


def asserts(task: Task, inputs: Sequence[object]) -> list[str]:
    """One assert statement an input."""
    return [f"assert f({given!r}) == {out!r}" for given, out in zip(inputs, task.outputs(inputs), strict=True)]


def _is_full(task: Task) -> bool:
    return len(task.steps) >= MAX_OPERATIONS


def _constrain(family: Family, task: Task, random: Random) -> tuple[Step, ...]:
    """A filter or a bound before everything else."""
    if _is_full(task):
        return _revalue(family, task, random)
    filters = [operation for operation in family.kinds[task.domain, "step"] if operation.filter]
    return (draw_values(random.choice(filters), random), *task.steps)


def _compose(family: Family, task: Task, random: Random) -> tuple[Step, ...]:
    """One more step before the end."""
    if _is_full(task):
        return _change(family, task, random)
    return (*task.steps[:-1], family.draw(task.domain, "step", random), task.steps[-1])


def _deepen(family: Family, task: Task, random: Random) -> tuple[Step, ...]:
    """One more step and another end."""
    if _is_full(task):
        return _change(family, task, random)
    return (
        *task.steps[:-1],
        family.draw(task.domain, "step", random),
        family.draw(task.domain, "end", random),
    )


def _change(family: Family, task: Task, random: Random) -> tuple[Step, ...]:
    """Another operation in one place."""
    place = random.randrange(len(task.steps))
    drawn = family.draw(task.domain, task.steps[place].operation.kind, random)
    return (*task.steps[:place], drawn, *task.steps[place + 1 :])


def _revalue(family: Family, task: Task, random: Random) -> tuple[Step, ...]:
    """Other values in one place; another operation where none has values."""
    places = [place for place, step in enumerate(task.steps) if step.operation.k or step.operation.letters]
    if not places:
        return _change(family, task, random)
    place = random.choice(places)
    return (*task.steps[:place], draw_values(task.steps[place].operation, random), *task.steps[place + 1 :])


MOVES: dict[str, Move] = {
    "add_constraint": _constrain,
    "rarer_requirement": _change,
    "more_steps": _compose,
    "misleading_code": _revalue,
    "higher_complexity": _deepen,
}
"""Evolution operator → what it does to a problem of this family."""
