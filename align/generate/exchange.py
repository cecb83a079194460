"""One exchange with an OpenAI-compatible server: the body that is sent, and what the answer to it means.

Every answer has one of the fates of `Fate`. Pure functions: nothing is sent here, and nothing kept. An answer's text
is as it was received: thinking that the server did not set apart is in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from ..models.entry import Endpoint
from ..schema import Finish, content_id
from .budget import Spent
from .request import Reply, Request

Fate = Literal["answered", "again", "refused", "unsent", "fatal"]
"""`answered`: for good, and paid. `again`: may pass, try again. `refused`: this request will never be answered.
`unsent`: the server was not reached, so nothing was asked. `fatal`: no request will be answered."""

NOT_IMPLEMENTED = 501
"""What a server of files says to a question: that does not pass."""
PASSING = {408, 409, 425, 429}
"""Refusals that may pass, beside 5xx."""
FINISHES: dict[Any, Finish] = {"length": "length", "max_tokens": "length", "content_filter": "error"}
"""A server's `finish_reason` → ours; any other one is `stop`."""
FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
"""Codes of a 400 that says that a filter withheld the answer."""
BROKE = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that no waiting cures."""
SLACK = 100_000
"""Tokens beyond what was sent or allowed that a server may yet count: templates, hidden thinking. More is absurd."""
TIME_OUT = "time-out"
"""The reason of a try that took too long."""
SHOWN = 200
"""Characters of a server's message that are shown."""


@dataclass(frozen=True)
class Outcome:
    """What became of one try."""

    fate: Fate
    reply: Reply | None = None
    """The answer, where it is one."""
    reason: str = ""
    """Why not, in a word or a status: what failures are counted by."""
    detail: str = ""
    """What the server said."""
    retry_after: float | None = None
    """Seconds that the server wants to be left alone."""
    busy: bool = False
    """Whether it had too much to do."""
    spent: Spent = field(default_factory=lambda: Spent(requests=1))


def reply_key(entry: Endpoint, request: Request) -> str:
    """What the model is asked, as a hash: how the request was made and where the model is served are no part of it."""
    asked = request.model_dump(include={"prompt", "sampling", "seed"})
    return content_id([entry.model, entry.extra_body, asked])


def path(request: Request) -> str:
    """The address below the base: chat for messages, plain completions for text."""
    return "/completions" if isinstance(request.prompt, str) else "/chat/completions"


def body(entry: Endpoint, request: Request) -> bytes:
    """The JSON that is sent. ASCII: half a surrogate pair goes as its escape."""
    sampling = request.sampling
    value: dict[str, Any] = {"model": entry.model}
    if isinstance(request.prompt, str):
        value["prompt"] = request.prompt
    else:
        value["messages"] = [{"role": turn.role, "content": turn.content} for turn in request.prompt]
    value |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
    value[entry.token_limit_key] = sampling.max_new_tokens
    if sampling.stop:
        value["stop"] = sampling.stop
    if entry.send_seed:
        value["seed"] = request.seed
    return json.dumps(value | entry.extra_body).encode()


def worst(request: Request) -> Spent:
    """The most that a try can cost: no token of a prompt is shorter than a byte."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) + 16 for text in _texts(request))
    return Spent(1, size, request.sampling.max_new_tokens)


def estimate(request: Request) -> Spent:
    """What a try is taken to cost where the server does not tell: three characters a token, and the longest answer."""
    return Spent(1, -(-sum(map(len, _texts(request))) // 3), request.sampling.max_new_tokens)


def read_answer(raw: bytes, request: Request) -> Outcome:
    """What an answer with status 200 means.

    A body that is no JSON, has no choices or holds an error is asked again. An empty answer is an answer. Calls of
    tools, and thinking that ends without an answer, are answers with `finish: error`: to ask again would cost again.
    An answer cut inside the thinking has no text and `finish: length`.
    """
    value = _json(raw)
    if not isinstance(value, dict):
        what = "HTML" if raw.lstrip()[:1] == b"<" else "no JSON, or cut"
        return Outcome("again", reason="damaged answer", detail=what, spent=estimate(request))
    usage = read_usage(value.get("usage"), request)
    spent = Spent(1, usage["prompt_tokens"], usage["completion_tokens"]) if usage else estimate(request)
    if isinstance(value.get("error"), dict) or "choices" not in value:
        return Outcome("again", reason="error in the answer", detail=_message(value)[1], spent=spent)
    choices = value["choices"]
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        return Outcome("again", reason="no choices", spent=spent)
    reply = _reply(choices[0], isinstance(request.prompt, str), usage)
    if reply is None:
        return Outcome("again", reason="damaged answer", detail="a choice without a message", spent=spent)
    return Outcome("answered", reply, spent=spent)


def read_refusal(status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
    """What an answer with another status means."""
    code, message = _message(_json(raw))
    if not message:
        html = raw.lstrip()[:1] == b"<"
        message = "HTML" if html else " ".join(raw[: 4 * SHOWN].decode("utf-8", "replace").split())[:SHOWN]
    if status in (401, 402, 403) or (status == 429 and code in BROKE):
        return Outcome("fatal", reason=str(status), detail=message)
    if status in PASSING or (status >= 500 and status != NOT_IMPLEMENTED):
        wait, busy = retry_after(headers), status in (429, 503, 529)
        return Outcome("again", reason=str(status), detail=message, retry_after=wait, busy=busy)
    if any(word in FILTERED for word in (code, *_inner_codes(_json(raw)))):
        return Outcome("answered", Reply(text="", finish="error", error="content_filter"))
    return Outcome("refused", reason=str(status), detail=message)


def read_usage(value: Any, request: Request) -> dict[str, int] | None:
    """The tokens that a server counted; None where that cannot be."""
    if not isinstance(value, dict):
        return None
    most = worst(request)
    found = {}
    for name, bound in (("prompt_tokens", most.prompt_tokens), ("completion_tokens", most.completion_tokens)):
        count = value.get(name)
        if type(count) is not int or not 0 <= count <= bound + SLACK:
            return None
        found[name] = count
    return found if found["prompt_tokens"] else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds in `retry-after-ms` or `Retry-After`, which may be a date; None where there is neither."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text)
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _until(text: str) -> float:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return -1.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _reply(choice: dict[str, Any], plain: bool, usage: dict[str, int] | None) -> Reply | None:
    """The reply in a choice; None where there is none."""
    reason = choice.get("finish_reason")
    finish = FINISHES.get(reason, "stop") if isinstance(reason, str) else "stop"
    if reason == "content_filter":
        return Reply(text="", finish="error", error="content_filter", usage=usage)
    message = choice if plain else choice.get("message")
    if not isinstance(message, dict):
        return None
    text, thought = message.get("text" if plain else "content"), None if plain else _reasoning(message)
    if not (text is None or isinstance(text, str)) or (plain and text is None):
        return None
    if text or finish == "length":
        return Reply(text=text or "", finish=finish, reasoning=thought, usage=usage)
    if message.get("tool_calls") or message.get("function_call"):
        return Reply(text="", finish="error", error="a call of a tool, and no text", reasoning=thought, usage=usage)
    if thought:
        return Reply(text="", finish="error", error="no answer after the thinking", reasoning=thought, usage=usage)
    return Reply(text="", finish=finish, usage=usage) if text is not None or "content" in message else None


def _reasoning(message: dict[str, Any]) -> str | None:
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str) and message[name]:
            return str(message[name])
    return None


def _texts(request: Request) -> list[str]:
    return [request.prompt] if isinstance(request.prompt, str) else [turn.content for turn in request.prompt]


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _message(value: Any) -> tuple[str, str]:
    """The code and the message of an error, in one line; empty where there is none."""
    error = value.get("error", value) if isinstance(value, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        return "", ""
    code = error.get("code") or error.get("type")
    message = error.get("message") or error.get("detail") or ""
    return str(code or ""), " ".join(str(message).split())[:SHOWN]


def _inner_codes(value: Any) -> list[str]:
    """Azure puts the filter's code one level down."""
    error = value.get("error") if isinstance(value, dict) else None
    inner = error.get("innererror") if isinstance(error, dict) else None
    return [str(inner.get("code"))] if isinstance(inner, dict) else []
