"""A judge behind a server: limits, outages and going on, counted at the server."""

import sys
from pathlib import Path

import pytest

from align.errors import BackendError
from align.generate import generator
from align.models.entry import Endpoint
from align.rank.judge import Judge
from align.rank.protocol import contests
from align.schema import Problem, Response

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from faulty_server import FaultyServer, answer

PROBLEM = Problem(prompt="Write f.")
RESPONSES = [Response(problem_id=PROBLEM.id, text=text, code=text) for text in ("1", "22", "333")]
SAID = {"index": 0, "message": {"role": "assistant", "content": "Both run.\nVerdict: tie"}, "finish_reason": "stop"}


def rank(url, folder, **limits):
    entry = Endpoint(base_url=url, model="m", max_retries=0, **limits)
    judge = Judge(generator(entry, replies=folder), model=entry.model)
    return list(judge.rank(contests([PROBLEM], RESPONSES)))


def test_over_budget_and_down_are_one_line_and_nothing_is_paid_twice(tmp_path):
    with FaultyServer(reply=lambda request: answer(request) | {"choices": [SAID]}) as server:
        with pytest.raises(BackendError, match=r"^[^\n]*max_requests[^\n]*$"):
            rank(server.url, tmp_path, max_requests=3, max_concurrency=1)
        assert len(server.bodies) == 3
        (scores,) = rank(server.url, tmp_path, max_requests=99)
        assert sorted(server.paid.values()) == [1] * 6
    assert set(scores.values.values()) == {0.5}
    # everything is on disk: a server that is gone is not missed
    assert rank(server.url, tmp_path) == [scores]
    with pytest.raises(BackendError, match=r"^[^\n]+$"):
        rank(server.url, tmp_path / "elsewhere")
