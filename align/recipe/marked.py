"""The marked strings of a Config: which of its values are files and models. Knows no recipe."""

import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from ..config import Place, Section
from .stage import FILE, FOLDER, MODEL, MODELS, Marker

Visit = Callable[[Marker, str, Place], str]


def marked(section: Section) -> list[tuple[Marker, str, Place]]:
    """Every marked string of a Config with its place."""
    found: list[tuple[Marker, str, Place]] = []

    def note(marker: Marker, value: str, place: Place) -> str:
        found.append((marker, value, place))
        return value

    replace(section, note)
    return found


def replace(section: Section, visit: Visit, place: Place = ()) -> Section:
    """A copy of the Config with every marked string replaced by `visit(marker, value, place)`."""
    changes = {
        name: _walk(getattr(section, name), field.annotation, field.metadata, (*place, field.alias or name), visit)
        for name, field in type(section).model_fields.items()
    }
    return section.model_copy(update=changes)


def _walk(value: Any, hint: Any, metadata: list[Any], place: Place, visit: Visit) -> Any:
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
        return _walk(value, hint, [*metadata, *extra], place, visit)
    if isinstance(value, Section):
        return replace(value, visit, place)
    if isinstance(value, str):
        for marker in (*metadata, *_arm_markers(hint)):
            if marker in (FILE, FOLDER, MODEL, MODELS):
                return visit(marker, value, place)
        return value
    arms = [hint] if not _is_union(hint) else list(get_args(hint))
    if isinstance(value, list):
        inner = next((get_args(arm)[0] for arm in arms if get_origin(arm) is list), Any)
        return [_walk(item, inner, [], (*place, index), visit) for index, item in enumerate(value)]
    if isinstance(value, dict):
        inner = next((get_args(arm)[1] for arm in arms if get_origin(arm) is dict), Any)
        return {key: _walk(item, inner, [], (*place, key), visit) for key, item in value.items()}
    return value


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _arm_markers(hint: Any) -> list[Any]:
    """Markers of the text arms of an optional or a union."""
    if not _is_union(hint):
        return []
    return [extra for arm in get_args(hint) if get_origin(arm) is Annotated for extra in get_args(arm)[1:]]


def is_reference(value: str) -> bool:
    """Whether it is `$stage/…` (and not `${NAME}`)."""
    return value.startswith("$") and not value.startswith("${")


def is_file(reference: str) -> bool:
    """Whether what it names in a stage is a file, and no model or folder."""
    return "." in reference.rpartition("/")[2]


def references(section: Section) -> Iterator[str]:
    """Names of the stages that a config refers to."""
    for _, value, _ in marked(section):
        if is_reference(value):
            yield value[1:].partition("/")[0]
