"""Write data/offline/{seeds,heldout}.jsonl anew from data/offline/operations.jsonl: the same bytes every time.

    python scripts/make_offline_data.py [FOLDER]

FOLDER (default: data/offline) holds `operations.jsonl`, which is written by hand. Seeds have one or two operations
and no tests. Held-out problems have three, in an order that no evolved problem has, and tests of their own.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from align.generate.family import MAX_OPERATIONS, VARIABLE, Family, Task
from align.generate.offline import WRITTEN, asserts
from align.io import write
from align.schema import Problem

SEEDS, HELD_OUT, EVALUATION_INPUTS = 600, 1000, 24
DOMAINS, SHARES = ("list", "str", "int"), (5, 3, 3)
LICENCE = "Apache-2.0"


def tasks(family: Family, random: Random, sizes: tuple[int, ...]) -> Iterator[Task]:
    """Different tasks of these sizes, none of them vacuous, without end."""
    seen: set[Task] = set()
    while True:
        domain = random.choices(DOMAINS, SHARES)[0]
        steps = [family.draw(domain, "step", random) for _ in range(random.choice(sizes) - 1)]
        task = Task(domain, (*steps, family.draw(domain, "end", random)))  # type: ignore[arg-type]
        if task not in seen and not task.is_vacuous():
            seen.add(task)
            yield task


def seed_problem(task: Task) -> Problem:
    """A problem to evolve from."""
    return Problem(
        prompt=task.text,
        entry_point="f",
        signature=f"def f({VARIABLE[task.domain]}):",
        source="align offline seeds",
        licence=LICENCE,
    )


def held_out_problem(task: Task) -> Problem:
    """A problem to measure with, on other random inputs than those that tests are written for."""
    always = len(task.probes()) + 1
    written = task.inputs(always + 2 * EVALUATION_INPUTS, WRITTEN)[always:]
    drawn = task.inputs(always + 2 * EVALUATION_INPUTS, "held out")
    inputs = [given for given in drawn if given not in written][: always + EVALUATION_INPUTS]
    return seed_problem(task).model_copy(
        update={
            "tests": asserts(task, inputs),
            "reference": task.program() + "\n",
            "source": "align offline held out",
        }
    )


def main(folder: Path) -> None:
    """Write both files."""
    family = Family(folder)
    short = tasks(family, Random("seeds"), (1, 2, 2))
    seeds = [seed_problem(next(short)) for _ in range(SEEDS)]
    long = (task for task in tasks(family, Random("held out"), (MAX_OPERATIONS,)) if task.is_held_out)
    held_out = [held_out_problem(next(long)) for _ in range(HELD_OUT)]
    for name, problems in (("seeds", seeds), ("heldout", held_out)):
        # what has its default value is left out: the files are half as large
        rows = [Problem.model_validate(problem.model_dump(exclude={"id"})) for problem in problems]
        write(folder / f"{name}.jsonl", (row.model_dump(exclude_defaults=True) for row in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "offline")
