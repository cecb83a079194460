"""Cleaning of problems: exact duplicates, and overlap with benchmarks."""

from .decontaminate import decontaminate
from .duplicates import drop_duplicates

__all__ = ["decontaminate", "drop_duplicates"]
