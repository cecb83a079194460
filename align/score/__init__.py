"""Measure: pass@k with intervals (`passk`), samples (`samples`, `scoring`), models against each other (`compare`)."""

from .passk import mean_interval, paired_interval, pass_at_k
from .samples import Sample, read_samples
from .scoring import Score, Scored, score_samples

__all__ = [
    "Sample",
    "Score",
    "Scored",
    "mean_interval",
    "paired_interval",
    "pass_at_k",
    "read_samples",
    "score_samples",
]
