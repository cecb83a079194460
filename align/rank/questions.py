"""Ask a judge each question once: answers are kept by content, so that no later call pays for one again.

Generators that keep their replies by themselves (endpoints) are only asked.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..errors import BackendError
from ..generate.request import Batches, Generator, Reply, Request
from ..io import Journal
from ..progress import progress
from ..schema import content_id


class Calls:
    """A function from prompt to reply, as a `Generator`."""

    keeps = False

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function
        self._name = getattr(function, "__qualname__", type(function).__name__)

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """Call the function once a request.

        Raises:
            BackendError: it raised, or returned something else than text.
        """
        for index, request in enumerate(requests):
            if index not in done:
                yield {index: Reply(text=self._call(_text(request)))}

    def _call(self, prompt: str) -> str:
        try:
            found = self._function(prompt)
        except Exception as error:
            raise BackendError(f"judge {self._name} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, str):
            raise BackendError(f"judge {self._name} returned {type(found).__name__}: return the reply as text")
        return found


def ask(
    generator: Generator,
    requests: Sequence[Request],
    *,
    identity: str,
    label: str,
    cache: Path | None = None,
    max_requests: int | None = None,
) -> list[Reply]:
    """The replies, in the order of the requests; equal requests are asked once.

    Args:
        generator: the judge.
        requests: what it is asked.
        identity: the judge's name: another judge's answers are not reused.
        label: what the progress bar says.
        cache: a file of answers that survives the call; not used where the generator keeps its own.
        max_requests: most questions that are asked now; those that the cache answers do not count.

    Raises:
        BackendError: the judge fails, or the limit is reached; what was answered is kept.
    """
    unique = list({request.key: request for request in requests}.values())
    keys = [content_id([identity, request.key]) for request in unique]
    journal = None if cache is None or generator.keeps else Journal(cache, sync_seconds=0)
    replies: dict[str, Reply] = {}
    try:
        for entry in journal.entries if journal else ():
            replies[entry["key"]] = Reply.model_validate(entry["reply"])
        _ask_rest(generator, unique, keys, replies, journal, label, max_requests)
    finally:
        if journal:
            journal.close()
    by_request = {request.key: replies[key] for request, key in zip(unique, keys, strict=True)}
    return [by_request[request.key] for request in requests]


def _ask_rest(
    generator: Generator,
    unique: Sequence[Request],
    keys: Sequence[str],
    replies: dict[str, Reply],
    journal: Journal | None,
    label: str,
    max_requests: int | None,
) -> None:
    done = {index for index, key in enumerate(keys) if key in replies}
    waiting = [index for index in range(len(keys)) if index not in done]
    over = waiting[max_requests:] if max_requests is not None else []
    asked = len(waiting) - len(over)
    try:
        with progress(label, len(unique)) as bar:
            bar.skip(len(done))
            # the whole list with what is done, not the rest: batches are planned from it
            for batch in generator.generate(unique, done | set(over)) if asked else ():
                for index, reply in batch.items():
                    _keep(keys[index], reply, replies, journal)
                bar.advance(len(batch))
    except BackendError as error:
        if generator.keeps:
            # it has said so itself
            raise
        raise BackendError(f"{error}{_kept(keys, replies, journal)}") from error
    if any(keys[index] not in replies for index in over):
        raise BackendError(
            f"{label}: the limit of {max_requests} requests is reached{_kept(keys, replies, journal)} with a higher one"
        )


def _keep(key: str, reply: Reply, replies: dict[str, Reply], journal: Journal | None) -> None:
    if key in replies:
        return
    replies[key] = reply
    if journal and reply.finish != "error":
        journal.append({"key": key, "reply": reply.model_dump(exclude_defaults=True)})


def _kept(keys: Sequence[str], replies: dict[str, Reply], journal: Journal | None) -> str:
    count = f"{sum(key in replies for key in keys)} of {len(keys)} answers"
    return f"; {count} are kept in {journal.path}: run again" if journal else f"; {count} were given: run again"


def _text(request: Request) -> str:
    if isinstance(request.prompt, str):
        return request.prompt
    return "\n\n".join(message.content for message in request.prompt)
