"""Every error a user can meet.

    AlignError
     ├── ConfigError      a recipe, an override or the environment is wrong
     ├── DataError        a file or a record in it is wrong
     ├── StageError       a stage cannot run: an input is missing, an earlier stage is not done
     └── BackendError     the machine cannot do what was asked: a library, a device, an isolation level

The command line prints one of these as a single line and exits with 2. Anything else that escapes is a
fault of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class AlignError(Exception):
    """Base class: the message names the place, what was found, and what to do."""


class ConfigError(AlignError):
    """A recipe, an override or the environment is wrong."""


class DataError(AlignError):
    """A file, or a record in it, is wrong."""


class StageError(AlignError):
    """A stage cannot run."""


class BackendError(AlignError):
    """The machine cannot do what was asked."""


def suggest(word: str, options: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what is accepted, or that there is none."""
    known = sorted(options)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"expected one of: {', '.join(known)}" if known else "there is none"
