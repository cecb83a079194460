"""Tokens of program text, as they are and with names made equal. Reads any text, parses none.

Comments and triple-quoted texts are left out: they are what a copy changes first. Made for Python; other languages
with the same quotes come out well enough to be compared with themselves.
"""

import builtins
import keyword
import re
from functools import cache

_TOKEN = re.compile(
    r'(?P<text>"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\')|(?P<comment>#[^\n]*)'
    r'|(?P<string>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
    r"|(?P<attribute>(?<=\.)[^\W\d]\w*)|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<symbol>\S)"
)
NAME = "·"
"""Stands for every name that the program chose."""


@cache
def _fixed() -> frozenset[str]:
    return frozenset(keyword.kwlist) | frozenset(dir(builtins)) | frozenset(keyword.softkwlist)


def code_tokens(source: str, *, renamed: bool = False) -> list[str]:
    """The tokens of a program, without layout, comments and docstrings.

    Args:
        source: any text.
        renamed: every name is one token, but for keywords, builtins and attributes: a renamed copy has the same ones.
    """
    fixed = _fixed()
    found = []
    for match in _TOKEN.finditer(source):
        kind, token = match.lastgroup, match.group()
        if kind in ("text", "comment"):
            continue
        if kind == "string":
            token = f'"{token[1:-1]}"'
        elif renamed and kind == "name" and token not in fixed:
            token = NAME
        found.append(token)
    return found
