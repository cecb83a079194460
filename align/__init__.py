"""Preference alignment of code models."""
