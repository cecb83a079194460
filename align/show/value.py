"""Show a file that is one JSON value, such as `score.json`."""

import json
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..terminal import visible
from .records import print_fields


def value_in(path: Path) -> Any:
    """The one value of a `.json` file; None where the file holds records: JSON Lines, or an array of objects.

    Raises:
        DataError: with `file:line`, where it is not JSON.
    """
    if path.suffix != ".json":
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise DataError(
            f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}: mend the line"
        ) from None
    except (OSError, ValueError, RecursionError):
        # the reader of records says what is wrong
        return None
    of_records = all(isinstance(item, dict) for item in found) if isinstance(found, list) else False
    return None if of_records or (isinstance(found, dict) and "\n" not in text.strip()) else found


def show_value(value: Any) -> None:
    """An object field by field, as a record; anything else as JSON."""
    print_fields(value) if isinstance(value, dict) else print_json(value)


def print_json(value: Any) -> None:
    """The value, indented."""
    print(visible(json.dumps(value, indent=2, ensure_ascii=False)))
