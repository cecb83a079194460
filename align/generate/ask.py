"""Questions to a chat model: Jinja templates in `templates/`, one a purpose, rendered to one user turn.

A request carries the template's name and fields beside the rendered text, so that the offline stand-in answers
the very requests that an endpoint gets. A template may repeat a field or leave an empty one out; it never alters one.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ..schema import Message, canonical_json
from .request import Request, Sampling

FOLDER = Path(__file__).with_name("templates")


def ask(purpose: str, fields: Mapping[str, str], sampling: Sampling, seed: int) -> Request:
    """The request that puts `templates/<purpose>.jinja`, filled with the fields, to a chat model."""
    content = _template(purpose).render(fields)
    return Request(
        prompt=[Message(role="user", content=content)],
        sampling=sampling,
        seed=seed,
        purpose=purpose,
        fields=dict(fields),
    )


def template_id(purpose: str) -> str:
    """`name@hash` of a purpose's template."""
    source = (FOLDER / f"{purpose}.jinja").read_bytes()
    return f"{purpose}@{hashlib.sha256(source).hexdigest()[:8]}"


def derive_seed(*parts: str | int) -> int:
    """A seed for one request, in [0, 2^63): the same parts give the same one, neighbours share nothing."""
    digest = hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@cache
def _template(purpose: str) -> Template:
    # autoescape would turn `<` in a problem into `&lt;`: this is text for a model, never HTML
    environment = Environment(loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=False)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(f"{purpose}.jinja")
