"""Read the examples that a problem's own text gives: doctests, `f(1) == 2` in its many spellings, `Input: … Output: …`.

Taken are calls of one function with literal arguments and a literal value; what is not plainly one is left out, for
these tests are believed before those that a model writes. Runs nothing.
"""

import ast
import re
from collections.abc import Iterator

from ..schema import Problem
from .asserts import Assert, read_asserts

LONGEST = 2000
"""Characters of one call, or of one value."""
_MEANS = re.compile(
    r"[`'\"]?\s*(?:#\s*)?(?:==>|=>|==|->|➞|→|⇒|=|,?\s*(?:it\s+)?(?:should|must|will|would)\s+(?:return|be|equal|give)"
    r"|,?\s*(?:returns?|gives|evaluates to|outputs?|equals|is)\b)[:\s]*[`]?\s*"
)
"""What stands between a call and its value."""
_ENDS = re.compile(r"\s*[`)]?\s*(?:$|#|//|[.,;:](?:\s|$)|\(|and\b|as\b|because\b|since\b|while\b|but\b|for\b|\|)")
"""What may follow a value on its line."""
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*$")
_JOINED = re.compile(r"(?:[\w.]\(|[-+*/%=<>!,\[{(.]|\bnot|\bin|\blambda.*)\s*$")
"""What makes a call a part of something greater."""
_INPUT = re.compile(r"^[ \t]*(?:sample |example )?input\s*\d*\s*[:=][ \t]*", re.IGNORECASE | re.MULTILINE)
_OUTPUT = re.compile(r"\s*(?:sample |example |expected )?output\s*\d*\s*[:=]\s*", re.IGNORECASE)
_GIVEN = re.compile(
    r"\b(?:for|if|when|given)\s+(?P<given>\w+\s*=\s*[^\n]+?),?\s+(?:the\s+)?(?:output|result|answer|function)\s+"
    r"(?:should\s+be|should\s+return|must\s+be|is|returns)\s+",
    re.IGNORECASE,
)
_WORD = re.compile(r"(true|false|null|none)(?!\w)", re.IGNORECASE)
"""Values as other languages and prose spell them."""
_DOCTEST_END = re.compile(r"^\s*(?:>>>.*|\"\"\".*|'''.*|```.*)?$")


def extract_asserts(problem: Problem) -> list[Assert]:
    """The examples in a problem's text, in order and without repeats; none where it names no entry point.

    An example that another one contradicts is left out, and so is the other; and all are where their values are of
    several kinds: a recurrence that is told beside them (`tri(1) = 3`) looks like an example too.
    """
    if not problem.entry_point or not problem.entry_point.isidentifier():
        return []
    text = _text(problem)
    names = parameters(problem.signature)
    found: dict[str, Assert] = {}
    wrong: set[str] = set()
    for test in (*_calls(text, problem.entry_point), *_inputs(text, problem.entry_point, names)):
        known = found.setdefault(test.call, test)
        if known.expected != test.expected:
            wrong.add(test.call)
    kept = [test for call, test in found.items() if call not in wrong]
    kinds = {_kind(ast.literal_eval(test.expected)) for test in kept} - {"NoneType"}
    return kept if len(kinds) <= 1 else []


def _kind(value: object) -> str:
    return "number" if isinstance(value, int | float | complex) else type(value).__name__


def parameters(signature: str | None) -> list[str] | None:
    """The names of the parameters in a `def` line; None where it cannot be read."""
    if not signature:
        return None
    try:
        tree = ast.parse(signature.strip().rstrip(":") + ": pass")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    node = tree.body[0] if tree.body else None
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def _text(problem: Problem) -> str:
    if isinstance(problem.prompt, str):
        return problem.prompt
    return "\n".join(message.content for message in problem.prompt if message.role == "user")


def _calls(text: str, name: str) -> Iterator[Assert]:
    """`name(…)` and what the text says that it gives."""
    for match in re.finditer(rf"(?<![\w.]){re.escape(name)}\s*\(", text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        doctest = line.strip() == ">>>"
        if not doctest and not _BULLET.match(line) and _JOINED.search(line.replace(">>>", "")):
            continue
        end = _call_end(text, match.end())
        if end is None:
            continue
        written = _value_after(text, end, doctest)
        if written is not None:
            yield from _test(text[match.start() : end], written)


def _call_end(text: str, start: int) -> int | None:
    """Where the call ends whose brackets open before `start`."""
    depth, quote, position = 1, "", start
    limit = min(len(text), start + LONGEST)
    while position < limit:
        letter = text[position]
        if quote:
            if letter == "\\":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    return None


def _value_after(text: str, end: int, doctest: bool) -> str | None:
    """The source of the value that a call ending at `end` has."""
    rest = text[end:].split("\n", 1)
    means = _MEANS.match(rest[0])
    if means:
        return _literal_prefix(rest[0][means.end() :])
    if doctest and not rest[0].strip() and len(rest) > 1:
        return _value(_shown(rest[1]))
    return None


def _shown(text: str) -> str:
    """What a doctest shows, to the next empty line or prompt."""
    lines = []
    for line in text.split("\n", 50)[:50]:
        if _DOCTEST_END.match(line):
            break
        lines.append(line.strip())
    return "\n".join(lines)


def _literal_prefix(line: str) -> str | None:
    """The literal at the beginning of a line, if it is plain where it ends."""
    line = line[:LONGEST].rstrip()
    word = _WORD.match(line)
    if word:
        return {"t": "True", "f": "False"}.get(word[1][0].lower(), "None") if _ENDS.match(line[word.end() :]) else None
    ends = {len(line.rstrip(".")), *(match.start() for match in re.finditer(r"[\s.,;:#`()|/]", line))}
    for end in sorted(ends, reverse=True):
        value = _value(line[:end].strip())
        if value is not None and _ENDS.match(line[end:]):
            return value
    return None


def _value(source: str) -> str | None:
    """A literal, without a comment behind it; None where it is none."""
    if not source or len(source) > LONGEST:
        return None
    try:
        tree = ast.parse(source, mode="eval")
        ast.literal_eval(tree)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    # `("Venus")` may be meant as a tuple of one; `[1, 2, ...]` means that something was left out
    unclear = source[0] == "(" and not isinstance(tree.body, ast.Tuple)
    unclear |= any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(tree))
    return None if unclear else ast.unparse(tree)


def _inputs(text: str, name: str, names: list[str] | None) -> Iterator[Assert]:
    """`Input: a = 1, b = 2` with its `Output: 3`, and `for a = 1 the output should be 3`."""
    if names is None:
        return
    for match in _INPUT.finditer(text):
        first = text[match.end() : match.end() + LONGEST]
        label = _OUTPUT.search(first)
        given = first[: label.start()].strip() if label else ""
        if label and given and "\n\n" not in given:
            yield from _of_input(name, names, given, first[label.end() :].split("\n", 1)[0])
    for match in _GIVEN.finditer(text):
        yield from _of_input(name, names, match["given"], text[match.end() :].split("\n", 1)[0])


def _of_input(name: str, names: list[str], given: str, output: str) -> Iterator[Assert]:
    value = _literal_prefix(output)
    given = ", ".join(line.strip().rstrip(",;") for line in given.splitlines() if line.strip())
    call = f"{name}({given})"
    if value is None or len(call) > LONGEST:
        return
    try:
        tree = ast.parse(call, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return
    # all arguments are there, by name or by place
    if not isinstance(tree, ast.Call):
        return
    keywords = [keyword.arg for keyword in tree.keywords]
    if set(keywords) | set(names[: len(tree.args)]) == set(names) and len(tree.args) + len(keywords) == len(names):
        yield from _test(call, value)


def _test(call: str, value: str) -> Iterator[Assert]:
    sign = "is" if value == "None" else "=="
    # one line, whatever the text's own lines are
    yield from read_asserts(f"assert ({' '.join(call.split(chr(10)))}) {sign} ({value})")
