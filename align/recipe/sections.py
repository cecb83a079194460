"""Settings that stage kinds share: what a stage asks models about problems, and how it runs programs."""

from typing import Annotated, Literal

from pydantic import Field

from ..config import Section
from ..generate import Reply, Request
from ..generate.answer import answer
from .profile import Profile
from .stage import UNKEYED, Context, File


class Questions(Section):
    """Of a stage that asks models about problems."""

    problems: File
    """Problems to work on."""
    columns: dict[str, str] | None = None
    """Our field → the file's column, such as `{prompt: instruction}`."""
    limit: int | None = Field(default=None, gt=0)
    """Take only the first problems."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus probability mass."""
    batch_size: int = Field(default=256, gt=0)
    """Replies generated at once by weights run here."""

    def ask(self, context: Context, model: str, requests: list[Request], name: str) -> list[Reply]:
        """A model's answers; those that a run had before it was interrupted are not asked for again.

        Args:
            context: of the stage.
            model: a `Model` value; it is not loaded where there is nothing to ask.
            requests: what it is asked.
            name: of the journal.
        """
        if not requests:
            return []
        generator = context.generator(model, self.batch_size)
        return answer(generator, requests, context.out / f".{name}.jsonl", f"{context.name}: {context.label(model)}")


class Programs(Section):
    """Of a stage that runs programs."""

    workers: Annotated[int | None, UNKEYED] = Field(default=None, gt=0)
    """Programs run at once."""
    timeout: float | None = Field(default=None, gt=0)
    """CPU seconds a program, where its problem has no limit."""
    isolation: Literal["auto", "A", "B", "none"] = "auto"
    """Isolation of the programs; `auto` is level A, or a refusal."""
    profile: Profile | None = None
    """The interpreter of the programs, and what it has imported before they start."""
