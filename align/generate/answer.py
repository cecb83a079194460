"""Ask a model many questions, so that an interruption costs at most one batch. Knows nothing of what is asked."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ..progress import progress
from ..schema import content_id
from .journalled import journalled
from .request import Generator, Reply, Request
from .thinking import split_thinking


def answer(generator: Generator, requests: Sequence[Request], journal: Path, label: str) -> list[Reply]:
    """The replies, in the order of the requests; a chat's without the thinking, which is its `reasoning`.

    Args:
        generator: the model. One that keeps its replies by itself resumes by itself; of others they are kept here.
        requests: what it is asked.
        journal: as in `journalled`.
        label: what the progress bar says.
    """
    replies = _kept(generator, requests, label) if generator.keeps else _journalled(generator, requests, journal, label)
    # what is kept is as it was received: a better reading of it costs nothing
    return [
        reply if isinstance(request.prompt, str) else split_thinking(reply)
        for request, reply in zip(requests, replies, strict=True)
    ]


def _kept(generator: Generator, requests: Sequence[Request], label: str) -> list[Reply]:
    replies: dict[int, Reply] = {}
    # closed here and not when it is forgotten: Ctrl-C in between must stop what still asks
    with progress(label, len(requests)) as bar, contextlib.closing(generator.generate(requests)) as batches:
        for batch in batches:
            replies.update(batch)
            bar.advance(len(batch))
    return [replies[place] for place in range(len(requests))]


def _journalled(generator: Generator, requests: Sequence[Request], journal: Path, label: str) -> list[Reply]:
    return journalled(
        lambda done: generator.generate(requests, done),
        len(requests),
        journal,
        content_id([request.key for request in requests]),
        label,
        dump=lambda reply: reply.model_dump(exclude_defaults=True),
        load=lambda _, told: Reply.model_validate(told),
    )
