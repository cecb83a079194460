"""Cut the program out of a model's answer: thinking, fences and prose off. Joins nothing with tests, runs nothing.

A text that compiles as it stands is never changed, but for the empty lines around it; nor is one that does not
compile mended beyond what is said here: what is wrong with a program is for its tests to find.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Policy = Literal["entry_point", "last", "first", "longest"]

HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where Codex's and CodeT's completions of HumanEval end (arXiv 2107.03374, 2.2)."""
BLOOMZ_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif")
"""Where BLOOMZ's do (arXiv 2211.01786)."""

_PYTHON = {"", "py", "python", "python3"}
_TRANSCRIPTS = {"pycon", "doctest"}
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)(?P<rest>[^`]*)")
_CODE_LINE = re.compile(
    r"^(?:[ \t]*(?:(?:async )?def \w+\s*\(|class \w+.*:|import \w|from [\w.]+ import |[\w.\[\]]+ [-+*/]?= )"
    r"|[ \t]+(?:return|for|while|if|raise|with)\b|[ \t]+(?:try:|pass$))",
    re.MULTILINE,
)
_PROSE_LINE = re.compile(
    r"[A-Z][\w'’-]*[,:]?\s+[\w`*\"'(]\S*\s+\S.*|(?:[A-Z][\w'’-]*\s?)+[:.!]|(?:\d+\.|[-*])\s+[A-Z`*].*"
)
_CLOSERS, _SPANS = 16, 24
"""Ends tried for one block, and runs of lines between prose."""


@dataclass(frozen=True)
class _Block:
    language: str
    body: str


def extract_code(
    text: str, *, prompt: str | None = None, entry_point: str | None = None, policy: Policy = "entry_point"
) -> str | None:
    """The program in a model's answer, or None where there is only prose.

    Thinking text is dropped, and so are empty lines around the code: the same program is the same text, wherever it
    was cut from. Fenced blocks that are tagged with another language count only if there are no others, and
    transcripts (`>>>`) only if there is no program; a block whose fence is never closed runs to the end. Of an answer
    without fences, prose lines before and after the code are cut where the rest then compiles.

    Args:
        text: the raw answer.
        prompt: the text that the answer may continue: put in front of an answer that begins indented, unless it fits
            only without and defines the entry point; and of one whose first line alone lost its indentation.
        entry_point: the function wanted.
        policy: which block is taken: `entry_point` (the last that defines it, else the last), `last`, `first`,
            `longest`.
    """
    text = text.removeprefix("\ufeff")
    if _stands(text, prompt):
        return _finished(text, prompt, entry_point)
    text = _THINKING.sub("", text).rpartition("</think>")[2]
    blocks = list(_blocks(text.replace("\r\n", "\n")))
    if blocks:
        return _finished(_choose(blocks, entry_point, policy), prompt, entry_point)
    indented = _with_first_indent(text, prompt)
    if indented is not None:
        return indented
    return _finished(_without_prose(text, prompt), prompt, entry_point) if _is_code(text) else None


def truncate(text: str, stops: Iterable[str]) -> str:
    """The text up to the first of the stop strings."""
    ends = [position for stop in stops if (position := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


def without_main_guard(source: str) -> str:
    """The program without its top-level `if __name__ == "__main__":` blocks; unchanged where it has none.

    A program that reads stdin needs its own.
    """
    guards = [node for node in ast.parse(source).body if _is_main_guard(node)] if _compiles(source) else []
    if not guards:
        return source
    lines = source.splitlines(keepends=True)
    for guard in reversed(guards):
        del lines[guard.lineno - 1 : guard.end_lineno]
    kept = "".join(lines).rstrip()
    return f"{kept}\n" if _compiles(kept) else source


def _stands(text: str, prompt: str | None) -> bool:
    """Whether a text is a program as it is, or the rest of one: fences in its texts and all."""
    if _continues(text, prompt):
        return True
    return _compiles(text) and _is_code(text)


def _continues(text: str, prompt: str | None) -> bool:
    code = text.lstrip("\r\n")
    return prompt is not None and code[:1] in (" ", "\t") and bool(code.strip()) and _compiles(prompt + code)


def _finished(code: str, prompt: str | None, entry_point: str | None) -> str | None:
    """The code without empty lines around, behind the prompt where it continues it."""
    code = code.lstrip("\r\n").rstrip()
    if not code:
        return None
    if prompt is None or code[0] not in (" ", "\t"):
        return code
    if entry_point and not _continues(code, prompt):
        for whole in (textwrap.dedent(code), code.lstrip(" \t")):
            if _defines(whole, entry_point) and _compiles(whole):
                return whole
    return f"{prompt}{code}"


def _blocks(text: str) -> Iterator[str]:
    found = list(_fenced(text.split("\n")))
    python = [block.body for block in found if block.language in _PYTHON and not _is_transcript(block.body)]
    shown = [block for block in found if block.language in _PYTHON | _TRANSCRIPTS and _is_transcript(block.body)]
    yield from python or [_typed(block.body) for block in shown] or [block.body for block in found]


def _fenced(lines: list[str]) -> Iterator[_Block]:
    index = 0
    while index < len(lines):
        opener = _FENCE.fullmatch(lines[index])
        index += 1
        if opener is None:
            continue
        ends = [end for end in range(index, len(lines)) if _closes(lines[end], opener)][:_CLOSERS] or [len(lines)]
        bodies = [_dedent("".join(f"{line}\n" for line in lines[index:end]), opener["indent"]) for end in ends]
        # a fence shown in a docstring closes nothing: the block ends where it is a program
        chosen = 0 if opener["language"].lower() not in _PYTHON else _first_whole(bodies)
        yield _Block(opener["language"].lower(), bodies[chosen])
        index = ends[chosen] + 1


def _closes(line: str, opener: re.Match[str]) -> bool:
    fence = line.strip()
    return fence.startswith(opener["fence"]) and not fence.strip(opener["fence"][0])


def _first_whole(bodies: list[str]) -> int:
    if _compiles(bodies[0]) or _is_transcript(bodies[0]) or not _opens_text(bodies[0]):
        return 0
    return next((index for index, body in enumerate(bodies) if _compiles(body)), 0)


def _opens_text(body: str) -> bool:
    """Whether a text in triple quotes is still open at its end."""
    return any(body.count(quotes) % 2 for quotes in ('"""', "'''"))


def _dedent(body: str, indent: str) -> str:
    """Take off what a fence inside a list is indented by; the body's own indentation stays."""
    return re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) if indent else body


def _is_transcript(body: str) -> bool:
    return body.lstrip().startswith(">>>")


def _typed(body: str) -> str:
    """What was typed in an interactive session: its output is left out."""
    lines = [
        line.strip(" \t") if line.strip(" \t") in (">>>", "...") else line.lstrip(" \t") for line in body.split("\n")
    ]
    return "".join(f"{line[4:]}\n" for line in lines if line.startswith((">>>", "...")))


def _choose(blocks: list[str], entry_point: str | None, policy: Policy) -> str:
    if policy == "first":
        return blocks[0]
    if policy == "longest":
        return max(blocks, key=len)
    if policy == "entry_point" and entry_point:
        blocks = [block for block in blocks if _defines(block, entry_point)] or blocks
    return blocks[-1]


def _defines(code: str, entry_point: str) -> bool:
    name = re.escape(entry_point)
    return bool(re.search(rf"^\s*(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*=", code, re.MULTILINE))


def _with_first_indent(text: str, prompt: str | None) -> str | None:
    """The prompt and the answer, where only the indentation of the answer's first line is missing."""
    code = text.strip("\r\n").rstrip()
    if prompt is None or not code or code[0] in (" ", "\t"):
        return None
    lines = [*reversed(prompt.split("\n")), *code.split("\n")[1:]]
    for indent in dict.fromkeys(filter(None, map(_indentation, filter(str.strip, lines)))):
        mended = f"{prompt}{indent}{code}"
        if _CODE_LINE.search(indent + code) and _compiles(mended) and not _compiles(code):
            return mended
    return None


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _without_prose(text: str, prompt: str | None) -> str:
    """The largest run of lines between prose lines that compiles; the whole text where none does."""
    lines = text.split("\n")
    prose = [index for index, line in enumerate(lines) if _is_prose(line)]
    if not prose or _compiles(text):
        return text
    starts = [0, *(index + 1 for index in prose)][:_SPANS]
    ends = [*prose, len(lines)][-_SPANS:]
    spans = sorted(((end - start, start, end) for start in starts for end in ends if end > start), reverse=True)
    for _, start, end in spans:
        code = "\n".join(lines[start:end]).strip("\n")
        if _is_code(code) and _stands(code, prompt):
            return code
    return text


def _is_prose(line: str) -> bool:
    return _PROSE_LINE.fullmatch(line.rstrip()) is not None and not _compiles(line)


def _is_code(text: str) -> bool:
    """Whether text without fences is a program, perhaps a broken one, rather than prose."""
    return _CODE_LINE.search(text) is not None or (_compiles(text) and "(" in text)


def _is_main_guard(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]), orelse=[]):
            return {ast.unparse(left), ast.unparse(right)} == {"__name__", "'__main__'"}
    return False


def _compiles(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<answer>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
    return True
