"""One self-contained HTML page of a run: scores, counts, curves, what was fixed and what was broken."""

from .page import write_report

__all__ = ["write_report"]
