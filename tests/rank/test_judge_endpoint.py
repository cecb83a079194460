"""A judge behind a server: limits, outages and going on, counted at the server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from align.errors import BackendError
from align.generate import generator
from align.models.entry import Endpoint
from align.rank.judge import Judge
from align.rank.protocol import contests
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Write f.")
RESPONSES = [Response(problem_id=PROBLEM.id, text=text, code=text) for text in ("1", "22", "333")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "judge", "object": "model"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked["messages"][-1]["content"])
        message = {"role": "assistant", "content": "Both run.\nVerdict: tie"}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.answer(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "judge",
                "choices": [choice],
                "usage": usage,
            }
        )

    def answer(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def rank(port, folder, **limits):
    entry = Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="judge", max_retries=0, **limits)
    judge = Judge(generator(entry, replies=folder), model=entry.model)
    return list(judge.rank(contests([PROBLEM], RESPONSES)))


def test_over_budget_and_down_are_one_line_and_nothing_is_paid_twice(server, tmp_path):
    port = server.server_address[1]
    with pytest.raises(BackendError) as caught:
        rank(port, tmp_path, max_requests=3, max_concurrency=1)
    assert "max_requests" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 3
    (scores,) = rank(port, tmp_path, max_requests=99)
    assert len(server.asked) == len(set(server.asked)) == 6
    assert set(scores.values.values()) == {0.5}
    server.shutdown()
    server.server_close()
    # everything is on disk: a server that is gone is not missed
    assert rank(port, tmp_path) == [scores]
    with pytest.raises(BackendError) as caught:
        rank(port, tmp_path / "elsewhere")
    assert "\n" not in str(caught.value)
