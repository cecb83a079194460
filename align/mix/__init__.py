"""Multitask mixtures: templates and the data that they turn into training rows."""

from .mixture import Lengths, Mixture, Settings, mix
from .part import Part, parts
from .pool import Pool, build
from .rows import Rows
from .sources import Source, benchmarks, raw, training, variant, xp3
from .template import Rendered, RowError, Template
from .template_file import read_templates
from .weights import read_weights, shares

__all__ = [
    "Lengths",
    "Mixture",
    "Part",
    "Pool",
    "Rendered",
    "RowError",
    "Rows",
    "Settings",
    "Source",
    "Template",
    "benchmarks",
    "build",
    "mix",
    "parts",
    "raw",
    "read_templates",
    "read_weights",
    "shares",
    "training",
    "variant",
    "xp3",
]
