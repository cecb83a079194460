"""COTTON's plans (arXiv 2312.05562): the steps of a solution in words, put where the problem is stated.

Ours are kept only where code that a model wrote from them passes the problem's tests; COTTON keeps them by wording.
Who runs the tests is the caller's affair.
"""

import ast
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import DataError
from ..execute import extract_code
from ..execute.definitions import compiles, parsed
from ..generate.ask import Prompts, derive_seed
from ..generate.request import Reply, Request, Sampling
from ..schema import NO_VERDICT, Message, Problem, Response, Verdict
from ..text.template import prompt_text
from .eliminate import Fault, ended_badly

HEADING = "How to solve:"
LEAST_STEPS = 2
"""One step is no plan."""
_STEP = re.compile(r"^\W*(?:step\s*)?(\d+)\s*[.:)][\s*]*(\S.*)$", re.IGNORECASE)
_INDENT = re.compile(r"[ \t]*")


class Planner(NamedTuple):
    """Who checks plans."""

    code: Callable[[list[Request], int], list[Reply]]
    """(requests, round) → replies of the model that writes code from problem and plan."""
    run_tests: Callable[[list[Problem], list[Response]], list[Verdict]]
    """Runs answers on their problems' tests; verdicts in the order of the answers."""


def read_plan(reply: Reply) -> str | Fault:
    """The plan in an answer, in one form: the heading and numbered steps. Everything else in it is left out."""
    if fault := ended_badly(reply):
        return fault
    steps: list[str] = []
    for line in reply.text.splitlines():
        match = _STEP.match(line)
        if match and int(match[1]) == len(steps) + 1:
            steps.append(match[2].strip())
    if len(steps) < LEAST_STEPS:
        return Fault("no_plan", f"{len(steps)} numbered steps in {reply.text.strip()[:80]!r}")
    return "\n".join([HEADING, *(f"Step {number}. {step}" for number, step in enumerate(steps, start=1))])


def can_be_planned(problem: Problem) -> bool:
    """Whether a plan could be checked, and there is none yet."""
    return bool(problem.tests) and HEADING not in prompt_text(problem)


def add_plan(prompt: str, plan: str) -> str:
    """The prompt with a plan inside its last function's docstring, before the closing quotes; at its end where it has
    no such docstring: as text, or as comments where code is to be continued."""
    if found := _docstring(prompt):
        return _in_docstring(prompt, found, plan)
    if compiles(prompt) or not compiles(f"{prompt}\n    pass\n"):
        return f"{prompt.rstrip()}\n\n{plan}"
    return f"{prompt.rstrip()}\n" + "".join(f"    # {line}\n" for line in plan.splitlines())


def with_plan(parent: Problem, plan: str, number: int) -> Problem | Fault:
    """The child: the same question with its plan, so that tests, interface and reference stay."""
    before = prompt_text(parent)
    text = add_plan(before, plan)
    if compiles(before) and _docstring(before) and not compiles(text):
        return Fault("no_plan", "the docstring does not take it")
    prompt = text if isinstance(parent.prompt, str) else [Message(role="user", content=text)]
    changed = {"prompt": prompt, "parent": parent.id, "operator": "plan", "round": number, "meta": parent.meta}
    # built anew rather than copied: the id follows from the prompt
    return Problem(**{**{name: getattr(parent, name) for name in Problem.model_fields if name != "id"}, **changed})


def check_plans(
    children: Sequence[Problem], planner: Planner, prompts: Prompts, sampling: Sampling, number: int
) -> list[Fault | None]:
    """Have code written from each problem with its plan, greedily, and run it on the tests.

    Returns:
        one entry a child: None where the code passes; `plan_fails` where it does not; `unjudged` where there is no
        code to judge or no verdict on it.
    """
    greedy = sampling.model_copy(update={"temperature": 0.0, "top_p": 1.0})
    requests = [_request_code(child, prompts, greedy) for child in children]
    replies = planner.code(requests, number) if requests else []
    if len(replies) != len(requests):
        raise DataError(f"{len(replies)} replies to {len(requests)} requests for code")
    answered = [(child, reply) for child, reply in zip(children, replies, strict=True) if reply.finish == "stop"]
    responses = [_response(child, reply.text) for child, reply in answered]
    verdicts = planner.run_tests([child for child, _ in answered], responses) if responses else []
    found = {child.id: verdict for (child, _), verdict in zip(answered, verdicts, strict=True)}
    return [_fault(found.get(child.id), reply) for child, reply in zip(children, replies, strict=True)]


def _request_code(problem: Problem, prompts: Prompts, sampling: Sampling) -> Request:
    fields = {
        "problem": prompt_text(problem),
        "entry_point": problem.entry_point or "",
        "signature": problem.signature or "",
    }
    return prompts.ask("solve", fields, sampling, derive_seed("plan", problem.id))


def _response(problem: Problem, text: str) -> Response:
    code = extract_code(text, prompt=prompt_text(problem), entry_point=problem.entry_point)
    return Response(problem_id=problem.id, model="coder", text=text, code=code)


def _fault(verdict: Verdict | None, reply: Reply) -> Fault | None:
    if verdict is None:
        return Fault("unjudged", reply.error or f"the code ended by {reply.finish}")
    told = f"{verdict.outcome}{f' ({verdict.reason})' if verdict.reason else ''}"
    if verdict.outcome in NO_VERDICT:
        return Fault("unjudged", told)
    passed = f"{verdict.tests_passed} of {verdict.tests_total} tests"
    return None if verdict.passed else Fault("plan_fails", f"{told}, {passed}")


def _docstring(prompt: str) -> ast.Constant | None:
    """The docstring with which a prompt's last function ends."""
    tree = parsed(prompt)
    body = tree.body if tree else []
    functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    last = functions[-1].body[-1] if functions else None
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and isinstance(last.value.value, str):
        return last.value
    return None


def _in_docstring(prompt: str, docstring: ast.Constant, plan: str) -> str:
    """A docstring in single quotes gets triple ones: it has several lines now."""
    lines = prompt.encode().splitlines(keepends=True)
    first, last = docstring.lineno - 1, (docstring.end_lineno or docstring.lineno) - 1
    start = sum(map(len, lines[:first])) + docstring.col_offset
    end = sum(map(len, lines[:last])) + (docstring.end_col_offset or 0)
    raw = prompt.encode()
    literal = raw[start:end].decode()
    quotes = literal[-3:] if literal[-3:] in ('"""', "'''") else literal[-1]
    opening, inner = literal[: literal.index(quotes)], literal[literal.index(quotes) + len(quotes) : -len(quotes)]
    if len(quotes) == 1:
        quotes = '"""' if quotes == '"' else "'''"
    indent = (_INDENT.match(lines[first].decode()) or [""])[0]
    safe = plan.replace("\\", "\\\\").replace('"""', '"').replace("'''", "'")
    added = "".join(f"{indent}{line}\n" for line in safe.splitlines())
    return f"{raw[:start].decode()}{opening}{quotes}{inner.rstrip()}\n\n{added}{indent}{quotes}{raw[end:].decode()}"
