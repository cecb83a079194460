"""What generators with weights share: requests become ids and batches, a batch is the unit of resume.

Text is completed as it stands; messages go through the tokenizer's chat template. Runs no model: `hf`, `vllm` and
`ctranslate2` do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from ..errors import ConfigError, DataError
from ..models.chain import is_converted
from ..models.entry import Weights
from ..schema import Prompt
from .request import Batches, Reply, Request
from .thinking import OPEN

TAIL = 16
"""Tokens at a prompt's end in which a template's opening tag of thinking is looked for."""


class Batched(ABC):
    """A generator that answers whole batches.

    Args:
        tokenizer: the model's.
        batch_size: sequences generated at once.
        name: what the model is called in messages.
        positions: most tokens of a prompt with its reply; None where there is no limit.
    """

    keeps = False

    def __init__(self, tokenizer: Any, batch_size: int, *, name: str, positions: int | None) -> None:
        # imported here: reading this module must not load transformers
        from ..text.encode import Encoder

        self.tokenizer, self.batch_size, self.name, self.positions = tokenizer, batch_size, name, positions
        self.encoder = Encoder(tokenizer)

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """Answer the requests in batches of one sampling and similar length.

        Raises:
            ConfigError, DataError: as `plan`.
        """
        for indices in self.plan(requests):
            if not all(index in done for index in indices):
                yield dict(zip(indices, self.batch([requests[index] for index in indices]), strict=True))

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Indices of the requests, batch by batch: a function of the whole list alone.

        Raises:
            ConfigError: a prompt with its reply exceeds the model's positions, or a chat meets no chat template.
            DataError: a prompt has no token.
        """
        prompts = self._encode_all(requests)
        for request, ids in zip(requests, prompts, strict=True):
            most = request.sampling.max_new_tokens
            if self.positions is not None and len(ids) + most > self.positions:
                raise ConfigError(
                    f"a prompt of {len(ids)} tokens and max_new_tokens {most} exceed the model's {self.positions} "
                    f"positions: set max_new_tokens to {max(0, self.positions - len(ids))} or less, or drop that prompt"
                )
        return plan_batches(requests, prompts, self.batch_size)

    def batch(self, requests: Sequence[Request]) -> list[Reply]:
        """The replies to one batch of the plan."""
        prompts = self._encode_all(requests)
        replies = self.complete(requests, prompts)
        return [
            _opened(reply) if self._opens_thinking(request, ids) else reply
            for request, ids, reply in zip(requests, prompts, replies, strict=True)
        ]

    @abstractmethod
    def complete(self, requests: Sequence[Request], prompts: Sequence[list[int]]) -> list[Reply]:
        """What the model writes after each prompt's ids; the requests have one sampling."""

    def _encode_all(self, requests: Sequence[Request]) -> list[list[int]]:
        known: dict[str, list[int]] = {}
        return [self._encode(request.prompt, known) for request in requests]

    def _encode(self, prompt: Prompt, known: dict[str, list[int]]) -> list[int]:
        if not isinstance(prompt, str):
            return self._encode_chat([{"role": turn.role, "content": _unicode(turn.content)} for turn in prompt])
        if prompt not in known:
            known[prompt] = self.encoder.prompt(_unicode(prompt))
            if not known[prompt]:
                raise DataError(f"the prompt {prompt!r} has no token: there is nothing to continue")
        return known[prompt]

    def _encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        if self.tokenizer.chat_template is None:
            raise ConfigError(
                f"{self.name} has no chat template, and is asked in messages: "
                "give its entry under models: `chat_template: zephyr`"
            )
        try:
            ids: list[int] = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        except TemplateError as error:
            raise ConfigError(
                f"{self.name}: its chat template refuses the messages ({error}): give its entry a chat_template"
            ) from None
        return ids

    def _opens_thinking(self, request: Request, ids: list[int]) -> bool:
        """Whether the chat template has begun the thinking that the reply goes on with."""
        return not isinstance(request.prompt, str) and str(self.tokenizer.decode(ids[-TAIL:])).rstrip().endswith(OPEN)


def load(entry: Weights, batch_size: int) -> Batched:
    """The generator of weights, by the entry's engine or its folder; under a launcher on this process's own GPU.

    Raises:
        DataError, BackendError: the weights cannot be loaded, or a library is missing.
    """
    if entry.engine == "vllm":
        from .vllm import VllmGenerator

        return VllmGenerator(entry, batch_size)
    if is_converted(Path(entry.model_name_or_path)):
        from .ctranslate2 import Ctranslate2Generator

        return Ctranslate2Generator(entry, batch_size)
    from .hf import load_hf

    return load_hf(entry, batch_size)


def plan_batches(requests: Sequence[Request], prompts: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Indices of the requests, in batches of equal sampling and similar length: a function of the whole list alone."""
    by_sampling: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        by_sampling.setdefault(request.sampling.model_dump_json(), []).append(index)
    batches = []
    for indices in by_sampling.values():
        ordered = sorted(indices, key=lambda index: (len(prompts[index]), index))
        batches += [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    return batches


def eos_ids(tokenizer: Any, own: int | list[int] | None) -> list[int]:
    """Tokens that end a reply: the tokenizer's, and those that the checkpoint's generation config adds (chats)."""
    added = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({tokenizer.eos_token_id, *added})


def stop_places(text: str, stops: Sequence[str], start: int) -> list[int]:
    """Where each stop string first stands, if it ends after the first `start` characters, as vLLM counts them."""
    found = (text.find(stop, max(0, start - len(stop) + 1)) for stop in stops)
    return [place for place in found if place >= 0]


def _opened(reply: Reply) -> Reply:
    # kept with the tag: a reply that is cut inside the thinking could not be told from an answer
    return reply.model_copy(update={"text": f"{OPEN}{reply.text}"})


def _unicode(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
