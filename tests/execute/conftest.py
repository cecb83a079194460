"""Programs in short: a function `f` with asserts, and pools with small limits that all tests share.

Tests that ask for `run` run at every isolation level that this machine gives; `level` says which.
"""

from collections.abc import Callable, Iterator

import pytest

from align.execute import Execution, Pool, program_for
from align.execute.isolation import probe
from align.schema import Isolation, Problem

Run = Callable[..., Execution]


@pytest.fixture(scope="session", params=["A", "B", "none"])
def level(request: pytest.FixtureRequest) -> Isolation:
    if why_not := probe(request.param):
        pytest.skip(f"no isolation {request.param} here: {why_not}")
    return request.param


@pytest.fixture(scope="session")
def pool(level: Isolation) -> Iterator[Pool]:
    with Pool(1, isolation=level, timeout=0.4) as shared:
        yield shared


@pytest.fixture
def run(pool: Pool) -> Run:
    """Run one solution on tests: asserts, or a `check` for the entry point `f`."""

    def run_one(code: str, *tests: str, **fields: object) -> Execution:
        problem = Problem.model_validate({"prompt": "Write f.", "entry_point": "f", "tests": list(tests), **fields})
        (found,) = pool.run([program_for(problem, solution=code)])
        return found

    return run_one
