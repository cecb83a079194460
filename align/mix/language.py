"""Codes of languages: ISO 639-1, the further ones of xP3, and `code` for programs. Does not detect languages."""

import re

from ..errors import DataError, suggest

TWO_LETTERS = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv "
    "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne "
    "ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st "
    "su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
ISO_639_1 = frozenset(TWO_LETTERS.split())
FURTHER = frozenset({"fon", "nso", "tum", "code"})
"""xP3's languages without a two-letter code, and its programs."""
ALIASES = {"jp": "ja", "iw": "he", "in": "id", "cn": "zh"}
"""Codes that data sets use for others."""


def known(text: str) -> str | None:
    """The code that `text` stands for, without its region (`zh-Hans-CN` → `zh`); None where it is none."""
    base = re.split(r"[-_]", text.strip().lower())[0]
    base = ALIASES.get(base, base)
    return base if base in ISO_639_1 or base in FURTHER else None


def language(text: str, where: str) -> str:
    """The code that `text` stands for.

    Raises:
        DataError: it is no language.
    """
    found = known(text)
    if found is None:
        options = ISO_639_1 | FURTHER
        hint = suggest(text, options) if len(text) > 2 else "expected an ISO 639-1 code such as en, zh or sw, or `code`"
        cure = hint if hint.startswith(("did", "expected an")) else "expected an ISO 639-1 code such as en, zh or sw"
        raise DataError(f"{where}: unknown language {text!r}: {cure}")
    return found
