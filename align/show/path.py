"""`align show WHAT`: find out what it names, and have it shown."""

import difflib
import json
from itertools import islice
from pathlib import Path

from ..errors import DataError
from ..io import rows
from ..recipe.summary import summary
from ..terminal import visible
from .named import find, overview, show_all, unknown
from .records import show_records
from .run import show_run
from .stage import is_stage, show_stage, stage_json
from .value import print_json, show_value, value_in

NAMED = 8
"""So many names stand in a message."""


def show(what: str | None = None, *, as_json: bool = False, limit: int | None = None) -> None:
    """Show a file, the folder of a run or of a stage, or what has a name: see `named`.

    Args:
        what: a path or a name; without it, all that can be shown is listed.
        as_json: print JSON; of a file of records every record, one a line.
        limit: how many records of a file.

    Raises:
        DataError: it is none of these, or has no records to limit.
    """
    target = Path(what or "")
    if what and target.is_file():
        _show_file(target, as_json, limit)
        return
    if what and not target.exists() and ("/" in what or target.suffix):
        raise DataError(f"{what}: no such file{_near(target)}")
    if limit is not None:
        raise DataError(f"{what or 'align show'}: no file of records: --limit belongs to one")
    if what is None:
        print_json(overview()) if as_json else show_all()
    elif (target / "run.json").is_file():
        found = summary(target.absolute())
        print_json(found) if as_json else show_run(found)
    elif is_stage(target):
        print_json(stage_json(target)) if as_json else show_stage(target)
    elif named := find(what):
        print_json(named.json()) if as_json else named.show()
    elif target.is_dir():
        raise DataError(f"{what}: no run's and no stage's folder: {_inside(target)}")
    else:
        raise unknown(what)


def _show_file(path: Path, as_json: bool, limit: int | None) -> None:
    if path.suffix in (".yaml", ".yml"):
        raise DataError(f"{path}: a recipe: align plan {path} tells what it would run")
    value = value_in(path)
    if value is not None and limit is not None:
        raise DataError(f"{path}: one JSON value, no file of records: --limit belongs to one")
    if value is not None:
        print_json(value) if as_json else show_value(value)
    elif as_json:
        for _, row in islice(rows(path), limit):
            print(visible(json.dumps(row, ensure_ascii=False)))
    else:
        show_records(path, limit)


def _near(path: Path) -> str:
    """A name like it in the same folder."""
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f": did you mean {str(path.with_name(close[0]))!r}?" if close else ""


def _inside(folder: Path) -> str:
    """What can be named instead: the runs below a folder, or else the files in it."""
    runs = sorted(str(path.parent) for path in folder.glob("**/run.json"))
    files = sorted(path.name for path in folder.iterdir() if ".json" in path.name and path.is_file())
    if runs:
        return f"name a run: {', '.join(runs[:NAMED])}"
    return f"name {', '.join(files[:NAMED])} in it" if files else "name a run's"
