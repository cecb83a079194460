"""Evol-Instruct for code: make harder problems from simple ones, and drop the evolutions that failed."""

from .operators import OPERATORS
from .rounds import Evolved, evolve

__all__ = ["OPERATORS", "Evolved", "evolve"]
