"""Preference pairs from ranked groups: which of a group's responses stand against each other, and how many of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from ..schema import PreferencePair, RankedGroup
from .groups import Groups

Pairs = Literal["all", "teacher_student", "best_worst", "best_random"]
Draw = Literal["widest", "gap_weighted"]
MIN_PARTIAL_GAP = 0.4
"""Least difference in the share of passed asserts for a pair of which neither side passes."""
_TAUGHT = ("teacher", "student")


@dataclass(frozen=True)
class Chosen:
    """A pair as its places in a group."""

    group: RankedGroup
    better: int
    worse: int

    @property
    def gap(self) -> float:
        """How far the two are apart."""
        return self.group.scores[self.better] - self.group.scores[self.worse]

    def row(self) -> PreferencePair:
        """The pair as text."""
        group = self.group
        return PreferencePair(
            problem_id=group.problem_id,
            prompt=group.prompt,
            chosen=group.responses[self.better],
            rejected=group.responses[self.worse],
            score_chosen=group.scores[self.better],
            score_rejected=group.scores[self.worse],
        )


def make_pairs(
    groups: Groups | Iterable[RankedGroup],
    *,
    pairs: Pairs = "all",
    passing_score: float = 1.0,
    min_partial_gap: float = MIN_PARTIAL_GAP,
    max_pairs: int | None = None,
    draw: Draw = "widest",
    seed: int = 0,
) -> list[PreferencePair]:
    """The pairs of `choose_pairs` as rows; same arguments."""
    chosen = choose_pairs(
        groups,
        pairs=pairs,
        passing_score=passing_score,
        min_partial_gap=min_partial_gap,
        max_pairs=max_pairs,
        draw=draw,
        seed=seed,
    )
    return [one.row() for one in chosen]


def choose_pairs(
    groups: Groups | Iterable[RankedGroup],
    *,
    pairs: Pairs = "all",
    passing_score: float = 1.0,
    min_partial_gap: float = MIN_PARTIAL_GAP,
    max_pairs: int | None = None,
    draw: Draw = "widest",
    seed: int = 0,
) -> list[Chosen]:
    """Pairs that the scores order clearly enough: the better side passes, or leads by enough of the asserts.

    Args:
        groups: what `make_groups` gives, which also knows levels and undecided pairs; or rows alone.
        pairs: `all`; `teacher_student`: a teacher above a student only (PanGu-Coder2); `best_worst`; `best_random`:
            the best against a random other one (Zephyr). Of equally good or bad ones a random one is taken.
        passing_score: the score from which on a response passes every test; 0 where nothing was run.
        min_partial_gap: least lead, as a share of the asserts, where neither side passes.
        max_pairs: most pairs of a group.
        draw: which of more are kept: the `widest` gaps, or drawn at random in proportion to the gap, `gap_weighted`.
        seed: of what is drawn.
    """
    found: list[Chosen] = []
    for group, levels, undecided in _with_levels(groups):
        random = Random(f"pairs|{seed}|{group.problem_id}")
        clear = [
            Chosen(group, better, worse)
            for better in range(len(levels))
            for worse in range(len(levels))
            if group.scores[better] > group.scores[worse]
            and (min(better, worse), max(better, worse)) not in undecided
            and _is_clear(levels[better], levels[worse], passing_score, min_partial_gap)
        ]
        found += _limited(_of_kind(clear, pairs, random), max_pairs, draw, random)
    return found


def on_policy(groups: Iterable[RankedGroup], chosen: Sequence[Chosen]) -> dict[str, Any]:
    """How much of the data is the student's own: shares of the responses of role student, and of the pairs of which
    the chosen side, or both sides are. None of nothing."""
    roles = [role for group in groups for role in group.roles]
    sides = [(one.group.roles[one.better], one.group.roles[one.worse]) for one in chosen]
    return {
        "responses": _share([role == "student" for role in roles]),
        "chosen": _share([better == "student" for better, _ in sides]),
        "both_sides": _share([better == worse == "student" for better, worse in sides]),
    }


def _with_levels(
    groups: Groups | Iterable[RankedGroup],
) -> Iterator[tuple[RankedGroup, Sequence[float], frozenset[tuple[int, int]]]]:
    if isinstance(groups, Groups):
        yield from zip(groups.rows, groups.levels, groups.undecided, strict=True)
    else:
        for group in groups:
            yield group, group.scores, frozenset()


def _is_clear(better: float, worse: float, passing_score: float, min_partial_gap: float) -> bool:
    # a third of the unit scale is the span between no assert and all
    return better >= passing_score or better - worse >= min_partial_gap * passing_score / 3


def _of_kind(clear: list[Chosen], pairs: Pairs, random: Random) -> list[Chosen]:
    if pairs == "all" or not clear:
        return clear
    if pairs == "teacher_student":
        return [one for one in clear if (one.group.roles[one.better], one.group.roles[one.worse]) == _TAUGHT]
    top = max(one.group.scores[one.better] for one in clear)
    best = random.choice(sorted({one.better for one in clear if one.group.scores[one.better] == top}))
    below = [one for one in clear if one.better == best]
    if pairs == "best_worst":
        widest = max(one.gap for one in below)
        below = [one for one in below if one.gap == widest]
    return [random.choice(below)]


def _limited(found: list[Chosen], most: int | None, draw: Draw, random: Random) -> list[Chosen]:
    """At most so many, in the order they came."""
    if most is None or len(found) <= most:
        return found
    if draw == "widest":
        order = sorted(range(len(found)), key=lambda index: -found[index].gap)
    else:
        # without replacement, each next one in proportion to its gap (Efraimidis and Spirakis, 2006)
        clocks = [random.expovariate(1.0) / one.gap for one in found]
        order = sorted(range(len(found)), key=clocks.__getitem__)
    return [found[index] for index in sorted(order[:most])]


def _share(held: Sequence[bool]) -> float | None:
    return round(sum(held) / len(held), 4) if held else None
