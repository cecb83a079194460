"""Print runs, plans, records and stage kinds for a person: rich on a terminal, plain text in a pipe."""

from .memory import show_memory, show_sampling
from .path import show
from .run import show_estimates, show_plan, show_scores

__all__ = ["show", "show_estimates", "show_memory", "show_plan", "show_sampling", "show_scores"]
