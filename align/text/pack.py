"""Pack rows into longer ones by their lengths: whole rows only. Cuts nothing, drops nothing, reads no tokens.

Best fit (Johnson, Demers, Ullman, Garey, Graham, SIAM J. Comput. 3, 1974), the longest first, over a window of rows
drawn at random: packed rows are nearly full, and what stands together in one is left to the seed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

WINDOW = 2**14
"""Rows that are packed together."""


def pack(lengths: ArrayLike, max_length: int, *, seed: int, window: int = WINDOW) -> list[NDArray[np.int64]]:
    """Which rows each packed row holds.

    Args:
        lengths: (R,) tokens of each row, from 1 to `max_length`.
        max_length: tokens of a packed row.
        seed: fixes the order of the rows before they are cut into windows, and the order of the packed rows.
        window: rows that are packed together: fewer are mixed less, more are packed no better.

    Returns:
        Places in `lengths`, every one once, in a random order within and between packed rows.

    Raises:
        ValueError: a length is 0, or more than `max_length`.
    """
    lengths_R = np.asarray(lengths, np.int64)
    if len(lengths_R) and not 1 <= lengths_R.min() <= lengths_R.max() <= max_length:
        raise ValueError(f"lengths from {lengths_R.min()} to {lengths_R.max()} in packed rows of {max_length}")
    generator = np.random.default_rng(seed)
    order_R = generator.permutation(len(lengths_R))
    packed: list[NDArray[np.int64]] = []
    for start in range(0, len(order_R), window):
        rows = order_R[start : start + window]
        bins = _best_fit(lengths_R[rows], max_length)
        # stable, so that rows of one packed row stay in their random order
        by_bin = np.argsort(bins, kind="stable")
        found = np.split(rows[by_bin], np.flatnonzero(np.diff(bins[by_bin])) + 1)
        packed += [found[place] for place in generator.permutation(len(found))]
    return packed


def fill(packed: Sequence[NDArray[np.int64]], lengths: ArrayLike, max_length: int) -> float:
    """The share of packed rows' places that hold a token."""
    lengths_R = np.asarray(lengths, np.int64)
    return float(sum(int(lengths_R[rows].sum()) for rows in packed) / max(len(packed) * max_length, 1))


def _best_fit(lengths_R: NDArray[np.int64], max_length: int) -> NDArray[np.int64]:
    """(R,) the packed row of each: the longest goes first, each to the fullest row that has room."""
    open_rows: list[list[int]] = [[] for _ in range(max_length + 1)]
    # bit r is set where a packed row has room for just r more tokens
    rooms, count = 0, 0
    bins = [0] * len(lengths_R)
    order = np.argsort(-lengths_R, kind="stable")
    for row, length in zip(order.tolist(), lengths_R[order].tolist(), strict=True):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            place = open_rows[room].pop()
            if not open_rows[room]:
                rooms ^= 1 << room
        else:
            room, place = max_length, count
            count += 1
        bins[row] = place
        if left := room - length:
            open_rows[left].append(place)
            rooms |= 1 << left
    return np.array(bins, np.int64)
