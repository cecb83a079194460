"""Preference alignment of code models: ranked responses (RRTF), DPO, and the unit tests that rank. Loads no torch."""

from .rank import Judge, UnitTests, make_groups, make_pairs, make_sft_rows, rank_responses
from .recipe import Recipe
from .schema import PreferencePair, Problem, RankedGroup, Ranking, Response, Verdict

__all__ = [
    "Judge",
    "PreferencePair",
    "Problem",
    "RankedGroup",
    "Ranking",
    "Recipe",
    "Response",
    "UnitTests",
    "Verdict",
    "make_groups",
    "make_pairs",
    "make_sft_rows",
    "rank_responses",
]
