"""What the tests of endpoints ask, and how."""

from typing import Any

import pytest
from faulty_server import FaultyServer, says

from align.errors import AlignError
from align.generate import Reply, Request, Sampling
from align.generate.endpoint import EndpointGenerator
from align.models.entry import Endpoint
from align.schema import Message


def chat(word: str, **more: Any) -> Request:
    return Request(prompt=[Message(role="user", content=word)], sampling=Sampling(max_new_tokens=100), **more)


def chats(count: int) -> list[Request]:
    return [chat(f"question {index}") for index in range(count)]


def entry(server: FaultyServer | str, **more: Any) -> Endpoint:
    url = server if isinstance(server, str) else server.url
    return Endpoint(**{"base_url": url, "model": "m", "request_timeout": 5.0, **more})


def ask(generator: EndpointGenerator, requests: list[Request]) -> list[Reply]:
    found: dict[int, Reply] = {}
    for batch in generator.generate(requests):
        assert not found.keys() & batch.keys()
        found |= batch
    return [found[index] for index in range(len(requests))]


def error(generator: EndpointGenerator, requests: list[Request]) -> AlignError:
    with pytest.raises(AlignError) as caught:
        ask(generator, requests)
    assert "\n" not in str(caught.value)
    return caught.value


def text(request: Request) -> str:
    assert not isinstance(request.prompt, str)
    turns = [turn.model_dump() for turn in request.prompt]
    return says({"messages": turns, "seed": request.seed})
