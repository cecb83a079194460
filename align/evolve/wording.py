"""Words of a text in any script: tokens, length, ROUGE-L, and which natural language it is in.

Scripts written without spaces count by character. The language is told by script and stop words: it is a guess, and
None where there is too little to guess from. Code in a text is left out of the guess. Knows nothing of problems.
"""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
"""Kana, Han and Thai."""
_TOKEN = re.compile(rf"'[^'\s]+'|\"[^\"\s]+\"|[{_UNSPACED}]|[^\W{_UNSPACED}]+|[<>!=]=|[<>=%+]")
_WORD = re.compile(rf"[^\W{_UNSPACED}]+")
_CHARACTER = re.compile(rf"[{_UNSPACED}]")
CHARACTERS_A_WORD = 2
"""Characters of an unspaced script that count as one word."""
LONGEST = 5000
"""Tokens that ROUGE-L looks at."""

_SCRIPTS = {
    "kana": re.compile("[\u3040-\u30ff]"),
    "Chinese": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"),
    "Korean": re.compile("[\uac00-\ud7af\u1100-\u11ff]"),
    "Thai": re.compile("[\u0e00-\u0e7f]"),
    "Cyrillic": re.compile("[\u0400-\u052f]"),
    "Greek": re.compile("[\u0370-\u03ff]"),
    "Arabic": re.compile("[\u0600-\u06ff\u0750-\u077f]"),
    "Hebrew": re.compile("[\u0590-\u05ff]"),
    "Devanagari": re.compile("[\u0900-\u097f]"),
    "Latin": re.compile("[A-Za-z\u00c0-\u024f]"),
}
_WEIGHTS = {"kana": 3, "Chinese": 3, "Korean": 3, "Thai": 2}
"""A character of these says as much as several letters."""
ENOUGH = 10
"""Letters, weighted, from which a script is told."""
_STOP_WORDS = {
    "English": "the of and to in is are that a an for with from it be which this you your not if write return given",
    "German": "der die das und ist ein eine einen nicht mit von zu den dem des für auf wie ich schreibe die wenn",
    "French": "le la les des et est un une du pour dans que qui avec ne pas sur écrivez votre vous au aux",
    "Spanish": "el la los las de y es un una que para con en del por no se como escribe escriba tu al",
    "Italian": "il lo la gli le di e è un una che per con non del della nel scrivi come una sono",
    "Portuguese": "o a os as de e é um uma que para com não do da em por escreva como se uma dos das",
    "Dutch": "de het een en is van dat niet met voor op te zijn schrijf als deze die wordt",
}
_LANGUAGES: dict[str, list[str]] = {}
"""Stop word → the languages that have it."""
for _language, _words in _STOP_WORDS.items():
    for _word in _words.split():
        _LANGUAGES.setdefault(_word, []).append(_language)
STOPS = 3
"""Stop words from which a language in Latin script is told."""
MARGIN = 1.4
"""So many times those of the next one: languages share some."""
_CODE_LINES = re.compile(
    r"^[ \t]*(?:>>> |(?:async )?def |import |from \w+ import |assert |class \w+[:(]|@|return\b|else:|try:|#include"
    r"|(?:for|while|if|elif|with) .*:$|[\w.\[\]]+ [-+*/]?= ).*$",
    re.MULTILINE,
)
_FENCED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


def tokens(text: str) -> list[str]:
    """Words in lower case, characters of unspaced scripts, and what changes the sense of code: signs, and texts of one
    word with their quotes."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def length(text: str) -> int:
    """Words; two characters of a script without spaces count as one."""
    return len(_WORD.findall(text)) + len(_CHARACTER.findall(text)) // CHARACTERS_A_WORD


def rouge_l(first: list[str], second: list[str]) -> float:
    """F1 of the longest common subsequence (Lin 2004), in [0, 1]; 0 where a side is empty."""
    first, second = first[:LONGEST], second[:LONGEST]
    if not first or not second:
        return 0.0
    return 2 * common(first, second) / (len(first) + len(second))


def common(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): one integer holds a row of the table."""
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for token in second:
        met = row & places.get(token, 0)
        row = ((row + met) | (row - met)) & full
    return len(first) - row.bit_count()


@lru_cache(maxsize=4096)
def language_of(text: str) -> str | None:
    """The natural language, or the script that stands for several; None where it cannot be told."""
    prose = _CODE_LINES.sub(" ", _FENCED.sub(" ", text))
    if prose.isascii():
        return _latin(prose)
    counts = {name: len(letters.findall(prose)) * _WEIGHTS.get(name, 1) for name, letters in _SCRIPTS.items()}
    east = counts.pop("kana")
    if east:
        # Japanese mixes both; Chinese has no kana
        counts["Japanese"] = east + counts.pop("Chinese")
    script, most = max(counts.items(), key=lambda item: item[1])
    if most < ENOUGH or most * 2 < sum(counts.values()):
        return None
    return _latin(prose) if script == "Latin" else script


def _latin(prose: str) -> str | None:
    words = _WORD.findall(prose.casefold())
    hits = Counter(language for word in words for language in _LANGUAGES.get(word, ()))
    (best, most), (_, next_most) = (hits.most_common(2) + [("", 0)] * 2)[:2]
    return best if most >= STOPS and most >= MARGIN * next_most else None
