"""From a model's answer to a program that can be run: cut the code out, join it with its problem's tests.

Covers HumanEval's form (`check`) and MBPP's (`asserts`). Other kinds of tests become programs that say why they are
not run. Runs nothing.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from ..schema import Limits, Problem, TestKind, content_id

Policy = Literal["entry_point", "last", "first", "longest"]

_PYTHON = {"", "py", "python", "python3"}
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*\n"
    r"(?P<body>.*?)(?:^[ \t]*(?P=fence)[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
_CODE_LINE = re.compile(
    r"^(?:[ \t]*(?:(?:async )?def \w+\s*\(|class \w+.*:|import \w|from [\w.]+ import )"
    r"|[ \t]+(?:return|for|while|if)\b|\w+ = )",
    re.MULTILINE,
)


def extract_code(
    text: str, *, prompt: str | None = None, entry_point: str | None = None, policy: Policy = "entry_point"
) -> str | None:
    """The program in a model's answer, or None where there is only prose.

    Thinking text is dropped, and so are empty lines around the code: the same program is the same text, wherever it
    was cut from. Fenced blocks that are tagged with another language count only if there are no others;
    a block whose fence is never closed runs to the end. An answer without fences is taken as it is.

    Args:
        text: the raw answer.
        prompt: the text that the answer may continue: put in front of an answer that begins indented.
        entry_point: the function wanted.
        policy: which block is taken: `entry_point` (the last that defines it, else the last), `last`, `first`,
            `longest`.
    """
    text = _THINKING.sub("", text).rpartition("</think>")[2]
    blocks = list(_blocks(text))
    if blocks:
        code = _choose(blocks, entry_point, policy)
    elif _is_code(text):
        code = text
    else:
        return None
    code = code.lstrip("\r\n").rstrip()
    if not code:
        return None
    continues = prompt is not None and code[0] in (" ", "\t")
    return f"{prompt}{code}" if continues else code


def _blocks(text: str) -> Iterator[str]:
    found = [(match["language"].lower(), _dedent(match["body"], match["indent"])) for match in _FENCE.finditer(text)]
    python = [body for language, body in found if language in _PYTHON]
    yield from python or [body for _, body in found]


def _dedent(body: str, indent: str) -> str:
    """Take off what a fence inside a list is indented by; the body's own indentation stays."""
    return re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) if indent else body


def _choose(blocks: list[str], entry_point: str | None, policy: Policy) -> str:
    if policy == "first":
        return blocks[0]
    if policy == "longest":
        return max(blocks, key=len)
    if policy == "entry_point" and entry_point:
        name = re.escape(entry_point)
        defines = re.compile(rf"^\s*(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*=", re.MULTILINE)
        blocks = [block for block in blocks if defines.search(block)] or blocks
    return blocks[-1]


def _is_code(text: str) -> bool:
    """Whether text without fences is a program, perhaps a broken one, rather than prose."""
    return _CODE_LINE.search(text) is not None or (_compiles(text) and "(" in text)


@dataclass(frozen=True)
class Program:
    """A program and the tests to run it on."""

    source: str
    """What the model wrote, with the prompt in front where it continues it."""
    prelude: str | None
    """Source that runs before it: a prompt whose helpers the tests or the program need."""
    test_kind: TestKind
    tests: str
    imports: str
    """Runs first of all."""
    setup: str
    """Runs between the program and the tests."""
    entry_point: str | None
    limits: Limits | None
    unsupported: str | None
    """Why it cannot be run, where that is known beforehand."""

    @cached_property
    def key(self) -> str:
        """Hash of everything but the limits: programs with one key do the same."""
        return content_id(self.job())

    def job(self) -> dict[str, Any]:
        """What a worker needs, as plain data."""
        fields = asdict(self)
        del fields["limits"], fields["unsupported"]
        return fields


def program_for(problem: Problem, *, completion: str | None = None, solution: str | None = None) -> Program:
    """The program that an answer to a problem makes.

    Args:
        problem: it gives the tests.
        completion: the answer continues the problem's prompt (HumanEval's form). Where the prompt is prose or
            messages, which no program can begin with, it is taken as a solution.
        solution: the answer is a whole program. A `check` test may need the prompt's helpers (HumanEval 10, 32, 38
            and 50): the prompt runs before it where it is a program itself.
    """
    if (completion is None) == (solution is None):
        raise TypeError("program_for: give completion or solution")
    prompt = problem.prompt if isinstance(problem.prompt, str) else None
    continues = completion is not None and prompt is not None and _can_be_continued(prompt)
    answer = solution if completion is None else completion
    prelude = prompt if not continues and problem.test_kind == "check" and prompt and _compiles(prompt) else None
    return Program(
        source=f"{prompt}{answer}" if continues else str(answer),
        prelude=prelude,
        test_kind=problem.test_kind,
        tests="\n".join(problem.tests),
        imports="\n".join(problem.test_imports),
        setup=problem.test_setup or "",
        entry_point=problem.entry_point,
        limits=problem.limits,
        unsupported=_why_not(problem),
    )


def _why_not(problem: Problem) -> str | None:
    if problem.language != "python":
        return f"{problem.language} is not run"
    if problem.test_kind not in ("asserts", "check"):
        return f"test_kind {problem.test_kind} is not run yet"
    return None


def _can_be_continued(prompt: str) -> bool:
    return _compiles(prompt) or _compiles(f"{prompt}\n    pass\n")


@lru_cache(maxsize=4096)
def _compiles(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<prompt>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
    return True
