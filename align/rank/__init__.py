"""Rank responses by facts: unit tests first."""

from .fuse import rank_responses
from .groups import Groups, make_groups, make_pairs, make_sft_rows
from .unit_tests import UnitTests, raw_score

__all__ = ["Groups", "UnitTests", "make_groups", "make_pairs", "make_sft_rows", "rank_responses", "raw_score"]
