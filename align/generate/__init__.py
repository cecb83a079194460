"""Models that write text, behind one protocol. Torch is imported only when weights are run here."""

from ..errors import BackendError
from ..models.entry import AnyEntry, Offline, Weights
from .request import Generator, Reply, Request, Sampling


def generator(entry: AnyEntry, *, batch_size: int = 256) -> Generator:
    """The generator of an entry under `models:`.

    Args:
        entry: weights, the offline stand-in, or an endpoint.
        batch_size: sequences generated at once by weights run here; the others ignore it.

    Raises:
        BackendError: the entry is an endpoint.
    """
    if isinstance(entry, Offline):
        from .offline import OfflineGenerator

        return OfflineGenerator(entry)
    if isinstance(entry, Weights):
        from ..models.load import load_model
        from .hf import HfGenerator

        model, tokenizer = load_model(entry)
        return HfGenerator(model, tokenizer, batch_size)
    raise BackendError(f"model {entry.model!r}: endpoints are not run by this version yet: give weights or `offline:`")


__all__ = ["Generator", "Reply", "Request", "Sampling", "generator"]
