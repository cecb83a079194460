"""Limits: nothing is sent that could pass one."""

from typing import Any

import pytest

from align.generate.budget import Budget, Spent, cost
from align.models.entry import Endpoint

PRICES = {"prompt": 1.0, "completion": 10.0}


def budget(spent: Spent = Spent(), **limits: Any) -> Budget:  # noqa: B008
    return Budget(Endpoint(base_url="http://localhost/v1", model="m", **limits), spent)


@pytest.mark.parametrize(
    ("limits", "spent", "said"),
    [
        ({}, Spent(10**9, 10**12, 10**12), None),
        ({"max_requests": 5}, Spent(4), None),
        ({"max_requests": 5}, Spent(5), "max_requests 5"),
        ({"max_tokens": 1000}, Spent(1, 400, 450), None),
        ({"max_tokens": 1000}, Spent(1, 400, 451), "max_tokens 1,000"),
        ({"max_cost": 0.5, "price_per_million": PRICES}, Spent(1, 0, 48_995), None),
        ({"max_cost": 0.5, "price_per_million": PRICES}, Spent(1, 0, 49_995), "max_cost 0.5"),
    ],
)
def test_the_worst_case_of_one_more_has_to_fit(limits: dict[str, Any], spent: Spent, said: str | None) -> None:
    assert budget(spent, **limits).lacks(Spent(1, 50, 100)) == said


def test_what_is_in_flight_counts_at_its_worst_until_it_is_settled() -> None:
    found, most = budget(max_tokens=250), Spent(1, 50, 100)
    found.reserve(most)
    assert found.lacks(most) == "max_tokens 250"
    found.settle(most, Spent(1, 20, 10))
    assert found.lacks(most) is None
    assert (found.spent, found.reserved) == (Spent(1, 20, 10), Spent())


def test_only_a_greater_reservation_is_told() -> None:
    told: list[Spent] = []
    found = Budget(Endpoint(base_url="http://localhost/v1", model="m"), Spent(), told.append)
    for _ in range(3):
        found.reserve(Spent(1, 10, 10))
        found.settle(Spent(1, 10, 10), Spent(1, 1, 1))
    found.reserve(Spent(1, 5, 20))
    assert told == [Spent(1, 10, 10), Spent(1, 10, 20)]


def test_cost_is_that_of_the_prices() -> None:
    entry = Endpoint(base_url="http://localhost/v1", model="m", price_per_million=PRICES)
    assert cost(entry, Spent(3, 1_000_000, 200_000)) == pytest.approx(3.0)
    assert cost(budget().entry, Spent(3, 1, 1)) is None
