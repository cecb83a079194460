"""Measure: pass@k with intervals (`passk`), files of samples (`samples`), models against each other (`compare`)."""

from .passk import mean_interval, paired_interval, pass_at_k
from .samples import Sample, Score, Scored, read_samples, score_samples

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
