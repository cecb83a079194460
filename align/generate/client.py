"""One try at one address, through the `openai` SDK: an `Outcome`, whatever the server and the network do.

Does not try again, and decides nothing: the SDK's own retries and its parsing of answers are off. The API key goes
into the header and nowhere else.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..config import expand
from ..errors import ConfigError
from ..models.entry import Endpoint
from .exchange import SHOWN, TIME_OUT, Outcome, body, estimate, path, read_answer, read_refusal
from .request import Request

CONNECT_SECONDS = 30.0
SPARE = 8
"""Connections beyond those of the requests in flight."""
NO_KEY = "none"
"""Sent where there is no key: the SDK wants one, and must not take `OPENAI_API_KEY` to a server that is not its own."""


class Client:
    """The SDK's client of one base URL. Belongs to the event loop that it is first used in.

    Args:
        entry: the endpoint.
        base_url: one of its addresses, as written there.

    Raises:
        ConfigError: a variable is not set, or the address or the key cannot be one.
    """

    def __init__(self, entry: Endpoint, base_url: str) -> None:
        self.entry = entry
        self.base = address(base_url)
        self.shown = shown(self.base)
        self._key = api_key(entry)
        # here and not above: the SDK takes half a second to import
        import aiohttp
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient, OpenAIError

        # aiohttp's default of 100 connections would be a second limit, below ours
        limits = httpx2.Limits(max_connections=entry.max_concurrency + SPARE, keepalive_expiry=30.0)
        wait = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        http = DefaultAioHttpClient(limits=limits, timeout=wait)
        self._sdk = AsyncOpenAI(base_url=self.base, api_key=self._key, max_retries=0, timeout=wait, http_client=http)
        self._response = httpx2.Response
        # anything else is a fault of ours, and must not look like one of the server's
        self._lost_by = (OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError)

    async def ask(self, request: Request, seconds: float) -> Outcome:
        """Send a request once and wait at most so long for all of its answer."""
        content = body(self.entry, request)
        options: Any = {"headers": {"Content-Type": "application/json"}}
        headers: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(seconds):
                response = await self._sdk.post(path(request), content=content, options=options, cast_to=self._response)
            status, raw = response.status_code, response.content
        except TimeoutError:
            detail = f"no answer in {seconds:g} s"
            return Outcome("again", reason=TIME_OUT, detail=detail, spent=estimate(request))
        except self._lost_by as error:
            status, headers, raw = await _refusal(error)
            if not status:
                return self._lost(error, request)
        return self._scrubbed(read_answer(raw, request) if status == 200 else read_refusal(status, headers, raw))

    async def models(self, seconds: float) -> tuple[int, bytes, str]:
        """What `GET /models` gives: status, body, and where there is no status what went wrong."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._sdk.get("/models", cast_to=self._response)
            return response.status_code, response.content, ""
        except TimeoutError:
            return 0, b"", "time-out"
        except self._lost_by as error:
            status, _, raw = await _refusal(error)
            return status, raw, "" if status else self._scrub(_cause(error))

    async def close(self) -> None:
        """Close its connections."""
        await self._sdk.close()

    def _lost(self, error: Exception, request: Request) -> Outcome:
        """A connection that broke: whether before the request was sent decides whether it may have been paid."""
        detail = self._scrub(_cause(error))
        if _unsent(error):
            return Outcome("unsent", reason="not reached", detail=detail)
        return Outcome("again", reason="connection lost", detail=detail, spent=estimate(request))

    def _scrubbed(self, outcome: Outcome) -> Outcome:
        if not outcome.detail:
            return outcome
        return Outcome(**{**vars(outcome), "detail": self._scrub(outcome.detail)})

    def _scrub(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key != NO_KEY else text


def address(base_url: str) -> str:
    """A base URL with its variables filled in.

    Raises:
        ConfigError: it is none.
    """
    found = expand(base_url).strip().rstrip("/")
    try:
        parts = urlsplit(found)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"base_url {base_url!r} is no address: write http://host:port/v1")
    return found


def shown(base: str) -> str:
    """An address for messages: without a password or a query, which may be secret."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def api_key(entry: Endpoint) -> str:
    """The key from the environment.

    Raises:
        ConfigError: the variable is not set, or its value cannot be sent.
    """
    if entry.api_key is None:
        return NO_KEY
    key = expand(entry.api_key).strip()
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        # the value is not repeated: an error message must not show a key
        raise ConfigError(f"api_key {entry.api_key}: the variable is empty or holds what no key can: set it again")
    return key


async def _refusal(error: Exception) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of an answer that the SDK raised; status 0 where there was none."""
    from openai import APIStatusError

    if not isinstance(error, APIStatusError):
        return 0, {}, b""
    return error.status_code, error.response.headers, error.response.content


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def _unsent(error: Exception) -> bool:
    """Whether no connection was made. The SDK calls resets by the same name, so its causes decide."""
    import aiohttp

    never = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
    return any(isinstance(cause, never) for cause in _chain(error))


def _cause(error: Exception) -> str:
    """The innermost cause that says something, in one line."""
    texts = [" ".join(str(cause).split()) for cause in _chain(error)]
    said = [text for text in texts if text and text != "Connection error."]
    return (said[-1] if said else type(_chain(error)[-1]).__name__)[:SHOWN]
