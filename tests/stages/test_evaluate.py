"""The evaluate stage on tiny BLOOMs: benchmarks end to end, resume to the same bytes, mistakes before any model."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from align.cli import main
from align.errors import AlignError, ConfigError
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.models.trained_on import TrainedOn, write_trained_on
from align.recipe.recipe import Recipe
from align.recipe.stage import Context
from align.report.page import write_report
from align.score.choosing import chosen
from align.score.classify import Choice, Chosen
from align.score.multitask import ChoiceResult, TextResult
from align.stages import evaluate
from align.stages.score import spelt_out

TEMPLATES = """
- {name: ask, language: en, input: '{{ a }} So?', target: '{{ answer_choices[label] }}', choices: '{{b}} ||| {{c}}'}
- {name: then, language: en, input: '{{ a }} Then', target: '{{ answer_choices[label] }}', choices: '{{b}} ||| {{c}}'}
"""
SUMS = "- {name: sum, language: en, input: '{{ a }} + {{ b }} =', target: '{{ c }}'}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(["the man opened a tap, water flowed 他打开水龙头 12 34 + ="] * 9, 320)
    for seed, name in enumerate(("base", "tuned")):
        shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position": 256}
        save_tiny(random_model("bloom", vocab_size=len(tokenizer), seed=seed, **shape), tokenizer, folder / name)
    return folder


@pytest.fixture
def place(tmp_path: Path, models: Path) -> Path:
    for code in ("en", "sw"):
        rows = [f"the {code} man {n},water,tap {n},{n % 2}" for n in range(24)]
        (tmp_path / f"test.{code}.csv").write_text("\n".join(["a,b,c,label", *rows]))
        (tmp_path / f"val.{code}.csv").write_text("\n".join(["a,b,c,label", *rows]).replace("man", "tap"))
    (tmp_path / "sums.test.en.csv").write_text("a,b,c\n1,2,3\n12,34,46\n")
    (tmp_path / "own.yaml").write_text(TEMPLATES)
    (tmp_path / "sums.yaml").write_text(SUMS)
    return tmp_path


def recipe(
    place: Path, models: Path, tasks: dict[str, Any], names: Sequence[str] = ("base", "tuned"), **more: Any
) -> Path:
    entries = {name: {"model_name_or_path": str(models / name)} for name in names}
    stage = {"models": {name: name for name in entries}, "tasks": tasks, **more}
    path = place / "recipe.yaml"
    path.write_text(json.dumps({"models": entries, "stages": {"evaluate": stage}}))
    return path


def evaluated(place: Path, models: Path, tasks: dict[str, Any], out: str = "out", **more: Any) -> Path:
    """Run the stage alone, as the engine would."""
    loaded = Recipe.load(recipe(place, models, tasks, **more))
    folder = place / out
    folder.mkdir(exist_ok=True)
    (stage,) = loaded.stages
    from align.recipe.plan import resolve

    config = resolve(loaded, stage.config, {})
    evaluate.run(config, Context("evaluate", folder, 0, loaded.models))  # type: ignore[arg-type]
    return folder


def own(**more: Any) -> dict[str, Any]:
    return {"data": "test.*.csv", "templates": "own.yaml", **more}


def test_options_are_chosen_and_sums_are_written_with_a_figure_a_model_and_paired_differences(place, models):
    sums = {"data": "sums.test.en.csv", "templates": "sums.yaml", "max_new_tokens": 6, "min_new_tokens": 3}
    out = evaluated(place, models, {"own": own(), "sums": sums}, measure="median")
    score = json.loads((out / "score.json").read_text())
    assert list(score["models"]) == ["base", "tuned"]
    for model in score["models"].values():
        assert list(model["tasks"]) == ["own", "sums"]
        assert "pass@1" not in model
        value, low, high = model["tasks"]["own"]
        assert low <= value <= high
    assert score["models"]["base"]["tasks"]["own"][0] == score["details"]["base"]["own"]["sum"]["median"]["accuracy"]
    assert {"best", "median"} < score["details"]["base"]["own"]["character"].keys()
    pair = score["paired"]["tuned-base"]["tasks"]["own"]
    figures = [score["models"][name]["tasks"]["own"][0] for name in ("tuned", "base")]
    assert pair["delta"] == pytest.approx(figures[0] - figures[1], abs=2e-3)
    assert score["tasks"]["own"]["examples"] == {"en": 24, "sw": 24}
    assert score["tasks"]["sums"]["figure"] == "exact_match"
    lines = (out / "results.jsonl").read_text().splitlines()
    kinds = [TextResult if '"output"' in line else ChoiceResult for line in lines]
    found = [kind.model_validate_json(line) for kind, line in zip(kinds, lines, strict=True)]
    assert len(found) == 2 * (2 * 2 * 24 + 2)
    assert {row.model for row in found} == {"base", "tuned"}


def test_xcopa_xwinograd_and_mgsm_score_end_to_end(place, models, shared):
    folder = shared / "data/multitask"
    short = {"limit": 2}
    out = evaluated(
        place,
        models,
        {
            "xcopa": {"data": str(folder / "xcopa"), "split": "test", "templates": "xcopa", "shots": 1,
                      "examples": str(folder / "xcopa/val.*.jsonl"), **short},
            "promptsource": {"data": str(folder / "xcopa/test.id.jsonl"), **short,
                             "templates": str(folder / "promptsource/xcopa__id.yaml")},
            "xwinograd": {"data": str(folder / "xwinograd_dataset.tsv"), "templates": "xwinograd", **short},
            "mgsm": {"data": str(folder / "mgsm"), "templates": "mgsm", "metrics": ["exact_match", "chrf", "script"],
                     "max_new_tokens": 4, "names": ["solve"], **short},
        },
        names=["tuned"],
    )  # fmt: skip
    score = json.loads((out / "score.json").read_text())
    assert len(score["tasks"]["xcopa"]["examples"]) == len(score["tasks"]["mgsm"]["examples"]) == 11
    assert set(score["tasks"]["xwinograd"]["examples"]) == {"en", "fr", "ja", "pt", "ru", "zh"}
    for task in score["tasks"]:
        assert 0 <= score["models"]["tuned"]["tasks"][task][0] <= 100
    assert "wrong" in score["details"]["tuned"]["mgsm"]["templates"]["solve"]["sw"]["script"]


def test_what_was_chosen_is_not_asked_again_and_a_batch_is_the_unit(tmp_path):
    place = {"task": "t", "language": "en", "template": "a", "split": "test", "prompt": "p"}
    rows = [Choice(id=str(n), options=[" a", " b"], answer=0, **place) for n in range(6)]
    asked: list[list[int]] = []

    class Fails:
        def __init__(self, after: int) -> None:
            self.after = after

        def batches(self, rows, done=()):
            for start in (0, 2, 4):
                if start not in done:
                    if len(asked) == self.after:
                        raise KeyboardInterrupt
                    asked.append([start, start + 1])
                    yield {n: Chosen.of(rows[n], [-n / 3, -1.1], [1, 1]) for n in asked[-1]}

    journal = tmp_path / ".choices.jsonl"
    with pytest.raises(KeyboardInterrupt):
        chosen(lambda: Fails(2), rows, journal, "x")
    first = chosen(lambda: Fails(9), rows, journal, "x")
    assert asked == [[0, 1], [2, 3], [4, 5]]

    def never() -> Any:
        raise AssertionError("everything is known")

    assert chosen(never, rows, journal, "x") == first
    assert [one.logprobs[0] for one in first] == [-n / 3 for n in range(6)]
    # other rows are asked anew
    chosen(lambda: Fails(99), [row.model_copy(update={"prompt": "q"}) for row in rows], journal, "x")
    assert len(asked) == 6


def test_interrupted_between_batches_it_ends_with_the_same_bytes(place, models, monkeypatch):
    tasks = {"own": own(limit=12), "sums": {"data": "sums.test.en.csv", "templates": "sums.yaml", "max_new_tokens": 9}}
    small: dict[str, Any] = {"max_tokens_per_batch": 100, "batch_size": 1}
    whole = evaluated(place, models, tasks, "whole", **small)
    made = evaluate.chooser

    class Stops:
        def __init__(self, *given: Any) -> None:
            self.inner = made(*given)

        def batches(self, rows, done=()):
            for number, batch in enumerate(self.inner.batches(rows, done)):
                if number == 2:
                    raise KeyboardInterrupt
                yield batch

    monkeypatch.setattr(evaluate, "chooser", Stops)
    stops = 0
    while True:
        try:
            out = evaluated(place, models, tasks, "stopped", **small)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 2
    for name in ("results.jsonl", "score.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(place, models):
    tasks = {"own": own(), "sums": {"data": "sums.test.en.csv", "templates": "sums.yaml", "max_new_tokens": 30}}
    whole = evaluated(place, models, tasks, "whole", max_tokens_per_batch=200, batch_size=1)
    run = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from test_evaluate import *;"
        "evaluated(Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]), 'killed',"
        " max_tokens_per_batch=200, batch_size=1)"
    )
    words = [sys.executable, "-c", run, str(Path(__file__).parent), str(place), str(models), json.dumps(tasks)]
    journal = place / "killed" / ".choices-base.jsonl"
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": os.getcwd()})
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 4):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (place / "killed" / "score.json").exists()
    kept = journal.read_bytes().count(b"\n")
    evaluated(place, models, tasks, "killed", max_tokens_per_batch=200, batch_size=1)
    assert kept >= 4
    for name in ("results.jsonl", "score.json"):
        assert (place / "killed" / name).read_bytes() == (whole / name).read_bytes()


def test_a_model_that_was_trained_on_the_benchmark_is_warned_of(place, models, capsys):
    (place / "xcopa").mkdir()
    (place / "test.en.csv").rename(place / "xcopa" / "test.en.csv")
    write_trained_on(models / "tuned", TrainedOn(benchmarks=["XCOPA"], variant="xP3all"))
    try:
        out = evaluated(place, models, {"any": own(data="xcopa/test.en.csv")})
    finally:
        (models / "tuned" / "trained_on.json").unlink()
    (line,) = json.loads((out / "score.json").read_text())["warnings"]
    assert "tuned was trained on XCOPA (in xP3all)" in line
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"templates": "xcoppa"}, "xcoppa"),
        ({"names": ["aks"]}, "no template 'aks'"),
        ({"columns": {"a": "premise"}}, "no column 'premise'"),
        ({"data": "sums.test.en.csv"}, "no column 'label'"),
        ({"templates": "sums.yaml", "names": ["sum"], "metrics": ["exactmatch"]}, "metrics"),
        ({"metrics": ["bleu", "exact_match"]}, "bleu is of a whole set"),
        ({"shots": 2}, "needs `examples:`"),
        ({"examples": "val.*.csv"}, "is of no use with 0 shots"),
        ({"shots": 1, "examples": "test.*.csv"}, "is of the split that is evaluated: draw examples from another one"),
        ({"min_new_tokens": 300}, "is over max_new_tokens 256"),
        ({"data": "missing.*.csv"}, "no file of rows there"),
        ({"stop": ["a", ""]}, "stop"),
        ({"metrics": ["exact_match", "script"], "language": "klingon"}, "unknown language 'klingon'"),
        ({"language": "klingon"}, "unknown language 'klingon'"),
        ({"prompts": "own"}, "no prompt for data in 'sw'"),
    ],
)
def test_mistakes_are_one_line_of_the_recipe_before_anything_runs(place, models, task, said):
    with pytest.raises(ConfigError, match=said) as caught:
        Recipe.load(recipe(place, models, {"own": own(**task)}))
    assert "recipe.yaml:1: stages.evaluate.tasks.own" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_only_the_rows_show_is_told_before_a_model_is_loaded(place, models, monkeypatch):
    def never(*_: Any) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(evaluate, "chooser", never)
    (place / "val.sw.csv").write_text("a,b,c,label\nx,y,z,0\n")
    with pytest.raises(AlignError, match=r"tasks\.own: own, sw, ask: 3 examples wanted, 1 to draw from"):
        evaluated(place, models, {"own": own(shots=3, examples="val.*.csv")})
    (place / "test.sw.csv").write_text("a,b,c,label\n" + "x,y,z,0\n" * 30)
    with pytest.raises(AlignError, match=r"tasks\.own: .*test\.sw\.csv: label has one value in every row"):
        evaluated(place, models, {"own": own()})


def test_an_endpoint_gives_no_log_probabilities(place, models, capsys):
    path = recipe(place, models, {"own": own()})
    data = json.loads(path.read_text())
    data["models"]["base"] = {"base_url": "http://127.0.0.1:9", "model": "m"}
    path.write_text(json.dumps(data))
    assert main(["check", str(path)]) == 2
    assert "stages.evaluate.models.base: own needs log-probabilities" in capsys.readouterr().err
    data["stages"]["evaluate"]["tasks"]["own"]["metrics"] = ["exact_match"]
    path.write_text(json.dumps(data))
    assert main(["check", str(path)]) == 0
    data["stages"]["evaluate"]["tasks"]["own"]["min_new_tokens"] = 3
    path.write_text(json.dumps(data))
    assert main(["check", str(path)]) == 2
    assert "tasks.own.min_new_tokens: models.base: min_new_tokens 3: a server need not" in capsys.readouterr().err


def test_a_model_that_is_a_file_is_one_line_of_check(place, models, capsys):
    path = recipe(place, models, {"own": own()})
    data = json.loads(path.read_text())
    data["models"]["base"]["model_name_or_path"] = "own.yaml"
    path.write_text(json.dumps(data))
    assert main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert "stages.evaluate.models.base: model 'base'" in error
    assert "own.yaml" in error
    assert error.count("\n") == 1


def test_a_folder_without_a_step_is_named(place, models):
    with pytest.raises(AlignError, match=r"stages\.e\.models\.base: no step in .*name `\$stage/checkpoints/\*`"):
        spelt_out({"base": f"{models}/base/*"}, Context("e", place, 0))


def test_a_files_name_and_our_templates_are_in_the_key(place, models):
    from align.recipe.plan import keyed

    loaded = Recipe.load(recipe(place, models, {"x": {"data": "test.en.csv", "templates": "xnli", "columns": {
        "premise": "a", "hypothesis": "b"}}}))  # fmt: skip
    task = keyed(loaded.stages[0].config)["tasks"]["x"]
    assert list(task["data"]) == ["test.en.csv"]
    assert task["shipped"].startswith("xnli@")
    assert task["templates"] is None


def test_a_run_of_it_is_shown_with_the_tasks_and_its_page_has_them(place, models, monkeypatch, capsys):
    monkeypatch.chdir(place)
    path = recipe(place, models, {"own": own()})
    assert main(["run", str(path)]) == 0
    capsys.readouterr()
    assert main(["show", "runs/recipe", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"]["tuned"].keys() == {"tasks", "examples"}
    assert len(found["models"]["tuned"]["tasks"]["own"]) == 3
    assert found["paired"]["tuned-base"]["tasks"]["own"].keys() == {"delta", "low", "high"}
    assert main(["show", "runs/recipe"]) == 0
    assert re.search(r"^own +tuned +", capsys.readouterr().out, re.MULTILINE)
    assert main(["show", "runs/recipe/evaluate"]) == 0
    assert "choice-result, text-result" in capsys.readouterr().out
    assert main(["report", "runs/recipe"]) == 0
    assert "own by language" in (place / "runs/recipe/report.html").read_text()
    assert main(["run", str(path)]) == 0
    assert "cached" in capsys.readouterr().out


def test_what_no_prompt_fits_is_counted_by_reason_also_in_the_report(place, models):
    rows = [{"a": f"the man {n}", "b": "water", "c": f"tap {n}", "label": n % 2} for n in range(3)]
    lacking = {"a": "the man", "b": "water", "label": 0}
    (place / "odd.test.en.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, lacking]))
    path = recipe(place, models, {"odd": {"data": "odd.test.en.jsonl", "templates": "own.yaml"}})
    folder = Recipe.load(path).run()
    assert json.loads((folder / "evaluate" / "stage.json").read_text())["counts"]["dropped"] == {"missing_field": 1}
    assert write_report(folder).is_file()
