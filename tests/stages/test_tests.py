"""The stage that gives problems tests. With the offline teacher, and with one that is written here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from align.errors import StageError
from align.generate import Reply
from align.io import read, write
from align.models.entry import AnyEntry, Endpoint, Offline
from align.recipe.stage import Context, Counts
from align.schema import Problem, Rejected
from align.stages import tests
from align.testgen import is_verified, trust

FOLDER = Path(__file__).parents[2] / "data" / "offline"
SEEDS: list[Problem] = read(FOLDER / "seeds.jsonl", Problem)
MODELS: dict[str, AnyEntry] = {
    "teacher": Offline(offline=str(FOLDER), seed=1),
    "noisy": Offline(offline=str(FOLDER), seed=2, errors={"default": 0.2}),
    "server": Endpoint(base_url="http://nowhere", model="m"),
}


def run(folder: Path, problems: list[Problem], context: Context | None = None, **config: Any) -> Counts:
    path = folder / "given.jsonl"
    write(path, problems)
    context = context or Context("tests", folder / "out", 0, MODELS)
    return tests.run(tests.Config.model_validate({"problems": str(path), **config}), context)


def kept(folder: Path) -> list[Problem]:
    return read(folder / "out" / "problems.jsonl", Problem)


def test_without_candidates_nothing_runs_and_the_tests_are_unverified(tmp_path: Path) -> None:
    counts = run(tmp_path, SEEDS[:6], models=["teacher"], per_problem=8)
    assert counts["verdicts"] == {"unverified": 6}
    assert counts["tiers"] == {"synthesised": 6}
    assert [len(problem.tests) for problem in kept(tmp_path)] == [8] * 6
    assert not any(map(is_verified, kept(tmp_path)))
    assert not tests.runs_programs(tests.Config(problems="p", models=["teacher"]))


def test_candidates_sieve_and_verify_and_the_bytes_are_the_same_again(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "models": ["teacher", "noisy"],
        "candidates": [{"model": "noisy", "n": 3}, {"model": "teacher", "n": 2}],
        "isolation": "none",
        "workers": 1,
    }
    counts = run(tmp_path, SEEDS[:5], **config)
    assert counts["verdicts"]["verified"] >= 3
    for problem in kept(tmp_path):
        known = problem.meta["tests"]
        assert known["sources"] == 2
        assert known["cases"] == len(problem.tests) >= 5
        assert (known["verdict"] == "verified") == (known["failed"] == [])
    assert tests.runs_programs(tests.Config.model_validate({"problems": "p", **config}))
    first = (tmp_path / "out" / "problems.jsonl").read_bytes()
    run(tmp_path, SEEDS[:5], **config)
    assert (tmp_path / "out" / "problems.jsonl").read_bytes() == first


def test_native_tests_stay_and_are_verified(tmp_path: Path) -> None:
    native = Problem(prompt="Native.", tests=["assert g() == 1"], meta={"tests": "mine"})
    counts = run(tmp_path, [native, SEEDS[0]], models=["teacher"])
    assert counts["native"] == 1
    assert kept(tmp_path)[0] == native
    assert trust(kept(tmp_path)[0]) == "verified"


def test_examples_in_the_text_are_tests_where_nobody_is_asked(tmp_path: Path) -> None:
    text = "def f(x):\n    '''Double x.\n" + "".join(f"    >>> f({x})\n    {2 * x}\n" for x in range(5)) + "    '''\n"
    bare = Problem(prompt="No example here.")
    counts = run(tmp_path, [Problem(prompt=text), bare])
    assert counts["tiers"] == {"extracted": 1}
    assert counts["rejected"] == {"no_tests": 1}
    (problem,) = kept(tmp_path)
    assert (problem.entry_point, problem.signature, len(problem.tests)) == ("f", "def f(x):", 5)
    (entry,) = read(tmp_path / "out" / "rejected.jsonl", Rejected)
    assert entry.record["id"] == bare.id
    with pytest.raises(Exception, match="no problem has tests"):
        run(tmp_path, [Problem(prompt=text)], tiers=["synthesised"])


EVERY = ["extracted", "synthesised", "differential", "property"]


def test_tiers_that_nobody_writes_are_made_where_they_are_asked_for(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "models": ["teacher", "noisy"],
        "candidates": [{"model": "noisy", "n": 4, "temperature": 1.0}, {"model": "teacher", "n": 1}],
        "isolation": "none",
        "workers": 1,
    }
    run(tmp_path, SEEDS[:3], **config)
    before = kept(tmp_path)
    run(tmp_path, SEEDS[:3], tiers=EVERY, **config)
    after = kept(tmp_path)
    assert not any("further" in problem.meta["tests"] for problem in before)
    more = [problem for problem in after if "further" in problem.meta["tests"]]
    assert more
    for problem in more:
        told = problem.meta["tests"]
        assert sum(told["tiers"].values()) == len(problem.tests) == told["cases"]
        assert {entry["tier"] for entry in told["further"]} <= {"differential", "property"}
        assert told["tier"] == "synthesised"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"models": ["teacher"], "tiers": ["extracted"]}, "add it, or leave out `models`"),
        ({"tiers": ["extracted", "property"]}, "`property` needs programs to run: name candidates"),
        ({"tiers": ["native"]}, "native"),
    ],
)
def test_tiers_that_do_not_fit_are_one_clear_line(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tests.Config.model_validate({"problems": "p", **changed})


class Server(Context):
    """A context whose models answer by a function of the purpose."""

    replies_by: Callable[[str], str | None]

    def generator(self, name: str, batch_size: int = 256) -> Any:
        answers = self.replies_by

        class Answering:
            keeps = False

            def generate(self, requests: Any, done: Any = ()) -> Any:
                texts = [answers(request.purpose) for request in requests]
                yield {
                    index: Reply(text=text or "", finish="error" if text is None else "stop")
                    for index, text in enumerate(texts)
                }

        return Answering()


def test_the_interface_is_asked_for_once_where_nothing_tells_it(tmp_path: Path) -> None:
    asked: list[str] = []
    cases = "\n".join(f"assert double({x}) == {2 * x}" for x in range(6))
    answers = {
        "interface": "```python\ndef double(x: int) -> int:\n```",
        "write_tests": f"```python\n{cases}\nassert other(1) == 1\n```",
        "solve": "```python\ndef double(x: int) -> int:\n    return x + x\n```",
    }

    def reply(purpose: str) -> str:
        asked.append(purpose)
        return answers[purpose]

    context = Server("tests", tmp_path / "out", 0, MODELS)
    object.__setattr__(context, "replies_by", reply)
    known = Problem(prompt="def double(x):\n    '''Double x.'''\n")
    config: dict[str, Any] = {
        "models": ["server"],
        "interface": "server",
        "candidates": [{"model": "server", "n": 2}],
        "own_votes": True,
        "isolation": "none",
    }
    counts = run(tmp_path, [Problem(prompt="Double a number."), known], context, **config)
    assert asked.count("interface") == 1
    assert asked.count("solve") == 4
    assert [problem.signature for problem in kept(tmp_path)] == ["def double(x: int) -> int:", "def double(x):"]
    # one model, and so one source
    assert counts["failed_gates"] == {"min_sources": 2}
    assert counts["verdicts"] == {"weak": 2}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"interface": "", "write_tests": "", "solve": ""}, "few_tests"),
        ({}, "no_answer"),
        ({"write_tests": "".join(f"assert f({x}) == {x}\n" for x in range(6))}, "few_tests"),
    ],
    ids=["nothing is written", "nobody answers", "nobody solves"],
)
def test_a_problem_that_no_model_answers_is_told_from_one_with_few_tests(
    answers: dict[str, str], reason: str, tmp_path: Path
) -> None:
    context = Server("tests", tmp_path / "out", 0, MODELS)
    object.__setattr__(context, "replies_by", answers.get)
    asked: dict[str, Any] = {"models": ["server"], "interface": "server", "candidates": [{"model": "server"}]}
    problems = [Problem(prompt="def f(x):\n    >>> f(1)\n    1\n"), Problem(prompt="Double a number.")]
    with pytest.raises(StageError, match=rf"no problem has tests \({reason} 2\)"):
        run(tmp_path, problems, context, isolation="none", **asked)


def test_what_it_asks_of_each_model_is_told_before(tmp_path: Path) -> None:
    config = tests.Config.model_validate(
        {
            "problems": "p",
            "models": ["teacher"],
            "interface": "teacher",
            "limit": 10,
            "candidates": [{"model": "teacher", "n": 3}, {"model": "noisy", "max_new_tokens": 2048}],
        }
    )
    assert dict(tests.demand(config, 99).asks) == {"teacher": (50, 1024), "noisy": (40, 2048)}
