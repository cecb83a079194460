"""Print runs, plans, records and stage kinds for a person: rich on a terminal, plain text in a pipe."""

from .path import show
from .run import show_estimates, show_plan, show_scores

__all__ = ["show", "show_estimates", "show_plan", "show_scores"]
