"""`align show PATH`: find out what the path names, and have it shown."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import DataError, suggest
from ..io import rows
from ..recipe.recipe import kinds
from ..recipe.schema import recipe_schema
from ..recipe.summary import summary
from ..terminal import visible
from .kind import config_of, show_kind
from .records import show_records
from .run import show_run


def show(path: str, *, as_json: bool = False, limit: int | None = None) -> None:
    """Show a run's folder, a file of records, a stage kind, or the JSON Schema of recipes (`schema`).

    Args:
        path: one of these.
        as_json: print JSON; of a file every record, one a line.
        limit: how many records of a file.

    Raises:
        DataError: it is none of these, or has no records to limit.
    """
    target = Path(path)
    if target.is_file():
        if as_json:
            for _, row in islice(rows(target), limit):
                print(visible(json.dumps(row, ensure_ascii=False)))
        else:
            show_records(target, limit)
        return
    if limit is not None:
        raise DataError(f"{path}: no file of records: --limit belongs to one")
    if (target / "run.json").is_file():
        found = summary(target)
        _print_json(found) if as_json else show_run(found)
    elif path == "schema":
        _print_json(recipe_schema())
    elif path in kinds():
        _print_json(config_of(path).model_json_schema()) if as_json else show_kind(path)
    elif target.is_dir():
        files = sorted(file.name for file in target.glob("*.jsonl*"))
        raise DataError(f"{path}: no run's folder: name {', '.join(files) or 'a run'} in it")
    else:
        raise DataError(f"{path}: no run, no file of records and no stage kind: {suggest(path, [*kinds(), 'schema'])}")


def _print_json(value: Any) -> None:
    print(visible(json.dumps(value, indent=2, ensure_ascii=False)))
