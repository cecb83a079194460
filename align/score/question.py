"""One example that a model answers in its own words. Measures nothing: `generation_metrics` does."""

from pydantic import Field

from ..schema import Record


class Question(Record):
    """One example under one prompt: the model writes, and what it wrote is compared with references."""

    id: str
    """Of the example: the same under all its prompts, and in all languages that translate it."""
    task: str
    """Name of the task, such as `mgsm`."""
    language: str
    """Of the data."""
    template: str
    """Name of the prompt."""
    split: str
    """Where the example comes from, such as `test`."""
    prompt: str
    """Final text."""
    references: list[str] = Field(min_length=1)
    """Right answers; any of them counts."""

    @property
    def target(self) -> str:
        """A right answer, with the space that parts it from the prompt."""
        return f" {self.references[0]}"
