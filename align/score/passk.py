"""pass@k and its interval. Pure functions of numbers: fractions in, fractions out; percent is the caller's."""

from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float, float]
"""(value, low, high)."""

LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""
AT_ONCE = 50_000
"""Values drawn in one call; it changes no result."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples passes, from n samples of which c passed.

    1 − C(n−c, k) / C(n, k), as the product of 1 − k/i for i = n−c+1 … n (Chen et al. 2021, arXiv 2107.03374):
    exact to rounding for any n, without a factorial.

    Raises:
        ValueError: not 1 ≤ k ≤ n, or not 0 ≤ c ≤ n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples and k ≥ 1, found n = {n}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples cannot have passed")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def mean_interval(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> Interval:
    """Mean over problems with its 95 % percentile-bootstrap interval; problems are what is resampled.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("no problem has a value: there is nothing to average")
    given = np.asarray(values, dtype=np.float64)
    draw, most = np.random.default_rng(seed), max(1, AT_ONCE // len(given))
    counts = (min(most, resamples - start) for start in range(0, resamples, most))
    means = [given[draw.integers(len(given), size=(count, len(given)))].mean(1) for count in counts]
    low, high = np.percentile(np.concatenate(means), [LOW, HIGH])
    return float(given.mean()), float(low), float(high)


def paired_interval(a: Sequence[float], b: Sequence[float], seed: int = 0, resamples: int = 2000) -> Interval:
    """Mean of a − b over the same problems in the same order, with its interval as `mean_interval`.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values need the same problems: {len(a)} against {len(b)}")
    return mean_interval([one - other for one, other in zip(a, b, strict=True)], seed, resamples)
