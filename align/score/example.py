"""One example of a task under one prompt: where it stands, and what is asked. Measures nothing."""

from pydantic import Field

from ..schema import Record


class Place(Record):
    """Where an example stands among all that a model is asked."""

    id: str
    """Of the example: the same under all its prompts, and in all languages that translate it."""
    task: str
    """Name of the task, such as `xcopa`."""
    language: str
    """Of the data."""
    template: str
    """Name of the prompt."""


class Example(Place):
    """An example under a prompt, which is final text."""

    split: str
    """Where the example comes from, such as `test`."""
    prompt: str
    """Final text; an option follows it as it is."""


class Question(Example):
    """One that a model answers in its own words, which are compared with references."""

    references: list[str] = Field(min_length=1)
    """Right answers; any of them counts."""

    @property
    def target(self) -> str:
        """A right answer, with the space that parts it from the prompt."""
        return f" {self.references[0]}"
