"""Endpoints: every request is answered once, whatever the server and the user do; limits hold; no key is shown."""

import sys
from pathlib import Path
from typing import Any

import pytest

from align.errors import BackendError, ConfigError, DataError
from align.generate import Reply, Request, Sampling
from align.generate.endpoint import EndpointGenerator

sys.path.insert(0, str(Path(__file__).parent))
from asking import ask, chat, chats, entry, error, text
from faulty_server import FaultyServer, asked, no_server, says

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("align.generate.dispatch.BACKOFF_LEAST", 0.01)
    monkeypatch.setattr("align.generate.traffic.REST_LEAST", 0.05)


def test_chats_and_completions_are_answered_in_their_place(tmp_path: Path) -> None:
    plain = Request(prompt="def f(", sampling=Sampling(stop=["\n"], temperature=0.5), seed=7)
    with FaultyServer() as server:
        replies = ask(EndpointGenerator(entry(server, extra_body={"top_k": 20}), tmp_path), [*chats(3), plain])
    assert [reply.text for reply in replies[:3]] == [text(request) for request in chats(3)]
    assert replies[3].text == says({"prompt": "def f(", "seed": 7})
    sent = next(body for body in server.bodies if "prompt" in body)
    assert sent == {
        "model": "m",
        "prompt": "def f(",
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 512,
        "stop": ["\n"],
        "seed": 7,
        "top_k": 20,
    }


def test_a_least_length_is_sent_only_where_the_entry_says_that_the_server_takes_it(tmp_path: Path) -> None:
    request = Request(prompt="a", sampling=Sampling(min_new_tokens=8))
    with FaultyServer() as server:
        with pytest.raises(ConfigError, match=r"min_new_tokens 8: .*extra_body: \{min_tokens: 8\}"):
            ask(EndpointGenerator(entry(server), tmp_path), [request])
        assert not server.bodies
        ask(EndpointGenerator(entry(server, extra_body={"min_tokens": 8}), tmp_path), [request])
        assert [body["min_tokens"] for body in server.bodies] == [8]


def test_what_is_kept_is_not_asked_again_and_equal_requests_are_asked_once(tmp_path: Path) -> None:
    requests = [*chats(5), *chats(5), chat("question 0", seed=1)]
    with FaultyServer() as server:
        first = ask(EndpointGenerator(entry(server), tmp_path), requests)
        # how a request was made is no part of what the model is asked
        again = [request.model_copy(update={"purpose": "evolve", "fields": {"a": "b"}}) for request in requests]
        assert ask(EndpointGenerator(entry(server, max_concurrency=1), tmp_path), again) == first
        other = EndpointGenerator(entry(server, extra_body={"top_k": 1}), tmp_path)
        ask(other, requests[:1])
    assert first[:5] == first[5:10]
    assert sorted(server.attempts.values()) == [1] * 5 + [2]
    assert other.counts()["answered"] == 1


@pytest.mark.parametrize(
    "fault", ["429", "429_date", "500", "503", "reset", "cut", "malformed", "html", "empty", "error_in_200", "slow"]
)
def test_a_fault_that_passes_is_tried_again(fault: str, tmp_path: Path) -> None:
    with FaultyServer(plan=lambda _, attempt: fault if attempt < 2 else None) as server:
        generator = EndpointGenerator(entry(server, request_timeout=0.4), tmp_path)
        replies = ask(generator, chats(3))
    assert [reply.text for reply in replies] == [text(request) for request in chats(3)]
    assert set(server.attempts.values()) == {3}
    assert sum(generator.figures.retried.values()) == 6
    assert generator.counts()["tries"] == 9


@pytest.mark.parametrize("status", ["400", "404", "413", "422"])
def test_a_refused_request_is_given_up_at_once_and_asked_again_in_a_later_run(status: str, tmp_path: Path) -> None:
    def plan(request: dict[str, Any], _: int) -> str | None:
        return status if "question 3" in asked(request) else None

    with FaultyServer(plan=plan) as server:
        replies = ask(EndpointGenerator(entry(server, allowed_failures=0.2), tmp_path), chats(5))
        assert replies[3] == Reply(text="", finish="error", error=f"{status}: a fault: {status}")
        assert all(reply.finish == "stop" for reply in replies[:3])
        server.plan = lambda *_: None
        assert ask(EndpointGenerator(entry(server), tmp_path), chats(5))[3].text == text(chats(5)[3])
    assert max(server.paid.values()) == 1


def test_a_filtered_answer_is_an_answer(tmp_path: Path) -> None:
    with FaultyServer(plan=lambda *_: "filter") as server:
        for _ in range(2):
            replies = ask(EndpointGenerator(entry(server), tmp_path), chats(2))
            assert {(reply.finish, reply.error) for reply in replies} == {("error", "content_filter")}
    assert set(server.attempts.values()) == {1}


def test_too_many_failures_stop_the_run_in_order_and_the_rest_is_kept(tmp_path: Path) -> None:
    def plan(request: dict[str, Any], _: int) -> str | None:
        return "500" if "7" in asked(request) else None

    with FaultyServer(plan=plan, delay=0.02) as server:
        options = {"max_retries": 1, "max_concurrency": 4}
        found = error(EndpointGenerator(entry(server, **options), tmp_path, "models.teacher"), chats(100))
        assert isinstance(found, BackendError)
        assert "models.teacher (m): 2 of 100 requests have no answer (2 × 500; the last: 500: a fault: 500)" in str(
            found
        )
        assert "run again to go on" in str(found)
        kept = int(str(found).split("0.01: ")[1].split(" of")[0])
        assert kept == server.paid.total() < 81
        server.plan = lambda *_: None
        ask(EndpointGenerator(entry(server, **options), tmp_path), chats(100))
    assert set(server.paid.values()) == {1}


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_requests": 20}, "max_requests 20 reached: 20 of 50"),
        ({"max_tokens": 600}, "max_tokens 600 reached"),
        ({"max_cost": 0.002, "price_per_million": {"prompt": 0.0, "completion": 10.0}}, "max_cost 0.002 reached"),
    ],
)
def test_a_limit_is_never_passed_over_restarts_either(limit: dict[str, Any], message: str, tmp_path: Path) -> None:
    def usage(request: dict[str, Any]) -> dict[str, Any]:
        return {
            "choices": [{"message": {"content": says(request)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 10},
        }

    with FaultyServer(reply=usage, delay=0.01) as server:
        asks = EndpointGenerator(entry(server, **limit), tmp_path)
        assert message in str(error(asks, chats(50)))
        sent = len(server.bodies)
        tokens = 15 * sent
        assert sent <= 20 if "max_requests" in limit else tokens <= 600 or 1e-4 * sent <= 0.002
        # the worst case of one more must not have fitted
        assert sent >= 9
        assert message.split(":")[0] in str(error(EndpointGenerator(entry(server, **limit), tmp_path), chats(50)))
        assert len(server.bodies) == sent
        ask(EndpointGenerator(entry(server), tmp_path), chats(50))
    assert set(server.paid.values()) == {1}


def test_tries_that_failed_count_towards_a_limit(tmp_path: Path) -> None:
    with FaultyServer(plan=lambda *_: "500") as server:
        options = {"max_requests": 10, "max_retries": 100, "total_timeout": 60.0}
        for _ in range(2):
            assert "max_requests 10 reached" in str(
                error(EndpointGenerator(entry(server, **options), tmp_path), chats(3))
            )
    assert len(server.bodies) == 10


def test_nonsense_about_usage_is_left_out_and_counted_at_its_most(tmp_path: Path) -> None:
    with FaultyServer() as server:
        generator = EndpointGenerator(entry(server), tmp_path)
        replies = ask(generator, chats(100))
    odd = [reply for reply in replies if reply.usage is None]
    assert 0 < len(odd) < 50
    assert all(reply.usage == {"prompt_tokens": 10, "completion_tokens": 5} for reply in replies if reply.usage)
    assert generator.counts()["completion_tokens"] == 100 * len(odd) + 5 * (100 - len(odd))


@pytest.mark.parametrize(
    ("options", "models", "message"),
    [
        ({"model": "n"}, (200, {"data": [{"id": "m"}]}), r"has no model 'n': expected one of: m"),
        ({"model": "my-model"}, (200, {"data": [{"id": "my-modle"}]}), r"did you mean 'my-modle'\?"),
        ({}, (404, {"detail": "Not Found"}), r"answers 404 \(a fault: 404\): mend `base_url`"),
        ({}, (200, b"<html>hello</html>"), r"/v1/models gives a web page: mend base_url"),
        ({}, (200, {"hello": "world"}), r"/v1/models gives no list of models: mend base_url"),
        ({}, (401, {"error": "no"}), r"answers 401 to the key: give the entry an `api_key"),
    ],
)
def test_a_wrong_entry_is_one_line_before_anything_is_paid(
    options: dict[str, Any], models: Any, message: str, tmp_path: Path
) -> None:
    with FaultyServer(models=models, plan=lambda *_: "404") as server, pytest.raises(ConfigError, match=message):
        ask(EndpointGenerator(entry(server, **options), tmp_path), chats(30))
    assert len(server.bodies) <= 1
    assert not server.paid


@pytest.mark.parametrize("models", [(404, {}), (405, {}), (501, {}), (403, {}), (500, {}), (200, {"data": []})])
def test_a_server_without_a_list_of_models_is_asked(models: Any, tmp_path: Path) -> None:
    with FaultyServer(models=models) as server:
        assert ask(EndpointGenerator(entry(server), tmp_path), chats(3))[0].text == text(chats(1)[0])


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with no_server() as url:
        assert "cannot be reached" in str(error(EndpointGenerator(entry(url), tmp_path), chats(3)))
    unknown = EndpointGenerator(entry("http://no-such-host.invalid/v1"), tmp_path)
    assert "no-such-host.invalid/v1 cannot be reached" in str(error(unknown, chats(3)))
    assert "is no address" in str(error(EndpointGenerator(entry("localhost:8000/v1"), tmp_path), chats(3)))


def test_money_that_has_run_out_stops_the_run(tmp_path: Path) -> None:
    with FaultyServer(plan=lambda *_: "quota") as server:
        assert "no credit left" in str(error(EndpointGenerator(entry(server, max_concurrency=2), tmp_path), chats(30)))
    assert len(server.bodies) <= 3


def test_the_key_is_sent_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A_KEY", SECRET + "\n")
    options = {"api_key": "${A_KEY}"}
    with FaultyServer(key=SECRET) as server:
        ask(EndpointGenerator(entry(server, **options), tmp_path), chats(3))
    # this server repeats the key that it refuses
    with FaultyServer(key="another", models=(404, {})) as server:
        found = error(EndpointGenerator(entry(server, **options), tmp_path), chats(5))
    assert "401" in str(found)
    assert "${A_KEY}" in str(found)
    assert SECRET not in repr(found) + "".join(capfd.readouterr())
    assert all(SECRET not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    monkeypatch.setenv("A_KEY", "two words")
    found = error(EndpointGenerator(entry(server, **options), tmp_path), chats(5))
    assert "two words" not in str(found)
    monkeypatch.delenv("A_KEY")
    assert "A_KEY is not set" in str(error(EndpointGenerator(entry(server, **options), tmp_path), chats(5)))


def test_an_address_that_is_down_leaves_its_share_to_the_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with no_server() as url, FaultyServer() as server:
        generator = EndpointGenerator(entry(server, base_url=[url, server.url]), tmp_path)
        assert [reply.text for reply in ask(generator, chats(20))] == [text(request) for request in chats(20)]
        assert generator.counts()["tries"] == 20
    assert "the others are asked" in capfd.readouterr().err


def test_a_slow_address_gets_less(tmp_path: Path) -> None:
    with FaultyServer(delay=0.5) as slow, FaultyServer(delay=0.02) as fast:
        options = {"base_url": [slow.url, fast.url], "max_concurrency": 4}
        ask(EndpointGenerator(entry(slow, **options), tmp_path), chats(100))
    assert len(slow.bodies) < 20
    assert slow.paid.total() + fast.paid.total() == 100


def test_a_server_that_goes_away_for_good_stops_the_run_in_order(tmp_path: Path) -> None:
    generator: EndpointGenerator
    with FaultyServer(delay=0.05) as server:
        generator = EndpointGenerator(entry(server, max_concurrency=2, total_timeout=1.0), tmp_path)
        replies = generator.generate(chats(50))
        next(replies)
    with pytest.raises(BackendError, match=r"not reached for 1 s .* of 50 requests are answered and kept|no answer"):
        list(replies)


def test_concurrency_follows_what_the_server_bears(tmp_path: Path) -> None:
    with FaultyServer(capacity=8, delay=0.03) as server:
        generator = EndpointGenerator(entry(server, max_concurrency=64), tmp_path)
        ask(generator, chats(400))
    assert server.most_at_once > 8
    # asked blindly, 64 at once would be refused many times for each answer
    assert generator.figures.retried["429"] < 200
    assert set(server.paid.values()) == {1}


def test_closing_the_generator_sends_nothing_more_and_keeps_what_is_in_flight(tmp_path: Path) -> None:
    with FaultyServer(delay=0.1) as server:
        generator = EndpointGenerator(entry(server, max_concurrency=4), tmp_path)
        replies = generator.generate(chats(50))
        next(replies)
        replies.close()
        assert server.paid.total() == len(server.bodies) < 15
        ask(generator, chats(50))
    assert set(server.paid.values()) == {1}


def test_a_second_process_is_told_that_the_first_is_there(tmp_path: Path) -> None:
    with FaultyServer(delay=0.1) as server:
        first = EndpointGenerator(entry(server, max_concurrency=1), tmp_path).generate(chats(10))
        next(first)
        with pytest.raises(DataError, match="another process asks this model"):
            ask(EndpointGenerator(entry(server), tmp_path), chats(10))
        assert len(list(first)) > 0


def test_it_works_under_a_running_loop_and_without_a_folder() -> None:
    import asyncio

    with FaultyServer() as server:
        generator = EndpointGenerator(entry(server))

        async def inside() -> list[Reply]:
            return ask(generator, chats(3))

        assert asyncio.run(inside())[0].text == text(chats(1)[0])
        ask(generator, chats(3))
    assert set(server.paid.values()) == {1}


def test_odd_text_goes_through_and_comes_back(tmp_path: Path) -> None:
    def odd(_: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"message": {"content": "a\ud800\0b" + "x" * 10**6}, "finish_reason": "stop"}]}

    request = chat("half \ud800 pair \0 and\u2028more")
    with FaultyServer(reply=odd) as server:
        first = ask(EndpointGenerator(entry(server), tmp_path), [request])
        assert ask(EndpointGenerator(entry(server), tmp_path), [request]) == first
    assert first[0].text == "a\ud800\0b" + "x" * 10**6
    assert server.bodies[0]["messages"][0]["content"] == "half \ud800 pair \0 and\u2028more"


@pytest.mark.parametrize("status", ["405", "501"])
def test_a_server_that_takes_no_questions_stops_the_run_at_once(status: str, tmp_path: Path) -> None:
    with FaultyServer(plan=lambda *_: status, models=(404, {})) as server:
        found = error(EndpointGenerator(entry(server), tmp_path), chats(50))
    assert f"answers {status}" in str(found)
    assert "mend `base_url`" in str(found)
    assert sum(server.attempts.values()) == 1


def test_a_fault_of_ours_is_raised_and_not_taken_for_the_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("align.generate.client.body", lambda entry, request: 1 / 0)
    with FaultyServer() as server, pytest.raises(ZeroDivisionError):
        ask(EndpointGenerator(entry(server), tmp_path), chats(3))
    monkeypatch.undo()
    monkeypatch.setattr("openai.AsyncOpenAI.post", lambda *_, **__: 1 / 0)
    with FaultyServer() as server, pytest.raises(ZeroDivisionError):
        ask(EndpointGenerator(entry(server), tmp_path), chats(3))
