"""Multitask mixtures: templates and the data that they turn into training rows."""

from .rows import Rows
from .sources import Source, benchmarks, raw, training, variant, xp3
from .template import Rendered, RowError, Template
from .template_file import read_templates

__all__ = [
    "Rendered",
    "RowError",
    "Rows",
    "Source",
    "Template",
    "benchmarks",
    "raw",
    "read_templates",
    "training",
    "variant",
    "xp3",
]
