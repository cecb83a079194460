"""The arithmetic of a mixture: exact quotas, an even order, passes over each set, and what is held out. No files."""

import heapq
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..generate.ask import derive_seed
from ..text.similarity import mix

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""splitmix64's increment."""


def quotas(shares: Sequence[float], size: int) -> list[int]:
    """Units of each set: they sum to `size`, and each is its share of it, rounded down or up (largest remainder)."""
    exact = [share * size for share in shares]
    found = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda one: (found[one] - exact[one], one))
    for one in by_remainder[: size - sum(found)]:
        found[one] += 1
    return found


def check_passes(
    sizes: Mapping[str, int], drawn: Mapping[str, int], shares: Mapping[str, float], max_repeats: int, unit: str
) -> None:
    """Refuse a set that would be gone through too often.

    Raises:
        DataError: with the set, its passes, and the size or weight that would fit.
    """
    over = [name for name in sizes if drawn[name] > max_repeats * sizes[name]]
    if not over:
        return
    worst = max(over, key=lambda name: drawn[name] / sizes[name])
    fits = min(int(max_repeats * sizes[name] / shares[name]) for name in sizes if shares[name])
    share = max_repeats * sizes[worst] / sum(drawn.values())
    # of the weight as it is, so that its share is at most this when the others stay
    times = share * (1 - shares[worst]) / ((1 - share) * shares[worst])
    lighter = f" or {0.995 * times:.3g} times its weight," if times else ""
    more = f" (and {len(over) - 1} more)" if len(over) > 1 else ""
    raise DataError(
        f"set {worst!r}{more}: {drawn[worst] / sizes[worst]:.1f} passes over its {sizes[worst]:,} {unit}s, at most "
        f"{max_repeats}: size: {fits} would fit,{lighter} or a larger max_repeats"
    )


def interleave(counts: Sequence[int]) -> Ints:
    """The set of each unit, as even as can be.

    After t units, each set has had its share of t but for less than one unit: the k-th of a set's n of N stands in
    the window from ⌊(k - 1) N / n⌋ to ⌈k N / n⌉, and the window that ends first is served first (Tijdeman 1980;
    Baruah et al. 1996). Ties go to the earlier set.

    Returns: (sum of counts,).
    """
    total = sum(counts)
    # a pattern that repeats is made once
    times = int(np.gcd.reduce(np.array(counts, np.int64))) if total else 1
    period = total // times
    each = [count // times for count in counts]
    served = [0] * len(each)
    released = [[(0, one) for one, count in enumerate(each) if count]]
    waiting, ready = released[0], list[tuple[int, int]]()
    found = []
    for now in range(period):
        while waiting and waiting[0][0] <= now:
            one = heapq.heappop(waiting)[1]
            heapq.heappush(ready, (-(-(served[one] + 1) * period // each[one]), one))
        one = heapq.heappop(ready)[1]
        found.append(one)
        served[one] += 1
        if served[one] < each[one]:
            heapq.heappush(waiting, (served[one] * period // each[one], one))
    return np.tile(np.array(found, np.int64), times)


def passes(size: int, count: int, seed: int) -> Ints:
    """`count` places among `size`, each pass over them in a new order.

    Returns: (count,).
    """
    orders = [
        np.random.default_rng([seed, number]).permutation(size)[: count - number * size]
        for number in range(-(-count // size) if count else 0)
    ]
    return np.concatenate(orders) if orders else np.zeros(0, np.int64)


def draw(counts: Sequence[int], sizes: Sequence[int], names: Sequence[str], seed: int) -> tuple[Ints, Ints]:
    """(set, place in it) of every unit of a mixture, in its order.

    Args:
        counts: units wanted of each set.
        sizes: units there are.
        names: of the sets; what is drawn of one depends on its name, not on the others.
        seed: of the orders.
    """
    sets = interleave(counts)
    places = np.zeros(len(sets), np.int64)
    for number, (count, size, name) in enumerate(zip(counts, sizes, names, strict=True)):
        places[sets == number] = passes(size, count, derive_seed("draw", seed, name))
    return sets, places


def together(*keys: Keys) -> Keys:
    """Groups of rows that any of the keys joins, through others too: the least first key of each row's group.

    Args:
        keys: (n,) each.

    Returns: (n,).
    """
    places = [np.unique(one, return_inverse=True)[1] for one in keys]
    found, before = keys[0], None
    while before is None or (found != before).any():
        before = found
        for place in places:
            least = np.full(len(found), np.iinfo(np.uint64).max, np.uint64)
            np.minimum.at(least, place, found)
            found = least[place]
    return found


def hold_out(groups: Keys, sets: NDArray[np.integer], count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out: `share` of each set, in whole groups, chosen by a hash.

    A group stays on one side, in whatever set its rows stand; where it is held out for another set's share, it counts
    for both. One that is larger than the share trains, unless all are.

    Args:
        groups: (n,) key of each row's group.
        sets: (n,) the set of each row.
        count: how many sets there are.
        share: from 0 on, below 1.
        seed: of the choice.

    Returns: (n,).
    """
    mixed = mix((groups ^ np.uint64(derive_seed("hold out", seed))) + GOLDEN)
    held = np.zeros(0, np.uint64)
    for one in range(count):
        own = np.sort(mixed[sets == one])
        wanted = int(share * len(own) + 0.5) - int(np.isin(own, held).sum())
        left = own[~np.isin(own, held)]
        if 0 < wanted <= len(left):
            # all rows of the last one, or none of them: a set is never held out whole
            found, rows = np.unique(left, return_counts=True)
            small = rows <= max(wanted, rows.min())
            taken = max(1, int(np.searchsorted(np.cumsum(rows[small]), wanted, side="right")))
            held = np.union1d(held, found[small][: min(taken, len(found) - 1)])
    return np.isin(mixed, held)
