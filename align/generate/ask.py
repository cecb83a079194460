"""Questions to a chat model: Jinja templates, one a purpose, rendered to one user turn.

A request carries the template's name and fields beside the rendered text, so that the offline stand-in answers
the very requests that an endpoint gets. A template may repeat a field or leave an optional one out; it never alters
one. A recipe may put files of its own in the place of the templates here.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, meta, nodes

from ..errors import ConfigError, suggest
from ..schema import Message, canonical_json
from .request import Request, Sampling

FOLDER = Path(__file__).with_name("templates")
FIELDS: dict[str, dict[str, bool]] = {
    "evolve": {"problem": True, "method": True, "operator": False},
    "evolve_wizardcoder": {"problem": True, "method": True, "operator": False},
    "add_constraint": {"problem": False},
    "rarer_requirement": {"problem": False},
    "more_steps": {"problem": False},
    "misleading_code": {"problem": False},
    "higher_complexity": {"problem": False},
    "compare": {"problem": True, "evolved": True},
    "plan": {"problem": True, "entry_point": False, "signature": False},
    "solve": {"problem": True, "entry_point": False, "signature": False},
    "interface": {"problem": True},
    "write_tests": {"problem": True, "count": True, "entry_point": False, "signature": False},
    "judge_correctness": {"problem": True, "answers": True, "form": True},
    "judge_instructions": {"problem": True, "answers": True, "form": True},
    "judge_readability": {"problem": True, "answers": True, "form": True},
    "judge_efficiency": {"problem": True, "answers": True, "form": True},
}
"""Purpose → the fields of its template, and whether the template must show them."""


class Prompts:
    """The templates in use: those in `templates/`, or files in their place.

    Args:
        own: purpose → path of a Jinja template.

    Raises:
        ConfigError: a file cannot be read, is not Jinja, names a field that there is not, or leaves one out: with
            `file:line`.
    """

    def __init__(self, own: Mapping[str, str | Path] | None = None) -> None:
        self._sources: dict[str, str] = {}
        for purpose, path in (own or {}).items():
            if purpose not in FIELDS:
                raise ConfigError(f"{path}: there is no prompt {purpose!r}: {suggest(purpose, FIELDS)}")
            self._sources[purpose] = _read(Path(path), purpose)

    def ask(self, purpose: str, fields: Mapping[str, str], sampling: Sampling, seed: int) -> Request:
        """The request that puts a purpose's template, filled with the fields, to a chat model."""
        return Request(
            prompt=[Message(role="user", content=self.text(purpose, fields))],
            sampling=sampling,
            seed=seed,
            purpose=purpose,
            fields=dict(fields),
        )

    def text(self, purpose: str, fields: Mapping[str, str]) -> str:
        """A purpose's template, filled with the fields."""
        return _template(self._source(purpose)).render(fields)

    def id(self, purpose: str) -> str:
        """`name@hash` of a purpose's template."""
        return f"{purpose}@{hashlib.sha256(self._source(purpose).encode()).hexdigest()[:8]}"

    def _source(self, purpose: str) -> str:
        return self._sources.get(purpose) or _shipped(purpose)


def derive_seed(*parts: str | int) -> int:
    """A seed for one request, in [0, 2^63): the same parts give the same one, neighbours share nothing."""
    digest = hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _read(path: Path, purpose: str) -> str:
    """The source of a template that can be filled."""
    try:
        source = path.read_text(encoding="utf-8")
        tree = _environment().parse(source)
    except TemplateSyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno}: not a Jinja template: {error.message}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text: save it as UTF-8") from None
    fields, used = FIELDS[purpose], meta.find_undeclared_variables(tree)
    for node in tree.find_all(nodes.Name):
        if node.name in used and node.name not in fields:
            raise ConfigError(
                f"{path}:{node.lineno}: {purpose} has no field {node.name!r}: {suggest(node.name, fields)}"
            )
    for name, needed in fields.items():
        if needed and name not in used:
            raise ConfigError(f"{path}:1: the template never shows {{{{ {name} }}}}: without it {purpose} asks nothing")
    return source


@cache
def _shipped(purpose: str) -> str:
    return (FOLDER / f"{purpose}.jinja").read_text(encoding="utf-8")


@cache
def _template(source: str) -> Template:
    return _environment().from_string(source)


def _environment() -> Environment:
    # autoescape would turn `<` in a problem into `&lt;`: this is text for a model, never HTML
    return Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
