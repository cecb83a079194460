"""Evol-Instruct for code: make harder problems from simple ones, and drop the evolutions that failed."""

from .eliminate import Rules
from .operators import OPERATORS
from .plans import Planner
from .rounds import Evolved, Means, evolve

__all__ = ["OPERATORS", "Evolved", "Means", "Planner", "Rules", "evolve"]
