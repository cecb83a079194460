"""Cleaning of problems: duplicates, quality, secrets, natural text, and overlap with benchmarks.

Each module finds one kind of fault; `chain` applies them to problems read one at a time.
"""

from .decontaminate import Decontaminator

__all__ = ["Decontaminator"]
