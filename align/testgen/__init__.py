"""Unit tests for problems that have none."""

from .synthesise import Synthesis, synthesise

__all__ = ["Synthesis", "synthesise"]
