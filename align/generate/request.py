"""The one protocol of every model that writes text: `generate(requests)` yields replies. Torch-free."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from pydantic import Field

from ..schema import Finish, Prompt, Record, content_id


class Sampling(Record):
    """How a reply is drawn. Names are transformers'."""

    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    max_new_tokens: int = Field(default=512, gt=0)
    """Longest reply, in tokens."""
    stop: list[str] = Field(default_factory=list)
    """Strings that end a reply; they are not part of it."""


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
    finish: Finish = "stop"
    reasoning: str | None = None
    usage: dict[str, int] | None = None


class Generator(Protocol):
    """Anything that answers requests."""

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Iterator[dict[int, Reply]]:
        """Answer `requests` in batches: each item maps request indices to replies.

        `done` holds indices answered in an earlier, interrupted call on the same list. Batches are planned
        from the whole list, so that a resumed call gives the same replies; a batch of which everything is
        done is skipped.
        """
        ...
