"""The evolve stage: real seeds with a stub in the model's place, plans and a judge by the offline family, its keys."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from align.config import Section
from align.errors import StageError
from align.generate import Reply, Request
from align.generate.ask import FIELDS
from align.generate.offline import OfflineGenerator
from align.io import read, write
from align.models.entry import AnyEntry, Offline
from align.recipe.stage import Context, Counts
from align.schema import Problem, Rejected
from align.stages import evolve, tests

FOLDER = Path(__file__).parents[2] / "data" / "offline"
MODELS: dict[str, AnyEntry] = {
    "teacher": Offline(offline=str(FOLDER), seed=1),
    "noisy": Offline(offline=str(FOLDER), errors={"default": 0.4}),
}
ANSWERS: dict[str, Callable[[str], Reply]] = {
    "kept": lambda problem: Reply(text=f"{problem.strip()}\n\nThe function must also return 0 for an empty list."),
    "cut_off": lambda problem: Reply(text=problem[:40], finish="length"),
    "no_answer": lambda problem: Reply(text="", finish="error", error="filtered"),
    "refusal": lambda problem: Reply(text="I'm sorry, but I can't help with this function."),
    "copies_prompt": lambda problem: Reply(
        text=f"#New Problem#: this function is the rewritten problem of {problem[:20]}"
    ),
    "unchanged": lambda problem: Reply(text=problem),
    "too_long": lambda problem: Reply(text=f"{problem} {'and so on with numbers ' * 2000}"),
}
"""Reason → an answer that must be dropped for it, whatever the problem."""


class Stub:
    """Answers by the request's seed, each kind in its turn."""

    keeps = False

    def __init__(self) -> None:
        self.said = Counter[str]()

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Iterator[dict[int, Reply]]:
        for index, request in enumerate(requests):
            if index not in done:
                kind = list(ANSWERS)[request.seed % len(ANSWERS)]
                self.said[kind] += 1
                yield {index: ANSWERS[kind](request.fields["problem"])}


def run(out: Path, config: dict[str, Any], stub: Stub | None = None) -> Counts:
    context = Context(out.name, out, 0, MODELS)
    if stub is not None:
        object.__setattr__(context, "generator", lambda name, batch_size=0: stub)
    return evolve.run(evolve.Config.model_validate(config), context)


def with_tests(folder: Path) -> str:
    """Problems of the offline family with tests."""
    write(folder / "seeds.jsonl", read(FOLDER / "seeds.jsonl", Problem)[:30])
    config = tests.Config.model_validate({"problems": str(folder / "seeds.jsonl"), "models": ["teacher"]})
    tests.run(config, Context("tests", folder / "tests", 0, MODELS))
    return str(folder / "tests" / "problems.jsonl")


@pytest.mark.parametrize(("name", "count"), [("oasstcommitpackft.jsonl", 151), ("self-instruct_seed_tasks.jsonl", 175)])
def test_real_seeds_evolve_with_lineage_and_counts(name: str, count: int, shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "instruct" / name
    if not path.exists():
        pytest.skip(f"ALIGN_TEST_DATA: no {name}")
    stub = Stub()
    config = {"problems": str(path), "model": "teacher", "task": "any", "rounds": 2, "near_duplicate": None}
    counts = run(tmp_path / "e", config, stub)
    problems, rejected = (
        read(tmp_path / "e" / "problems.jsonl", Problem),
        read(tmp_path / "e" / "rejected.jsonl", Rejected),
    )
    assert counts["seeds"] == count == sum(problem.round == 0 for problem in problems)
    children = [problem for problem in problems if problem.round]
    assert len(children) + len(rejected) == stub.said.total()
    assert counts["rejected"] == dict(sorted(Counter(entry.reason for entry in rejected).items()))
    for reason in ANSWERS.keys() - {"kept", "copies_prompt", "unchanged"}:
        assert counts["rejected"][reason] == stub.said[reason], reason
    assert all(entry.detail for entry in rejected if entry.reason != "cut_off")
    by_id = {problem.id: problem for problem in problems}
    for child in children:
        parent = by_id[child.parent or ""]
        assert str(child.prompt).startswith(str(parent.prompt).strip())
        # a parent that failed once comes again in the next round
        assert (parent.round or 0) < (child.round or 0) <= 2
    assert {entry.record["round"] for entry in rejected} == {1, 2}


def test_prompts_that_are_no_code_leave_no_children(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "instruct" / "self-instruct_seed_tasks.jsonl"
    if not path.exists():
        pytest.skip("ALIGN_TEST_DATA: no self-instruct_seed_tasks.jsonl")

    class Slight(Stub):
        def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Iterator[dict[int, Reply]]:
            texts = (f"{request.fields['problem']} Also name a colour." for request in requests)
            yield {index: Reply(text=text) for index, text in enumerate(texts)}

    counts = run(tmp_path / "e", {"problems": str(path), "model": "teacher", "rounds": 1}, Slight())
    assert counts["rejected"]["not_a_function"] > 140
    assert counts["kept"] - counts["seeds"] < 35


def test_plans_are_written_checked_by_tests_and_kept_with_their_problem(tmp_path: Path) -> None:
    problems = with_tests(tmp_path)
    base = {"problems": problems, "coder": "teacher", "operators": ["plan"], "rounds": 1, "isolation": "none"}
    counts = run(tmp_path / "right", {**base, "model": "teacher"})
    # a problem of one step has no plan
    assert counts["rejected"].keys() == {"no_plan"}
    assert counts["kept"] == 2 * counts["seeds"] - counts["rejected"]["no_plan"] > 40
    counts = run(tmp_path / "noisy", {**base, "model": "noisy"})
    planned = [one for one in read(tmp_path / "noisy" / "problems.jsonl", Problem) if one.operator == "plan"]
    assert counts["rejected"]["plan_fails"] > 3
    assert len(planned) > 3
    for child in planned:
        assert "How to solve:\nStep 1. " in str(child.prompt)
        assert child.tests


def test_a_judge_is_asked_about_every_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "seeds.jsonl", read(FOLDER / "seeds.jsonl", Problem)[:20])
    asked = Counter[str]()
    reply = OfflineGenerator.reply

    def counted(self: OfflineGenerator, request: Request) -> str:
        asked[request.purpose] += 1
        return reply(self, request)

    monkeypatch.setattr(OfflineGenerator, "reply", counted)
    config = {"problems": str(tmp_path / "seeds.jsonl"), "model": "teacher", "judge": "noisy", "style": "wizardcoder"}
    counts = run(tmp_path / "e", config)
    assert asked["evolve_wizardcoder"] == 60
    assert asked["compare"] == 60 - sum(n for reason, n in counts["rejected"].items() if reason not in ("no_gain",))
    assert counts["kept"] > 60


def test_an_interrupted_judge_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"problems": with_tests(tmp_path), "model": "noisy", "judge": "teacher", "coder": "teacher", "rounds": 2}
    config |= {"operators": ["plan", "more_steps", "add_constraint"], "isolation": "none"}
    run(tmp_path / "whole", config)
    monkeypatch.setattr("align.generate.offline.BATCH", 4)
    reply = OfflineGenerator.reply
    for purpose in ("compare", "solve"):
        left = [10]

        def dying(self: OfflineGenerator, request: Request, purpose: str = purpose, left: list[int] = left) -> str:
            left[0] -= request.purpose == purpose
            if left[0] == 0:
                raise KeyboardInterrupt
            return reply(self, request)

        monkeypatch.setattr(OfflineGenerator, "reply", dying)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "again", config)
    monkeypatch.setattr(OfflineGenerator, "reply", reply)
    run(tmp_path / "again", config)
    for name in evolve.OUTPUTS:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_prompt_of_ones_own_is_what_is_asked(tmp_path: Path) -> None:
    write(tmp_path / "seeds.jsonl", [Problem(prompt="Sum the list.")])
    (tmp_path / "mine.jinja").write_text("MY WORDS {{ problem }} {{ method }}")
    (tmp_path / "harder.jinja").write_text("MY METHOD")
    seen: list[Request] = []

    class Seeing(Stub):
        def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Iterator[dict[int, Reply]]:
            seen.extend(requests)
            yield from super().generate(requests, done)

    prompts = {"evolve": str(tmp_path / "mine.jinja"), "more_steps": str(tmp_path / "harder.jinja")}
    config = {"problems": str(tmp_path / "seeds.jsonl"), "model": "teacher", "operators": ["more_steps"], "rounds": 1}
    run(tmp_path / "e", {**config, "prompts": prompts}, Seeing())
    assert "MY WORDS Sum the list. MY METHOD" in str(seen[0].prompt)


def test_the_key_holds_every_template_that_may_be_asked_by() -> None:
    assert set(evolve.PROMPTS) <= set(FIELDS)
    for purpose in ("evolve", "evolve_wizardcoder", "misleading_code", "compare", "plan", "solve"):
        assert purpose in evolve.PROMPTS


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"operators": ["plan"]}, "the operator plan needs `coder"),
        ({"coder": "teacher"}, "add plan to `operators`"),
        ({"prompts": {"evolve_wizardcoder": "x"}}, "is not asked by `style: pangu-coder2`"),
        ({"prompts": {"compare": "x"}}, "compare is never asked: name a `judge`, or leave it out"),
        ({"style": "alpaca"}, "pangu-coder2"),
        ({"operators": ["plans"]}, "add_constraint"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        evolve.Config.model_validate({"problems": "p", "model": "teacher", **config})


def test_programs_are_run_only_to_check_plans() -> None:
    config = evolve.Config.model_validate({"problems": "p", "model": "teacher"})
    assert not evolve.runs_programs(config)
    planned = evolve.Config.model_validate({"problems": "p", "model": "t", "operators": ["plan"], "coder": "t"})
    assert evolve.runs_programs(planned)


def test_plans_for_problems_without_tests_are_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "seeds.jsonl", [Problem(prompt="Sum the list.")])
    config = {"problems": str(tmp_path / "seeds.jsonl"), "model": "teacher", "coder": "teacher", "operators": ["plan"]}
    with pytest.raises(StageError, match=r"^stages\.e: no problem of .*seeds\.jsonl has tests"):
        run(tmp_path / "e", config)


def test_every_field_is_explained() -> None:
    assert issubclass(evolve.Config, Section)
    assert all(field.description for field in evolve.Config.model_fields.values())
