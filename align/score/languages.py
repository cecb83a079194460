"""Which script a text is in, and which one its language is written in. Tells no two languages of one script apart."""

import unicodedata
from collections import Counter
from functools import lru_cache

from ..errors import ConfigError, suggest

_SCRIPTS = {
    "ar": ("ARABIC",),
    "as": ("BENGALI",),
    "bg": ("CYRILLIC",),
    "bn": ("BENGALI",),
    "el": ("GREEK",),
    "gu": ("GUJARATI",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "kn": ("KANNADA",),
    "ko": ("HANGUL",),
    "ml": ("MALAYALAM",),
    "mr": ("DEVANAGARI",),
    "my": ("MYANMAR",),
    "ne": ("DEVANAGARI",),
    "or": ("ORIYA",),
    "pa": ("GURMUKHI",),
    "ru": ("CYRILLIC",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
    "uk": ("CYRILLIC",),
    "ur": ("ARABIC",),
    "zh": ("CJK",),
}
_LATIN_CODES = """
ak bm ca cs da de en es et eu fi fon fr ht hu id ig it ki lg ln nl no nso ny pl pt qu rn ro rw sn st sv sw tn tr ts tum
tw vi wo xh yo zu
"""
SCRIPTS: dict[str, tuple[str, ...]] = _SCRIPTS | dict.fromkeys(_LATIN_CODES.split(), ("LATIN",))
"""Language → the first words of the Unicode names of its letters."""
ALIASES = {"jp": "ja"}
"""As data sets name them."""
UNSPACED = ("ja", "my", "th", "zh")
"""Languages written without spaces between words."""


def language_code(name: str) -> str:
    """The two or three letters of a language: `zh-Hant` is `zh`, `sw_KE` is `sw`.

    Raises:
        ConfigError: a language whose script is not known here.
    """
    code = base_code(name)
    if code not in SCRIPTS:
        raise ConfigError(f"{name}: no language whose script is known: {suggest(code, SCRIPTS)}")
    return code


def base_code(name: str) -> str:
    """The same of any language, known here or not."""
    code = name.replace("_", "-").split("-")[0].lower()
    return ALIASES.get(code, code)


def in_script(text: str, language: str) -> bool | None:
    """Whether at least half of the letters of a text are of its language's script; None for one without letters.

    Raises:
        ConfigError: as `language_code`.
    """
    wanted = SCRIPTS[language_code(language)]
    letters = Counter(_script(letter) for letter in unicodedata.normalize("NFKC", text) if letter.isalpha())
    total = letters.total()
    return 2 * sum(letters[script] for script in wanted) >= total if total else None


@lru_cache(maxsize=2**14)
def _script(letter: str) -> str:
    """Of a letter, by its Unicode name; empty where it has none."""
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0]
