"""Pin the function that a problem asks for: its name and its `def` line, read from what comes with the problem.

What cannot be read may be asked of a model, whose answer is one `def` line or nothing. Without an interface, tests and
answers of different models would not fit together.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from ..execute.definitions import parsed
from ..execute.extract import extract_code
from ..generate.ask import Prompts, derive_seed
from ..generate.request import Request, Sampling
from ..schema import Problem
from ..text.template import prompt_text
from .asserts import Assert, read_asserts

Function = ast.FunctionDef | ast.AsyncFunctionDef
_DOCTEST = re.compile(r"^\s*>>>\s*([A-Za-z_]\w*)\(", re.MULTILINE)
_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_DEF = re.compile(r"^[ \t]*(?:async )?def\s+\w+\s*\([^\n]*\)[^\n]*:", re.MULTILINE)


def pin(problem: Problem) -> Problem:
    """The problem with entry point and signature, where its code, its reference or its examples tell them.

    A problem that has tests of its own is left as it is: its tests know what they call.
    """
    if problem.tests or (problem.entry_point and problem.signature):
        return problem
    if problem.entry_point is None and problem.signature:
        return with_interface(problem, read_signature(problem.signature))
    stubs = list(_stubs(problem))
    name = problem.entry_point or _named(problem, stubs)
    if name is None:
        return problem
    fitting = [stub for stub in stubs if stub.name == name]
    return with_interface(problem, fitting[-1] if fitting else None, name)


def request_interface(problem: Problem, sampling: Sampling, seed: int, prompts: Prompts | None = None) -> Request:
    """The request for a problem's `def` line, by `prompts` or by our own; `read_signature` reads the answer.

    Raises:
        DataError: the prompt is a chat of several turns.
    """
    own = derive_seed("interface", seed, problem.id)
    return (prompts or Prompts()).ask("interface", {"problem": prompt_text(problem)}, sampling, own)


def with_interface(problem: Problem, function: Function | None, name: str | None = None) -> Problem:
    """The problem with a function's name and `def` line where it has none; built anew, for its id follows from them."""
    entry_point = problem.entry_point or name or (function.name if function else None)
    signature = problem.signature or (def_line(function) if function and function.name == entry_point else None)
    if (entry_point, signature) == (problem.entry_point, problem.signature):
        return problem
    kept = problem.model_dump(exclude={"id"})
    return Problem(**{**kept, "entry_point": entry_point, "signature": signature})


def def_line(function: Function) -> str | None:
    """`def f(a, b=1) -> int:`; None where it is nested too deep to be written."""
    start = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    try:
        returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
        return f"{start} {function.name}({ast.unparse(function.args)}){returns}:"
    except RecursionError:
        return None


def read_signature(text: str) -> Function | None:
    """The one function whose `def` line is all the code that an answer holds; None where it holds anything else.

    The line may stand in a fenced block, end without its colon, or have a body of `pass`, `...` or a docstring.
    """
    blocks = _FENCE.findall(text) or [text]
    source = blocks[0].strip().strip("`").strip()
    if len(blocks) != 1 or len(source) > 2000:
        return None
    for candidate in (source, f"{source}\n    pass", f"{source}: pass"):
        tree = parsed(candidate)
        if tree is not None:
            only = tree.body[0] if len(tree.body) == 1 else None
            is_stub = isinstance(only, Function) and not only.decorator_list and all(map(_is_empty, only.body))
            return only if is_stub else None  # type: ignore[return-value]
    return None


def signature_of_tests(tests: Iterable[Assert]) -> Function | None:
    """A function that takes what the asserts give it: parameters are named where all calls name them alike."""
    shapes: Counter[tuple[int, tuple[str, ...]]] = Counter()
    name = ""
    for test in tests:
        call = ast.parse(test.call, mode="eval").body
        if isinstance(call, ast.Call):
            name = test.function
            shapes[len(call.args), tuple(sorted(keyword.arg or "" for keyword in call.keywords))] += 1
    if len(shapes) != 1:
        return None
    ((count, keywords),) = shapes
    names = [*(f"arg{number}" for number in range(1, count + 1)), *keywords]
    return read_signature(f"def {name}({', '.join(names)}): pass")


def _stubs(problem: Problem) -> Iterator[Function]:
    """The functions at the top of the reference, and those whose beginning the text shows."""
    text = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[-1].content if problem.prompt else ""
    for source in (problem.reference, extract_code(problem.reference or ""), text, f"{text}\n    pass\n"):
        tree = parsed(source) if source else None
        yield from (node for node in (tree.body if tree else ()) if isinstance(node, Function))
    for line in _DEF.findall(text):
        found = read_signature(line.strip())
        if found is not None:
            yield found


def _named(problem: Problem, stubs: list[Function]) -> str | None:
    """The name that the doctests or asserts of the text call most, or that of its one function."""
    text = problem.prompt if isinstance(problem.prompt, str) else "\n".join(turn.content for turn in problem.prompt)
    called: Counter[str] = Counter(_DOCTEST.findall(text)) or Counter(test.function for test in read_asserts(text))
    if called:
        return max(called, key=lambda name: called[name])
    names = {stub.name for stub in stubs}
    return names.pop() if len(names) == 1 else None


def _is_empty(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
