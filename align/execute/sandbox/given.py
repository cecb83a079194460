"""Objects that a problem's set-up made in the program's process, as the tests have them: they can only be passed back.

Does not run the set-up: the candidate's process does.
"""

from .keeper import Token


class Reference:
    """Stands for what the program has under a name: equal to nothing, itself included.

    Args:
        name: a global of the program.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}>"


def token_of(value: object) -> Token | None:
    """How a reference travels; None for any other object."""
    return ["name", value.name] if isinstance(value, Reference) else None
