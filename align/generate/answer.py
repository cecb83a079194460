"""Ask a model many questions, so that an interruption costs at most one batch. Knows nothing of what is asked."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ..io import Journal
from ..progress import progress
from ..schema import content_id
from .request import Generator, Reply, Request
from .thinking import split_thinking


def answer(generator: Generator, requests: Sequence[Request], journal: Path, label: str) -> list[Reply]:
    """The replies, in the order of the requests; a chat's without the thinking, which is its `reasoning`.

    Args:
        generator: the model. One that keeps its replies by itself resumes by itself; of others they are kept here.
        requests: what it is asked.
        journal: finished batches are appended here, one line each; a call that finds its own requests there goes on
            after them, a journal of other requests is started anew. Hidden files go when their stage is done.
        label: what the progress bar says.
    """
    replies = _kept(generator, requests, label) if generator.keeps else _journalled(generator, requests, journal, label)
    # what is kept is as it was received: a better reading of it costs nothing
    return [
        replies[index] if isinstance(request.prompt, str) else split_thinking(replies[index])
        for index, request in enumerate(requests)
    ]


def _kept(generator: Generator, requests: Sequence[Request], label: str) -> dict[int, Reply]:
    replies: dict[int, Reply] = {}
    # closed here and not when it is forgotten: Ctrl-C in between must stop what still asks
    with progress(label, len(requests)) as bar, contextlib.closing(generator.generate(requests)) as batches:
        for batch in batches:
            replies.update(batch)
            bar.advance(len(batch))
    return replies


def _journalled(generator: Generator, requests: Sequence[Request], journal: Path, label: str) -> dict[int, Reply]:
    identity = content_id([request.key for request in requests])
    replies: dict[int, Reply] = {}
    with _open(journal, identity) as log, progress(label, len(requests)) as bar:
        for entry in log.entries[1:]:
            replies.update({int(index): Reply.model_validate(reply) for index, reply in entry["replies"].items()})
        bar.skip(len(replies))
        for batch in generator.generate(requests, frozenset(replies)):
            done = {str(index): reply.model_dump(exclude_defaults=True) for index, reply in batch.items()}
            log.append({"replies": done})
            replies.update(batch)
            bar.advance(len(batch))
    return replies


def _open(path: Path, identity: str) -> Journal:
    """The journal of these requests: its first entry says whose it is."""
    log = Journal(path)
    if log.entries and log.entries[0] != {"requests": identity}:
        log.close()
        path.unlink()
        log = Journal(path)
    if not log.entries:
        log.append({"requests": identity})
    return log
