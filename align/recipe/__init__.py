"""Recipes: read, check, plan, run."""

from .recipe import Recipe

__all__ = ["Recipe"]
