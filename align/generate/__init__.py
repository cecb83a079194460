"""Models that write text, behind one protocol. Torch is imported only when weights are run here."""

from pathlib import Path

from ..models.entry import AnyEntry, Offline, Weights
from .ask import Prompts
from .batched import load
from .ranks import Divided, Ranks
from .request import Generator, Reply, Request, Sampling


def generator(
    entry: AnyEntry, *, batch_size: int = 256, replies: Path | None = None, ranks: Ranks | None = None, name: str = ""
) -> Generator:
    """The generator of an entry under `models:`.

    Args:
        entry: weights, the offline stand-in, or an endpoint.
        batch_size: sequences generated at once by weights run here; the others ignore it.
        replies: folder that holds what endpoints answered, so that nothing is paid twice; without one it is forgotten.
        ranks: the processes of a launcher, over which generation by weights is divided.
        name: what messages call an endpoint's entry, such as `models.teacher`.
    """
    if isinstance(entry, Offline):
        from .offline import OfflineGenerator

        return OfflineGenerator(entry)
    if isinstance(entry, Weights):
        local = load(entry, batch_size)
        return Divided(local, entry, ranks) if ranks is not None else local
    from .endpoint import EndpointGenerator

    return EndpointGenerator(entry, replies, name)


__all__ = ["Generator", "Prompts", "Ranks", "Reply", "Request", "Sampling", "generator"]
