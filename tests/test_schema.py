import pytest
from pydantic import ValidationError

from align.schema import Problem, RankedGroup, Response


def test_the_id_hashes_what_identifies_a_problem_and_nothing_else():
    problem = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"])
    assert len(problem.id) == 16
    assert Problem(**{**problem.model_dump(), "source": "elsewhere", "licence": "MIT"}).id == problem.id
    assert Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 4"]).id != problem.id


def test_an_id_of_the_users_own_rides_along_in_meta():
    problem = Problem(id="mine-7", prompt="Add.")
    assert problem.id != "mine-7"
    assert problem.meta == {"id": "mine-7"}
    assert Problem.model_validate_json(problem.model_dump_json()) == problem


def test_usage_is_not_part_of_a_responses_id():
    one = Response(problem_id="p", text="x", usage={"completion_tokens": 3})
    assert one.id == Response(problem_id="p", text="x").id
    assert one.id != Response(problem_id="p", text="x", sample_index=1).id


def test_records_refuse_unknown_fields_and_wrong_types():
    with pytest.raises(ValidationError):
        Problem(prompt="p", promt="q")
    with pytest.raises(ValidationError):
        Response(problem_id="p", text="x", sample_index="1")


def test_a_group_with_lists_of_unequal_length_is_refused():
    with pytest.raises(ValidationError, match="scores has 1 entries for 2 responses"):
        RankedGroup(
            problem_id="p", prompt="q", responses=["a", "b"], scores=[1.0], roles=["student"] * 2, models=["m"] * 2
        )
