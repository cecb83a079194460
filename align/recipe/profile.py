"""The `profile:` key of stages that run programs. What a profile does stands in `align.execute.profile`."""

from .. import execute
from ..config import Section, expand


class Profile(Section):
    """The interpreter that programs run in; by default the one that runs the recipe, of whose packages they see numpy.
    Its version, its folders of packages and `modules` are part of the stage's key."""

    python: str | None = None
    """An interpreter, or the folder of a virtual environment: absolute, or below the current folder."""
    modules: list[str] = []
    """Imported before programs start."""

    def made(self) -> execute.Profile:
        """What the executor takes."""
        return execute.Profile(self.python and expand(self.python), tuple(self.modules))
