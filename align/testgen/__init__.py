"""Unit tests for problems that have none, and how far they can be trusted."""

from .gates import Gate, is_verified, trust
from .sieve import Candidate, Runner
from .synthesise import Synthesis, synthesise

__all__ = ["Candidate", "Gate", "Runner", "Synthesis", "is_verified", "synthesise", "trust"]
