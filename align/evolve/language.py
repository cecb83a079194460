"""Which programming languages a text demands, by name or by code in it. Tells the common ones; runs no parser."""

import re
from functools import lru_cache

_ANY_CASE = {
    "python": r"python ?[23]?",
    "java": "java",
    "javascript": r"javascript|node\.?js|ecmascript|es6",
    "typescript": "typescript",
    "c++": r"c\+\+(?:\d\d)?|cpp",
    "c#": r"c#|c[- ]sharp",
    "go": "golang",
    "php": "php",
    "kotlin": "kotlin",
    "haskell": "haskell",
    "matlab": "matlab",
    "sql": r"(?:my|postgre)?sql",
    "bash": "bash|powershell",
    "assembly": r"(?:mips|x86|arm)(?: assembly)?",
    "lua": "lua",
}
_OWN_CASE = {
    "go": "Go",
    "rust": "Rust",
    "ruby": "Ruby",
    "swift": "Swift",
    "scala": "Scala",
    "perl": "Perl",
    "julia": "Julia",
    "dart": "Dart",
    "c": "C",
    "r": "R",
}
"""Names that are also words: in this case alone."""
_NOUN = (
    r"(?:functions?|programs?|code|methods?|scripts?|snippets?|implementation|programming|language|quer(?:y|ies)|class)"
)
_BEFORE = r"(?:in|using|with|into|to|auf|en|em|на|in der Sprache)"
_CODE = {
    "java": r"^[ \t]*(?:public|private|protected) (?:static )?(?:final )?[\w<>\[\], ]+ \w+\s*\(|^import java\.",
    "javascript": (
        r"^[ \t]*(?:const|let|var) \w+ = (?:async )?\(.*=>|^[ \t]*(?:export )?(?:async )?function \w*\s*\(.*\{"
    ),
    "c++": r"^[ \t]*#include\s*<|^using namespace \w+;|\bstd::\w",
    "go": r"^[ \t]*func (?:\(\w+ \*?\w+\) )?\w+\(.*\{|^package \w+$",
    "rust": r"^[ \t]*(?:pub )?fn \w+(?:<.*>)?\(.*\{|^use std::",
    "php": r"<\?php",
}
_CODE_PATTERNS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in _CODE.items()}
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#-]+)", re.MULTILINE)
_FENCES = {"js": "javascript", "ts": "typescript", "cpp": "c++", "cs": "c#", "csharp": "c#", "golang": "go"}
_FENCES |= {"rs": "rust", "py": "python", "python3": "python", "sh": "bash", "shell": "bash"}


def _demand(name: str, of_own_case: bool) -> re.Pattern[str]:
    """`in Java`, `Java function`: a name alone demands nothing (`the word java`)."""
    case = "" if of_own_case else "(?i:"
    shut = "" if of_own_case else ")"
    inner = f"{case}(?:{name}){shut}"
    if len(name) == 1:
        # "the points in C" is no language: a letter needs its noun, or for C the end of the clause
        ends = rf"|\b(?:in|using) {inner}(?=\s*(?:[.,;:!?)]|$))" if name == "C" else ""
        return re.compile(rf"(?<![\w+#]){inner} {_NOUN}\b{ends}", re.MULTILINE)
    return re.compile(
        rf"\b(?i:{_BEFORE}) (?:the )?{inner}(?![\w+#-])|(?<![\w+#.-]){inner}(?![\w+#]) (?:\w+ )?(?i:{_NOUN})\b"
    )


_DEMANDS = [
    *((name, _demand(pattern, False)) for name, pattern in _ANY_CASE.items()),
    *((name, _demand(pattern, True)) for name, pattern in _OWN_CASE.items()),
]
_WORDS = """
python java script node es6 c++ cpp c# sharp golang php kotlin haskell sql bash shell mips x86 arm matlab lua rust ruby
swift scala perl julia dart ``` { #include std:: package
"""
_MENTIONS = _WORDS.split()
_SHORT_MENTIONS = (" C", "C ", " R", "R ", "Go")
"""A text that demands a language holds one of these: most hold none, and are not looked at further."""


@lru_cache(maxsize=4096)
def demanded(text: str) -> dict[str, str]:
    """Programming language → the wording or the code that demands it."""
    found: dict[str, str] = {}
    lowered = text.casefold()
    if not any(name in lowered for name in _MENTIONS) and not any(name in text for name in _SHORT_MENTIONS):
        return found
    for name, pattern in (*_DEMANDS, *_CODE_PATTERNS.items()):
        if match := pattern.search(text):
            found.setdefault(name, match[0].strip()[:80])
    for fence in _FENCE.findall(text):
        name = _FENCES.get(fence.lower(), fence.lower())
        if name in _ANY_CASE or name in _OWN_CASE:
            found.setdefault(name, f"```{fence}")
    return found


def changed_language(text: str, parent: str, language: str) -> str | None:
    """What demands a language other than the problem's own, and was not in the parent; None where nothing does."""
    new = demanded(text)
    if language in new:
        # "translate this Java into Python" is answered in Python
        return None
    before = demanded(parent)
    return next((f"{name}: {wording}" for name, wording in new.items() if name not in before), None)
