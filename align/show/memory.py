"""Tables of the memory that stages need. Computes nothing."""

from collections.abc import Mapping, Sequence

from ..recipe.cards import UTILISATION, Card, cure, fits
from ..recipe.devices import LENGTH, Need, Sampling
from ..recipe.memory import CONTEXT, GIB, STRATEGIES, Memory
from ..terminal import Table

PARTS = ("weights", "gradients", "optimizer", "activations", "head")


def show_memory(found: Sequence[Need], card: Card | None, tokens_per_second: float | None = None) -> None:
    """What training stages need by part and by strategy, what fits a card, and how long a million tokens take.

    Args:
        found: of the stages, in order; nothing is printed without any.
        card: what they would run on; None: a CPU.
        tokens_per_second: measured, of all devices together; else the card's assumed rate serves.
    """
    if not found:
        return
    print()
    kind = "a GPU" if card else "this CPU"
    table = Table(("stage", *PARTS, "all"), f"memory of a training step on {kind}, estimated", (*PARTS, "all"))
    for need in found:
        alone = need.by["single"]
        if isinstance(alone, str):
            table.add(need.stage, *[""] * (len(PARTS) + 1))
            continue
        table.add(need.stage, *(size(getattr(alone, part)) for part in PARTS), size(alone.total))
    table.show()
    print()
    counts = ", ".join(dict.fromkeys(str(need.devices) for need in found))
    by = Table(("stage", *STRATEGIES), f"all, on each device of {counts} (single: of 1)", STRATEGIES)
    for need in found:
        by.add(need.stage, *(size(peak.total) if isinstance(peak, Memory) else "no" for peak in need.by.values()))
    by.show()
    refused = [(need.stage, peak) for need in found for peak in need.by.values() if isinstance(peak, str)]
    for line in dict.fromkeys(peak for _, peak in refused):
        print(f"{', '.join(dict.fromkeys(stage for stage, peak in refused if peak == line))}: {line}")
    print(f"micro-batches are full, of rows of max_length, else {LENGTH} tokens; fsdp2, zero2, zero3 were not measured")
    if card:
        print(f"the GPU keeps about {size(CONTEXT)} for itself, in no figure above")
        _show_lines({need.stage: _fit(need, card) for need in found})
    _show_lines({need.stage: line for need in found if (line := _time(need, card, tokens_per_second))})


def _show_lines(told: Mapping[str, str]) -> None:
    """Each line once, after all the stages that it is said of."""
    for line in dict.fromkeys(told.values()):
        print(f"{', '.join(stage for stage, own in told.items() if own == line)}: {line}")


def _fit(need: Need, card: Card) -> str:
    good = fits(need, card.size)
    if len(good) == len(STRATEGIES):
        return f"{card.name} is enough for each"
    return (
        f"{card.name} is enough for {', '.join(good)}" if good else f"{card.name} is too small: {cure(need, card.size)}"
    )


def _time(need: Need, card: Card | None, tokens_per_second: float | None) -> str:
    if tokens_per_second:
        return f"a million tokens take {duration(1e6 / tokens_per_second)} at {tokens_per_second:g} a second"
    if card is None or card.rate is None:
        return ""
    seconds = 1e6 * need.flops / card.rate
    return f"a million tokens take about {duration(seconds)} on one, if it reaches {UTILISATION:.0%} of its peak"


def show_sampling(found: Sequence[Sampling]) -> None:
    """What stages need that generate by weights here; nothing where none does."""
    if not found:
        return
    print()
    columns = ("stage", "model", "weights", "keys and values", "logits", "all")
    table = Table(columns, "memory of generation, a full batch at its longest, estimated", columns[2:])
    for entry in found:
        parts = (entry.weights, entry.cache, entry.logits)
        table.add(entry.stage, entry.model, *map(size, (*parts, sum(parts))))
    table.show()


def size(count: float) -> str:
    """Bytes for a person."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds for a person."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under a second"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
