"""Text: prompt templates and similarity (torch-free), the one tokenisation and batches (torch, not imported here)."""

from .template import completion_text, render

__all__ = ["completion_text", "render"]
