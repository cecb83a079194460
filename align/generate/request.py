"""The one protocol of every model that writes text: `generate(requests)` yields replies. Torch-free."""

from collections.abc import Collection, Sequence
from collections.abc import Generator as Generated
from typing import Any, Protocol, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..schema import Finish, Prompt, Record, content_id


class Sampling(Record):
    """How a reply is drawn. Names are transformers'."""

    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=512, gt=0)
    """Longest reply, in tokens."""
    min_new_tokens: int = Field(default=0, ge=0)
    """Before so many tokens neither the end of text nor a stop string ends a reply."""
    stop: list[str] = Field(default_factory=list)
    """Strings that end a reply; they are not part of it."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens: {self.min_new_tokens} is over max_new_tokens {self.max_new_tokens}")
        return self

    @model_serializer(mode="wrap")
    def _dumped(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Left out where there is no least length: ids and cached replies hash what is dumped."""
        found: dict[str, Any] = dump(self)
        if not self.min_new_tokens:
            found.pop("min_new_tokens", None)
        return found


class Request(Record):
    """One question to a model. The same request has the same key everywhere."""

    prompt: Prompt
    """Final text for a completion, or messages for a chat."""
    sampling: Sampling = Sampling()
    seed: int = 0
    """Seed of this request's own sampling noise."""
    purpose: str = "solve"
    """Name of the prompt template that made it: `solve`, `evolve`, `write_tests`, `judge`."""
    fields: dict[str, str] = Field(default_factory=dict)
    """The template's fields; each appears word for word in `prompt`."""

    @property
    def key(self) -> str:
        """Content hash of the request."""
        return content_id(self.model_dump())


class Reply(Record):
    """A model's answer to a request."""

    text: str
    """What it says; empty where there is no answer."""
    finish: Finish = "stop"
    """Why it ended; `error` where there is no answer, and none is to be expected."""
    reasoning: str | None = None
    """Its thinking, which is no part of the answer."""
    usage: dict[str, int] | None = None
    """Tokens: `prompt_tokens`, `completion_tokens`."""
    error: str | None = None
    """What went wrong, where `finish` is `error`."""


Batches = Generated[dict[int, Reply], None, None]
"""Replies by the index of their request, some at a time; closing it ends what still works on the rest."""


class Generator(Protocol):
    """Anything that answers requests."""

    keeps: bool
    """Whether it keeps its replies on disk by itself; otherwise who asks has to."""

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """Answer `requests` in batches: each item maps request indices to replies.

        `done` holds indices answered in an earlier, interrupted call on the same list. Batches are planned
        from the whole list, so that a resumed call gives the same replies; a batch of which everything is
        done is skipped.
        """
        ...
