"""Programs in short: a function `f` with asserts, and a pool with small limits that all tests share."""

from collections.abc import Callable, Iterator

import pytest

from align.execute import Execution, Pool, program_for
from align.schema import Problem

Run = Callable[..., Execution]


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    with Pool(1, isolation="none", timeout=0.4) as shared:
        yield shared


@pytest.fixture
def run(pool: Pool) -> Run:
    """Run one solution on tests: asserts, or a `check` for the entry point `f`."""

    def run_one(code: str, *tests: str, **fields: object) -> Execution:
        problem = Problem.model_validate({"prompt": "Write f.", "entry_point": "f", "tests": list(tests), **fields})
        (found,) = pool.run([program_for(problem, solution=code)])
        return found

    return run_one
