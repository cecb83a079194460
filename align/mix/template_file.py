"""Files of templates: promptsource's YAML as it is, and a short form of our own.

    - name: plural            # promptsource's files are known by `templates:` and their `!Template` tags
      task: plural
      language: en            # of the prompt
      input: 'What is the plural of "{{ word }}"?'
      target: '{{ plural }}'
      choices: ['{{ plural }}', '{{ word }}']   # optional

The tags make no objects: they are read as plain mappings. Does not render.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ..errors import ConfigError, DataError, suggest
from ..io import not_text
from .language import language
from .template import Template

SHORT = frozenset({"name", "task", "language", "input", "target", "choices", "metrics", "strip"})
FORM = "expected promptsource's `templates:`, or a list of templates with name, input and target"


def read_templates(path: str | Path) -> list[Template]:
    """The templates of a file, checked.

    Raises:
        ConfigError: the file cannot be read, or a template of it cannot be used: with `file:line`.
    """
    path = Path(path)
    try:
        return list(_templates(path, path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(not_text(path)) from None


@cache
def _templates(path: Path, text: str) -> tuple[Template, ...]:
    """Those of a text, which is parsed once: many sources of a recipe name the same file."""
    data = _parse(path, text)
    if isinstance(data, CommentedMap) and "templates" in data:
        found = list(_promptsource(path, data))
    else:
        found = [_short(path, item) for item in (data if isinstance(data, CommentedSeq) else [data])]
    seen: dict[str, str] = {}
    for template in found:
        if template.name in seen and template.source == seen[template.name]:
            raise ConfigError(f"{template.where}: template {template.name!r} stands here twice: remove one")
        seen[template.name] = template.source
    if not found:
        raise ConfigError(f"{path}: no template in it: {FORM}")
    return tuple(found)


def _parse(path: Path, text: str) -> Any:
    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {str(error.problem).splitlines()[0]}: mend it") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}: mend it") from None


def _promptsource(path: Path, data: CommentedMap) -> Iterator[Template]:
    task = "/".join(str(data[key]) for key in ("dataset", "subset") if data.get(key))
    items = data["templates"]
    if not isinstance(items, CommentedMap):
        raise ConfigError(f"{path}:1: templates: must be a mapping from ids to templates")
    for key, item in items.items():
        where = f"{path}:{items.lc.key(key)[0] + 1}"
        if not isinstance(item, CommentedMap) or not isinstance(item.get("jinja"), str):
            raise ConfigError(f"{where}: expected a template with name and jinja")
        about = item.get("metadata") if isinstance(item.get("metadata"), Mapping) else {}
        choices = item.get("answer_choices")
        yield Template(
            name=str(item.get("name") or key),
            source=str(item["jinja"]),
            where=where,
            task=task,
            language=_language((about.get("languages") or [""])[0], where),
            choices=str(choices) if choices is not None else None,
            metrics=tuple(str(metric) for metric in about.get("metrics") or ()),
            original_task=bool(about.get("original_task", True)),
            choices_in_prompt=bool(about.get("choices_in_prompt")),
        )


def _short(path: Path, item: Any) -> Template:
    if not isinstance(item, CommentedMap):
        raise ConfigError(f"{path}:1: {FORM}, found {'nothing' if item is None else repr(item)[:60]}")
    where = f"{path}:{item.lc.line + 1}"
    for key in item:
        if key not in SHORT:
            raise ConfigError(f"{path}:{item.lc.key(key)[0] + 1}: unknown key {key!r}: {suggest(str(key), SHORT)}")
    for key in ("name", "input", "target"):
        if not isinstance(item.get(key), str):
            raise ConfigError(f"{where}: {key}: must be text: add it")
    for key in ("input", "target"):
        if "|||" in item[key]:
            raise ConfigError(f"{path}:{item.lc.key(key)[0] + 1}: {key}: `|||` is for promptsource's form: remove it")
    choices = item.get("choices")
    return Template(
        name=str(item["name"]),
        source=f"{item['input']}|||{item['target']}",
        where=where,
        task=str(item.get("task") or ""),
        language=_language(item.get("language") or "", where),
        choices=" ||| ".join(str(choice) for choice in choices) if isinstance(choices, list) else choices,
        metrics=tuple(str(metric) for metric in item.get("metrics") or ()),
        strip=bool(item.get("strip", True)),
    )


def _language(text: Any, where: str) -> str:
    try:
        return language(str(text), where) if text else ""
    except DataError as error:
        raise ConfigError(str(error)) from None
