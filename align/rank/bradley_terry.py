"""Strengths from pairwise comparisons: Bradley and Terry's model, fitted with a prior that keeps them finite."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Array = NDArray[float64]

PRIOR = 0.5
"""Wins and losses, so many of each, that everybody gets against an average opponent."""
STEPS = 100
"""Most Newton steps; a handful suffices."""
TOLERANCE = 1e-12


def bradley_terry(n: int, wins: Mapping[tuple[int, int], float], prior: float = PRIOR) -> list[float]:
    """Log-strengths θ, one a player: P(i beats j) = 1 / (1 + exp(θ_j − θ_i)) (Bradley and Terry, 1952).

    The maximum of the posterior, found by Newton's method. The prior is `prior` wins and `prior` losses of each player
    against a fixed opponent of strength 0: it keeps the unbeaten finite, and fixes the scale.

    Args:
        n: players.
        wins: (winner, loser) → how often; a draw is half a win for each side.
        prior: above 0.
    """
    import numpy as np

    if prior <= 0:
        raise ValueError(f"prior {prior} must be above 0: without one an unbeaten player has no finite strength")
    if n == 0:
        return []
    won = np.zeros((n, n))
    for (winner, loser), count in wins.items():
        won[winner, loser] += count
    games = won + won.T
    theta = np.zeros(n)

    def posterior(at: "Array") -> float:
        gap = at[:, None] - at[None, :]
        return float(-(won * np.logaddexp(0, -gap)).sum() - prior * (np.logaddexp(0, at) + np.logaddexp(0, -at)).sum())

    best = posterior(theta)
    for _ in range(STEPS):
        chance = _logistic(theta[:, None] - theta[None, :])
        alone = _logistic(theta)
        gradient = won.sum(1) - (games * chance).sum(1) + prior * (1 - 2 * alone)
        weight = games * chance * (1 - chance)
        curvature = np.diag(weight.sum(1) + 2 * prior * alone * (1 - alone)) - weight
        step = np.linalg.solve(curvature, gradient)
        # the posterior is concave: a step that overshoots is halved until it climbs
        while (reached := posterior(theta + step)) < best - TOLERANCE and np.abs(step).max() > TOLERANCE:
            step /= 2
        theta, best = theta + step, reached
        if np.abs(step).max() < TOLERANCE:
            break
    return [float(value) for value in theta]


def win_chance(theta: float) -> float:
    """How often a player of log-strength θ beats an average one."""
    return 1 / (1 + math.exp(-theta))


def _logistic(gap: "Array") -> "Array":
    import numpy as np

    return 1 / (1 + np.exp(-gap))
