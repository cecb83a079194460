"""What an answer of a server means: each odd one has a fate."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from align.errors import ConfigError
from align.generate import Reply, Request, Sampling
from align.generate.budget import Spent
from align.generate.client import address, api_key, shown
from align.generate.exchange import body, read_answer, read_refusal, read_usage, reply_key, retry_after, worst
from align.models.entry import Endpoint
from align.schema import Message

REQUEST = Request(prompt=[Message(role="user", content="ask")], sampling=Sampling(max_new_tokens=100))
ENTRY = Endpoint(base_url="http://localhost/v1", model="m")


def choice(message: Any, finish: Any = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], **more}).encode()


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (choice({"content": "yes"}), Reply(text="yes")),
        (choice({"content": ""}), Reply(text="")),
        (choice({"content": None}), Reply(text="")),
        (choice({"content": "yes"}, None), Reply(text="yes")),
        (choice({"content": "cu"}, "length"), Reply(text="cu", finish="length")),
        (choice({"content": "no"}, "content_filter"), Reply(text="", finish="error", error="content_filter")),
        (choice({"content": "a", "reasoning_content": "hm"}), Reply(text="a", reasoning="hm")),
        (choice({"content": "a", "reasoning": "hm"}), Reply(text="a", reasoning="hm")),
        (choice({"content": None, "reasoning": "hm"}, "length"), Reply(text="", finish="length", reasoning="hm")),
        (
            choice({"content": None, "reasoning": "hm"}),
            Reply(text="", finish="error", error="no answer after the thinking", reasoning="hm"),
        ),
        (
            choice({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"),
            Reply(text="", finish="error", error="a call of a tool, and no text"),
        ),
    ],
)
def test_an_answer_is_read(raw: bytes, reply: Reply) -> None:
    outcome = read_answer(raw, REQUEST)
    assert (outcome.fate, outcome.reply) == ("answered", reply)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html></html>",
        b'{"choices": [{"message"',
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [3]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"error": {"message": "upstream", "code": 502}}',
        b"[" * 200_000,
        b'{"choices": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_a_damaged_answer_is_asked_again_and_may_have_been_paid(raw: bytes) -> None:
    outcome = read_answer(raw, REQUEST)
    assert outcome.fate == "again"
    assert outcome.reason
    assert outcome.spent == Spent(1, 1, 100)


@pytest.mark.parametrize(
    ("status", "error", "fate"),
    [
        (400, {"message": "too long"}, "refused"),
        (404, {"message": "no"}, "refused"),
        (422, {"message": "no"}, "refused"),
        (400, {"code": "content_filter"}, "answered"),
        (400, {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "answered"),
        (401, {"message": "who"}, "fatal"),
        (402, {"message": "pay"}, "fatal"),
        (429, {"code": "insufficient_quota"}, "fatal"),
        (429, {"message": "slow"}, "again"),
        (408, {}, "again"),
        (409, {}, "again"),
        (500, {}, "again"),
        (529, {}, "again"),
    ],
)
def test_a_refusal_has_a_fate(status: int, error: Any, fate: str) -> None:
    outcome = read_refusal(status, {}, json.dumps({"error": error}).encode())
    assert outcome.fate == fate
    assert outcome.spent.tokens == 0


def test_a_refusal_that_is_a_page_is_told_in_a_word() -> None:
    assert read_refusal(502, {}, b"<html>" + b"x" * 10**6).detail == "HTML"
    assert len(read_refusal(500, {}, b"line\n" * 10**5).detail) <= 200
    assert "\n" not in read_refusal(500, {}, b'{"error": {"message": "two\\nlines"}}').detail


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, {"prompt_tokens": 3, "completion_tokens": 0}),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": 0, "completion_tokens": 3}, None),
        ({"prompt_tokens": -3, "completion_tokens": 3}, None),
        ({"prompt_tokens": 3.5, "completion_tokens": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": "3", "completion_tokens": 3}, None),
        ({"prompt_tokens": 3, "completion_tokens": 10**12}, None),
        ([3, 3], None),
        (None, None),
    ],
)
def test_usage_that_cannot_be_is_none(value: Any, usage: Any) -> None:
    assert read_usage(value, REQUEST) == usage


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after({"retry-after": later}) == pytest.approx(60, abs=2)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_the_key_is_of_what_the_model_is_asked_and_of_nothing_else() -> None:
    same = REQUEST.model_copy(update={"purpose": "evolve", "fields": {"a": "b"}})
    elsewhere = ENTRY.model_copy(update={"base_url": "http://there/v1", "max_concurrency": 3, "send_seed": False})
    assert reply_key(ENTRY, REQUEST) == reply_key(elsewhere, same)
    others = [
        reply_key(ENTRY, REQUEST.model_copy(update={"seed": 1})),
        reply_key(ENTRY, REQUEST.model_copy(update={"sampling": Sampling(temperature=0.5)})),
        reply_key(ENTRY, REQUEST.model_copy(update={"prompt": "ask"})),
        reply_key(ENTRY.model_copy(update={"model": "n"}), REQUEST),
        reply_key(ENTRY.model_copy(update={"extra_body": {"top_k": 1}}), REQUEST),
    ]
    assert len({reply_key(ENTRY, REQUEST), *others}) == 6


def test_what_is_sent_is_what_the_entry_says() -> None:
    entry = ENTRY.model_copy(update={"token_limit_key": "max_completion_tokens", "send_seed": False})
    sent = json.loads(body(entry, REQUEST))
    assert sent["max_completion_tokens"] == 100
    assert "seed" not in sent
    assert "stop" not in sent


def test_no_prompt_has_more_tokens_than_is_reserved_for_it() -> None:
    request = Request(prompt="日本\ud800語" * 10)
    assert worst(request).prompt_tokens >= len(("日本語" * 10).encode())


def test_an_address_is_shown_without_what_may_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "https://me:secret@host:8000/v1/?token=secret")
    found = address("${PLACE}")
    assert shown(found) == "https://host:8000/v1/"
    for wrong in ("host:8000/v1", "ftp://host", "http://", "http://host:99999/v1", "http://[::1"):
        with pytest.raises(ConfigError, match="is no address"):
            address(wrong)


def test_a_key_that_cannot_be_sent_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ENTRY.model_copy(update={"api_key": "${A_KEY}"})
    for wrong in ("", "  ", "ключ", "a b"):
        monkeypatch.setenv("A_KEY", wrong)
        with pytest.raises(ConfigError, match=r"\$\{A_KEY\}") as caught:
            api_key(entry)
        assert "ключ" not in str(caught.value)
