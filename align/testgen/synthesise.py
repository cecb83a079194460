"""Unit tests for problems that have none: from the examples in their text, and asked of one or more models.

Tests are asked for from the problem alone, never from a candidate program; what `further` makes of programs is marked
as such. Where there are candidate programs, the cases are sieved by running them (`sieve`) and gated (`gates`);
without any, nothing is run, and the tests are `unverified`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..generate.ask import Prompts, derive_seed
from ..generate.request import Request, Sampling
from ..schema import Problem, Rejected
from ..text.template import prompt_text
from .cases import Case, Dropped, Further, agreed, collect, most_called, rejected, too_few, with_cases
from .extract import extract_asserts
from .gates import Gate, told
from .interface import pin, signature_of_tests, with_interface
from .sieve import Candidate, Proposal, Runner, Sieved, sieve

Solve = Callable[[Sequence[Problem]], Sequence[Sequence[Candidate]]]
"""Gives each problem programs that are meant to solve it."""


@dataclass
class Synthesis:
    """Problems with tests, and those for which none could be had."""

    kept: list[Problem] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    native: int = 0
    """How many had tests of their own."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Cases that are not used, by reason."""


@dataclass(frozen=True)
class Draft:
    """A problem and the cases proposed for it."""

    problem: Problem
    cases: list[Case]
    dropped: list[Dropped]
    unanswered: bool = False
    """Whether models were asked, and none answered."""


def request_tests(
    problem: Problem, per_problem: int, sampling: Sampling, seed: int, prompts: Prompts | None = None
) -> Request:
    """The request for tests of one problem, by `prompts` or by our own.

    Raises:
        DataError: the prompt is a chat of several turns.
    """
    fields = {
        "problem": prompt_text(problem),
        "count": str(per_problem),
        "entry_point": problem.entry_point or "",
        "signature": problem.signature or "",
    }
    return (prompts or Prompts()).ask("write_tests", fields, sampling, derive_seed("write_tests", seed, problem.id))


def draft(
    problem: Problem, written: Iterable[tuple[str, str]], *, per_problem: int = 10, extract: bool = True
) -> Draft:
    """The cases proposed for a problem without tests, and the problem with its interface pinned.

    Args:
        problem: where nothing tells its entry point, the function that the cases call most is taken.
        written: (author, answer) pairs.
        per_problem: most asserts taken from one answer.
        extract: whether the examples in its text are taken too.
    """
    problem = pin(problem)
    examples = extract_asserts(problem) if extract else []
    cases, dropped = collect(problem.entry_point, examples, written, per_problem)
    entry_point = problem.entry_point or most_called(cases)
    cases = [case for case in cases if case.test.function == entry_point]
    told_by_cases = signature_of_tests(case.test for case in cases)
    return Draft(with_interface(problem, told_by_cases, entry_point), cases, dropped)


def synthesise(
    problems: Iterable[Problem],
    answers: Sequence[Sequence[str | None]] | None,
    *,
    per_problem: int = 10,
    min_tests: int = 5,
    authors: Sequence[str] = (),
    extract: bool = True,
    candidates: Solve | None = None,
    gate: Gate | None = None,
    runner: Runner | None = None,
    own_votes: bool = False,
    further: Collection[Further] = (),
) -> Synthesis:
    """Give each problem without tests the usable asserts of its answers.

    Args:
        problems: those with tests keep them.
        answers: for each problem without tests, in order, what each model wrote, None for a request that got no
            answer; None: nobody was asked.
        per_problem: most asserts taken from one answer.
        min_tests: a problem with fewer is rejected.
        authors: the models that wrote the answers, in order; numbered by default.
        extract: whether the examples in a problem's text are taken too.
        candidates: gives programs to run the cases on, for problems whose interface is pinned; None: nothing is run.
        gate: what `verified` takes.
        runner: how programs are run.
        own_votes, further: see `sieve`.

    Rejected are problems without tests where nobody was asked and the text has no example (`no_tests`), with too few
    (`few_tests`, or `no_answer` where none of those asked answered), and those whose tests one constant passes
    (`vacuous`). Unless programs are run, none is kept of tests that make the same call and disagree on its value. What
    is known of the tests is in `meta["tests"]`.
    """
    result = Synthesis()
    places: list[Problem | Draft] = []
    waiting = iter(answers or ())
    for problem in problems:
        if problem.tests:
            places.append(problem)
            continue
        texts = next(waiting) if answers is not None else ()
        places.append(_drafted(problem, texts, authors, per_problem=per_problem, extract=extract))
    drafts = [place for place in places if isinstance(place, Draft)]
    runs = None if candidates is None else iter(_sieved(drafts, candidates, runner, own_votes, further))
    for place in places:
        if isinstance(place, Problem):
            result.kept.append(place)
            result.native += 1
        elif answers is None and not place.cases:
            result.rejected.append(rejected(place.problem, "no_tests", "nobody wrote any"))
        elif runs is None:
            cases, contradicted = agreed(place.cases)
            _settle(result, place, cases, [*place.dropped, *contradicted], min_tests)
        else:
            found = next(runs) if _can_run(place) else None
            left = list(found.kept) if found else []
            _settle(result, place, left, [*place.dropped, *(found.dropped if found else ())], min_tests, found, gate)
    return result


def _drafted(
    problem: Problem, texts: Sequence[str | None], authors: Sequence[str], *, per_problem: int, extract: bool
) -> Draft:
    """The draft of what was written, each with its author."""
    names = authors or [f"model {number}" for number in range(len(texts))]
    written = [(name, text) for name, text in zip(names, texts, strict=True) if text is not None]
    made = draft(problem, written, per_problem=per_problem, extract=extract)
    return replace(made, unanswered=bool(texts) and not written)


def _can_run(place: Draft) -> bool:
    return bool(place.cases) and place.problem.entry_point is not None


def _sieved(
    drafts: Sequence[Draft],
    candidates: Solve,
    runner: Runner | None,
    own_votes: bool,
    further: Collection[Further],
) -> list[Sieved]:
    """The runs of those drafts that have anything to run, in order."""
    used = [place for place in drafts if _can_run(place)]
    programs = candidates([place.problem for place in used]) if used else []
    given = [Proposal(place.problem, place.cases, each) for place, each in zip(used, programs, strict=True)]
    return sieve(given, runner, own_votes=own_votes, further=further)


def _settle(
    result: Synthesis,
    place: Draft,
    cases: list[Case],
    dropped: Iterable[Dropped],
    min_tests: int,
    found: Sieved | None = None,
    gate: Gate | None = None,
) -> None:
    result.dropped.update(case.reason for case in dropped)
    if reason := too_few(cases, min_tests):
        reason = "no_answer" if reason == "few_tests" and place.unanswered else reason
        result.rejected.append(rejected(place.problem, reason, f"{len(cases)} usable tests"))
    else:
        known = told(cases, found, gate)
        result.kept.append(with_cases(place.problem, place.problem.entry_point, cases, known))
