"""The stages that make data: evolve, clean, tests, sample. With the offline teacher, end to end."""

from pathlib import Path
from typing import Any

import pytest

from align.errors import StageError
from align.generate import Reply
from align.generate.family import Family
from align.generate.offline import OfflineGenerator
from align.io import read, write
from align.models.entry import AnyEntry, Offline
from align.recipe import stage
from align.recipe.stage import Context, Counts
from align.schema import Problem, Rejected, Response, SftRow
from align.stages import clean, evolve, sample, tests

FOLDER = Path(__file__).parents[2] / "data" / "offline"
MODELS: dict[str, AnyEntry] = {
    "noisy": Offline(offline=str(FOLDER), errors={"tricky": 0.6, "default": 0.08}),
    "teacher": Offline(offline=str(FOLDER), seed=1),
}


def run(module: Any, out: Path, config: dict[str, Any], seed: int = 0) -> Counts:
    found: Counts = module.run(module.Config.model_validate(config), Context(out.name, out, seed, MODELS))
    return found


def left(folder: Path) -> set[str]:
    """What a stage leaves: the run removes its hidden files once it is done."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def seeds(folder: Path, count: int = 40) -> str:
    path = folder / "seeds.jsonl"
    write(path, read(FOLDER / "seeds.jsonl", Problem)[:count])
    return str(path)


def with_tests(folder: Path, count: int = 12) -> str:
    run(tests, folder / "tests", {"problems": seeds(folder, count), "models": ["teacher"]})
    return str(folder / "tests" / "problems.jsonl")


def test_problems_evolve_are_cleaned_and_get_tests(tmp_path: Path) -> None:
    counts = run(evolve, tmp_path / "evolve", {"problems": seeds(tmp_path), "model": "teacher", "pool": "all"})
    assert counts["kept"] > 250
    evolved = str(tmp_path / "evolve" / "problems.jsonl")
    counts = run(clean, tmp_path / "clean", {"problems": evolved, "decontaminate": [str(FOLDER / "heldout.jsonl")]})
    assert counts["kept"] > 200
    cleaned = str(tmp_path / "clean" / "problems.jsonl")
    counts = run(tests, tmp_path / "tests", {"problems": cleaned, "models": ["teacher"], "per_problem": 8})
    problems = read(tmp_path / "tests" / "problems.jsonl", Problem)
    assert counts["kept"] == len(problems) > 200
    assert {len(problem.tests) for problem in problems} == {8}
    family = Family(FOLDER)
    assert not any(family.read(str(problem.prompt)).is_held_out for problem in problems)
    for kind in ("evolve", "clean", "tests"):
        rejected = read(tmp_path / kind / "rejected.jsonl", Rejected)
        assert all(entry.reason for entry in rejected)
        assert left(tmp_path / kind) == {"problems.jsonl", "rejected.jsonl"}


def test_evolve_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"problems": seeds(tmp_path), "model": "teacher", "rounds": 3, "limit": 100}
    run(evolve, tmp_path / "whole", config)
    monkeypatch.setattr("align.generate.offline.BATCH", 16)
    answered = 0
    reply = OfflineGenerator.reply

    def dying(self: OfflineGenerator, request: Any) -> str:
        nonlocal answered
        answered += 1
        if answered == 100:
            raise KeyboardInterrupt
        return reply(self, request)

    monkeypatch.setattr(OfflineGenerator, "reply", dying)
    with pytest.raises(KeyboardInterrupt):
        run(evolve, tmp_path / "again", config)
    assert not (tmp_path / "again" / "problems.jsonl").exists()
    run(evolve, tmp_path / "again", config)
    for name in ("problems.jsonl", "rejected.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_first_problems_of_a_limited_evolution_are_of_all_rounds(tmp_path: Path) -> None:
    counts = run(evolve, tmp_path / "e", {"problems": seeds(tmp_path), "model": "teacher", "limit": 60})
    problems = read(tmp_path / "e" / "problems.jsonl", Problem)
    assert len(problems) == counts["kept"] == 60
    assert {problem.round for problem in problems} == {0, 1, 2, 3}


def test_samples_come_in_the_order_problem_source_sample(tmp_path: Path) -> None:
    source = {"model": "noisy", "n": 2, "temperature": [0.5, 1.0]}
    config = {"problems": with_tests(tmp_path), "from": [{"model": "teacher"}, source], "template": "plain"}
    counts = run(sample, tmp_path / "s", config)
    problems = read(tmp_path / "tests" / "problems.jsonl", Problem)
    responses = read(tmp_path / "s" / "responses.jsonl", Response)
    assert counts["responses"] == len(responses) == 5 * len(problems)
    expected = [("teacher", 0), *(("noisy", index) for index in range(4))]
    assert [(r.model, r.sample_index) for r in responses] == expected * len(problems)
    assert [r.problem_id for r in responses[::5]] == [problem.id for problem in problems]
    assert [r.sampling["temperature"] for r in responses[1:5]] == [0.5, 0.5, 1.0, 1.0]
    assert {r.role for r in responses} == {"teacher"}
    assert len({r.id for r in responses}) == len(responses)


def test_sft_rows_are_final_text_of_the_programs(tmp_path: Path) -> None:
    config = {"problems": with_tests(tmp_path), "from": [{"model": "noisy", "role": "reference"}], "template": "plain"}
    run(sample, tmp_path / "s", config)
    responses = read(tmp_path / "s" / "responses.jsonl", Response)
    rows = read(tmp_path / "s" / "sft.jsonl", SftRow)
    assert [row.completion for row in rows] == [response.code for response in responses]
    assert all(row.prompt.startswith("# f(") and row.prompt.endswith(".\n") for row in rows)
    assert all(row.completion.startswith("def f(") for row in rows)
    assert {response.role for response in responses} == {"reference"}


def test_without_a_template_no_sft_rows_are_written(tmp_path: Path) -> None:
    run(sample, tmp_path / "s", {"problems": with_tests(tmp_path), "from": [{"model": "noisy"}]})
    assert left(tmp_path / "s") == {"responses.jsonl"}


def test_the_model_of_a_response_is_a_name_never_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Student:
        keeps = False

        def generate(self, requests: Any, done: Any = ()) -> Any:
            yield {index: Reply(text="def f(): pass", finish="length") for index in range(len(requests))}

    problems = with_tests(tmp_path)
    monkeypatch.setattr(stage, "generator", lambda entry, **_: Student())
    model = tmp_path / "model"
    model.mkdir()
    config = {"problems": problems, "from": [{"model": str(model)}], "template": "plain"}
    context = Context("s", tmp_path / "s", 0, MODELS, {str(model): "sft"})
    counts = sample.run(sample.Config.model_validate(config), context)
    responses = read(tmp_path / "s" / "responses.jsonl", Response)
    assert {(response.model, response.role) for response in responses} == {("sft", "student")}
    assert responses[0].template.startswith("plain@")
    assert counts["sft_rows"] == 0


def test_weights_that_teach_are_asked_in_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Both:
        keeps = False

        def generate(self, requests: Any, done: Any = ()) -> Any:
            asked.extend(requests)
            yield {index: Reply(text="def f(): pass") for index in range(len(requests))}

    problems = with_tests(tmp_path, count=1)
    monkeypatch.setattr(stage, "generator", lambda entry, **_: Both())
    (tmp_path / "model").mkdir()
    model = str(tmp_path / "model")
    sources = [{"model": model, "role": "teacher"}, {"model": model}]
    run(sample, tmp_path / "s", {"problems": problems, "from": sources, "template": "raw"})
    assert [isinstance(request.prompt, str) for request in asked] == [False, True]
    responses = read(tmp_path / "s" / "responses.jsonl", Response)
    assert [(one.role, one.template.partition("@")[0]) for one in responses] == [
        ("teacher", "solve"),
        ("student", "raw"),
    ]


def test_limit_and_offset_cut_the_problems(tmp_path: Path) -> None:
    problems = read(with_tests(tmp_path), Problem)
    config = {"problems": with_tests(tmp_path), "from": [{"model": "noisy"}], "offset": 3, "limit": 2}
    run(sample, tmp_path / "s", config)
    found = [response.problem_id for response in read(tmp_path / "s" / "responses.jsonl", Response)]
    assert found == [problem.id for problem in problems[3:5]]


def test_a_cut_off_answer_is_no_sft_row() -> None:
    problem = Problem(prompt="Sum.")
    responses = [
        Response(problem_id=problem.id, text="a", code="a = 1", finish=finish, sample_index=index)
        for index, finish in enumerate(("stop", "length", "error"))
    ]
    assert list(sample.sft_rows("plain", [problem], responses)) == [SftRow(prompt="Sum.\n", completion="a = 1")]


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (evolve, {"model": "teacher"}),
        (clean, {}),
        (tests, {"models": ["teacher"]}),
        (sample, {"from": [{"model": "teacher"}]}),
    ],
)
def test_nothing_to_work_on_is_one_clear_line(module: Any, config: dict[str, Any], tmp_path: Path) -> None:
    path = seeds(tmp_path, 0)
    with pytest.raises(StageError, match=r"^stages\.out: .*seeds\.jsonl holds no problem to"):
        run(module, tmp_path / "out", {"problems": path, **config})


def test_nothing_left_is_one_clear_line(tmp_path: Path) -> None:
    path = seeds(tmp_path)
    with pytest.raises(StageError, match="no problem is left of 40"):
        run(clean, tmp_path / "out", {"problems": path, "decontaminate": [path]})


def test_every_output_loads_as_a_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run(sample, tmp_path / "s", {"problems": with_tests(tmp_path), "from": [{"model": "noisy"}], "template": "plain"})
    for path in (*(tmp_path / "s").glob("*.jsonl"), tmp_path / "tests" / "problems.jsonl"):
        loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == sum(1 for _ in path.open())


def test_without_a_model_the_tests_stage_leaves_out_problems_that_have_none(tmp_path: Path) -> None:
    rows = [{"question": f"Say {n}.", "checks": ["assert f() == 1"] if n else None, "uid": n} for n in range(3)]
    write(tmp_path / "own.jsonl", rows)
    columns = {"prompt": "question", "tests": "checks"}
    counts = run(tests, tmp_path / "tests", {"problems": str(tmp_path / "own.jsonl"), "columns": columns})
    assert counts == {"kept": 2, "native": 2, "rejected": {"no_tests": 1}}
    assert [problem.meta["uid"] for problem in read(tmp_path / "tests" / "problems.jsonl", Problem)] == [1, 2]


def test_many_contaminated_problems_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = "write a function that takes a list of numbers and returns every one of them plus"
    write(tmp_path / "own.jsonl", [Problem(prompt=f"{frame} {n}") for n in range(4)] + [Problem(prompt="Sort.")])
    write(tmp_path / "dev.jsonl", [Problem(prompt=f"{frame} 9")])
    config = {"problems": str(tmp_path / "own.jsonl"), "decontaminate": [str(tmp_path / "dev.jsonl")]}
    assert run(clean, tmp_path / "clean", config)["kept"] == 1
    assert "4 of 5 problems are dropped, which share 13 words in a row" in capsys.readouterr().err
    assert run(clean, tmp_path / "again", {**config, "ngram": 17})["kept"] == 5
    assert capsys.readouterr().err == ""
