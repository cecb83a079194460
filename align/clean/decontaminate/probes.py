"""One or two single calls of each benchmark problem that a program must get right before all its tests are worth a run.

Reads the tests, runs nothing. Tests that make their calls in loops, from random numbers or from objects give no probe,
and tests that read and print none either: such problems are not looked for by execution.
"""

import ast
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...execute.definitions import parsed
from ...execute.exports import free_names
from ...execute.sandbox import codec
from ...schema import Problem
from .sought import Sought

CANDIDATE = "candidate_"
"""The name under which a row's function is called."""
SHORT = 12
"""Characters of an expectation, `_ == ` included, that more than one problem has."""
YES_AND_NO = 6
LONG = 20
"""Characters of an expectation that no other program gives by chance."""
LONGEST = 2000
"""Characters of a probe."""
SETUP = """
def alike_(got, expected):
    if isinstance(expected, (list, tuple)):
        return isinstance(got, (list, tuple)) and len(got) == len(expected) and all(map(alike_, got, expected))
    if isinstance(expected, float):
        near = isinstance(got, (int, float)) and abs(got - expected) <= 1e-6 * max(1, abs(expected))
        return near or got == expected
    return got == expected
expected_ = {}
def refer_(number, source, name, given):
    try:
        space = {}
        exec(source, space)
        expected_[number] = space[name](*given)
    except Exception:
        expected_[number] = refer_
"""
"""What probes of kind `calls` need, in the process that judges."""


@dataclass(frozen=True)
class Probe:
    """One call with what it must give."""

    arity: int
    source: str
    """An assert statement of `CANDIDATE`."""
    expected: str
    """The same condition without the call: two probes that have the same one can be passed by one constant."""
    reference: str | None = None
    """Source that gives the expected value, for the judging process."""


@dataclass(frozen=True, eq=False)
class Probed:
    """A benchmark's problem with its probes; equal to itself only."""

    sought: Sought
    probes: tuple[Probe, ...]
    """All that its tests give."""

    @property
    def arity(self) -> int:
        """Arguments of a call."""
        return self.probes[0].arity

    @cached_property
    def first(self) -> tuple[Probe, ...]:
        """Those that say most: the longest expectation, and where that is short, a different one beside it."""
        distinct = {probe.expected: probe for probe in reversed(self.probes) if len(probe.source) <= LONGEST}
        ordered = sorted(distinct.values(), key=lambda probe: (-len(probe.expected), probe.source))
        return tuple(ordered[: 1 if ordered and len(ordered[0].expected) >= SHORT else 2])

    @cached_property
    def is_telling(self) -> bool:
        """Whether passing all tests says something: three expectations differ, or two of `YES_AND_NO` tests, each
        of which comes twice; or one is long.

        A program that always gives one value, or says yes and no as another problem's does, passes fewer.
        """
        counts = Counter(probe.expected for probe in self.probes)
        both = len(counts) == 2 and min(counts.values()) >= 2 and len(self.probes) >= YES_AND_NO
        return len(counts) >= 3 or both or any(len(expected) >= LONG for expected in counts)


def probed(found: Iterable[Sought]) -> list[Probed]:
    """The problems whose tests give probes of one arity."""
    with_probes = [Probed(one, tuple(read_probes(one.problem))) for one in found if one.problem.language == "python"]
    return [one for one in with_probes if one.probes and one.first and len({probe.arity for probe in one.probes}) == 1]


def read_probes(problem: Problem) -> Iterator[Probe]:
    """The single calls with literal arguments among a problem's tests."""
    if problem.test_kind == "calls":
        yield from _of_calls(problem)
    elif problem.test_kind == "asserts" and problem.entry_point:
        tree = parsed("\n".join(problem.tests))
        yield from _of_asserts(tree.body if tree else [], problem.entry_point)
    elif problem.test_kind == "check":
        for function in _checks(problem):
            parameter = function.args.args[0].arg if function.args.args else ""
            yield from _of_asserts(function.body, parameter)


def _checks(problem: Problem) -> list[ast.FunctionDef]:
    tree = parsed("\n".join(problem.tests))
    return [node for node in (tree.body if tree else []) if isinstance(node, ast.FunctionDef) and node.name == "check"]


def _of_asserts(body: Sequence[ast.stmt], function: str) -> Iterator[Probe]:
    for node in body:
        if isinstance(node, ast.Assert) and (probe := _of_assert(node.test, function)) is not None:
            yield probe


def _of_assert(condition: ast.expr, function: str) -> Probe | None:
    """The probe that a condition makes which calls the function once, with literals, and names nothing but builtins."""
    calls = [node for node in ast.walk(condition) if _calls(node, function)]
    if len(calls) != 1:
        return None
    call = calls[0]
    assert isinstance(call, ast.Call)
    if call.keywords or not all(_is_literal(argument) for argument in call.args):
        return None
    rest = _Renamed(call, "_").visit(ast.parse(ast.unparse(condition), mode="eval"))
    expected = ast.unparse(rest)
    if _strange(expected):
        return None
    written = ast.unparse(_Renamed(call, CANDIDATE, keep=True).visit(ast.parse(ast.unparse(condition), mode="eval")))
    return Probe(len(call.args), f"assert {written}", expected)


def _strange(expected: str) -> set[str]:
    import builtins

    return {name for name in free_names(expected) if name not in ("_", "math") and not hasattr(builtins, name)}


def _calls(node: ast.AST, function: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function


class _Renamed(ast.NodeTransformer):
    """Put a name in the place of one call, or of its function."""

    def __init__(self, call: ast.Call, name: str, *, keep: bool = False) -> None:
        self._source, self._name, self._keep = ast.unparse(call), name, keep

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Of the same source."""
        if ast.unparse(node) != self._source:
            return self.generic_visit(node)
        name = ast.Name(self._name, ast.Load())
        return ast.Call(name, node.args, node.keywords) if self._keep else name


def _of_calls(problem: Problem) -> Iterator[Probe]:
    for text in problem.tests:
        try:
            entry = codec.loads(text.encode("utf-8", "surrogatepass"))
            given, output = list(entry["input"]), entry.get("output")
            known = "output" in entry
        except (codec.CodecError, ValueError, KeyError, TypeError, AttributeError):
            continue
        arguments = ", ".join(map(repr, given))
        if not _is_source(f"({arguments},)" if given else "()"):
            continue
        if known and _is_source(repr(output)):
            source = f"assert alike_({CANDIDATE}({arguments}), {output!r})"
            yield Probe(len(given), source, repr(output))
        elif not known and problem.reference and problem.entry_point:
            number = json.dumps(f"{problem.id} {text}")
            source = f"assert alike_({CANDIDATE}({arguments}), expected_[{number}])"
            reference = f"refer_({number}, {problem.reference!r}, {problem.entry_point!r}, ({arguments},))"
            # what it gives is not known here: the input stands for it
            yield Probe(len(given), source, arguments, reference)


def _is_source(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _is_literal(node: ast.expr) -> bool:
    return _is_source(ast.unparse(node)) if not isinstance(node, ast.Starred) else False
