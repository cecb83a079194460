"""Rank responses: unit tests first, other rankers within what these leave equal; rows for training, and rewards."""

from .custom import Custom
from .fuse import Fused, fuse, rank_responses
from .groups import Groups, make_groups, make_sft_rows
from .judge import Judge
from .labels import Labels
from .pairs import choose_pairs, make_pairs, on_policy
from .protocol import Contest, Ranker, Scores
from .static import Preference, Static
from .unit_tests import UnitTests, raw_score

__all__ = [
    "Contest",
    "Custom",
    "Fused",
    "Groups",
    "Judge",
    "Labels",
    "Preference",
    "Ranker",
    "Scores",
    "Static",
    "UnitTests",
    "choose_pairs",
    "fuse",
    "make_groups",
    "make_pairs",
    "make_sft_rows",
    "on_policy",
    "rank_responses",
    "raw_score",
]
