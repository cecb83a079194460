"""Which responses are compared with which: everybody with everybody, or a part of that where they are many."""

from random import Random

ROUND_ROBIN = 8
"""Most responses of which every pair is compared."""
OPPONENTS = 8
"""Opponents of each response where they are more."""


def schedule(n: int, seed: int | str) -> list[tuple[int, int]]:
    """Pairs of indices below n, to be compared in both orders.

    Up to 8: all n (n − 1) / 2. Above: the responses stand in a circle in random order, and each is compared with those
    at 4 distances, one of which is 1, so that a chain of comparisons joins any two.
    """
    if n <= ROUND_ROBIN:
        return [(first, second) for first in range(n) for second in range(first + 1, n)]
    random = Random(f"{seed}|{n}")
    circle = list(range(n))
    random.shuffle(circle)
    # a distance and n minus it are the same pairs
    distances = [1, *random.sample(range(2, (n - 1) // 2 + 1), min(OPPONENTS // 2 - 1, (n - 1) // 2 - 1))]
    pairs = {
        (min(one, other), max(one, other))
        for distance in distances
        for one, other in zip(circle, circle[distance:] + circle[:distance], strict=True)
    }
    return sorted(pairs)
