"""The page: complete, self-contained, and safe with whatever models write."""

import dataclasses
import fcntl
import re
import shutil
import struct
import subprocess
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from align.errors import DataError
from align.io import write
from align.report import write_report
from align.report.collect import Evaluation, collect
from align.report.page import LINES, program, render
from align.schema import Problem

from .conftest import sample

HOSTILE = "</code></pre><script>alert('1')</script><img src=x onerror=\"alert(2)\">"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def page(run) -> Page:
    return Page(write_report(run.folder).read_text(encoding="utf-8"))


def test_an_older_run_that_counts_the_dropped_without_reasons_has_its_page(run):
    run.begin("clean")
    run.finish("clean", "evaluate", {"rows": 12345, "kept": {"en": 2}, "dropped": 17, "rejected": None})
    text = page(run).text
    assert "17 dropped" in text
    assert "12,345 rows" in text
    assert "kept: 2 en" in text


@pytest.mark.parametrize("file", ["results.jsonl", "score.json"])
def test_results_in_an_older_form_are_named_and_the_rest_is_shown(finished, file):
    path = finished.folder / "score" / file
    old, new = ('"reason"', '"why___"') if file == "results.jsonl" else ('"outcomes"', '"endings_"')
    assert old in path.read_text()
    # as long as before: the stage counts as done
    path.write_text(path.read_text().replace(old, new))
    report = collect(finished.folder)
    assert (report.scores, report.unread) == ([], ["score"])
    text = page(finished).text
    assert "What score measured is not shown" in text
    assert "1,234" in text


def test_a_finished_run_shows_scores_counts_curves_changes_and_versions(finished):
    text = page(finished).text
    for figure in (
        "toy finished",
        "rrtf 75.0",
        "+25.0",
        "1,234 kept",
        "56 contaminated",
        "1,100 trained on",
        "loss/rank 0.125",
        "logps/worst -2.5",
        "2 fixed",
        "1 broken",
        "Add number 0.",
        "At least one model solves 4 of 4",
        "python 3.11.7",
        "c0ffeec0ffee",
    ):
        assert figure in text, figure


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing(finished):
    found = page(finished)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [
        entry for entry in found.attributes if entry[1] in ("src", "href", "action") or entry[1].startswith("on")
    ]
    policy = next(value for tag, name, value in found.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"url\(|@import|https?:", (finished.folder / "report.html").read_text())


def test_whatever_models_and_strangers_write_stays_text(trained, tmp_path):
    problems = [Problem(prompt=HOSTILE + str(number), tests=["assert True"]) for number in range(2)]
    write(tmp_path / "heldout.jsonl", problems)
    names = [f'{HOSTILE}"a', "b' onload='alert(3)"]
    trained.score(
        {
            name: [sample(name, problem.id, passed, code=f"x = '''{HOSTILE}'''") for problem in problems]
            for name, passed in zip(names, (False, True), strict=True)
        },
        tmp_path / "heldout.jsonl",
    )
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toy.yaml").write_text("stages: {clean: {problems: heldout.jsonl}}")
    found = page(trained)
    assert not found.tags & {"script", "img"}
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert f"x = '''{HOSTILE}'''" in found.text
    assert HOSTILE + "0" in found.text
    assert names[1] in found.text


def test_several_samples_a_problem_show_every_k(trained, tmp_path, problems):
    write(tmp_path / "heldout.jsonl", problems)
    answers = {
        model: [sample(model, problem.id, index < good, index=index) for problem in problems for index in range(4)]
        for model, good in (("sft", 1), ("rrtf", 3))
    }
    trained.score(answers, tmp_path / "heldout.jsonl", k=(1, 4))
    text = page(trained).text
    assert "pass@4" in text
    assert "4 samples each" in text
    assert "4 fixed" in text
    meaning = "A model solves a problem if more than half of its 4 samples pass."
    assert text.count(meaning) == 2
    assert f"{meaning} At least one model solves 4 of 4." in text


def test_a_problem_is_called_by_its_own_id_too(trained, tmp_path, problems):
    named = [problem.model_copy(update={"meta": {"task_id": f"HumanEval/{n}"}}) for n, problem in enumerate(problems)]
    write(tmp_path / "heldout.jsonl", named)
    answers = {model: [sample(model, problem.id, model == "rrtf") for problem in problems] for model in ("sft", "rrtf")}
    trained.score(answers, tmp_path / "heldout.jsonl")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toy.yaml").write_text("stages: {clean: {problems: heldout.jsonl}}")
    text = page(trained).text
    assert f"HumanEval/2 Add number 2. Problem {problems[2].id} , task_id HumanEval/2" in text


def test_checkpoints_are_drawn_against_steps_and_only_the_best_is_compared(trained, tmp_path, problems):
    write(tmp_path / "heldout.jsonl", problems)
    solved = {"sft": 1, "rrtf@25": 2, "rrtf@50": 4, "rrtf@75": 3}
    trained.score(
        {
            name: [sample(name, problem.id, n < good) for n, problem in enumerate(problems)]
            for name, good in solved.items()
        },
        tmp_path / "heldout.jsonl",
        steps={"rrtf": {"rrtf@25": 25, "rrtf@50": 50, "rrtf@75": 75}},
        best="rrtf@50",
    )
    text = page(trained).text
    assert "Along training pass@1 against optimizer steps; kept: rrtf@50" in text
    compared = text[text.index("Fixed and broken against sft") :]
    assert "rrtf@50" in compared
    assert "rrtf@25" not in compared
    assert "rrtf@75" not in compared


def test_one_model_alone_has_no_differences(trained, tmp_path, problems):
    write(tmp_path / "heldout.jsonl", problems)
    trained.score({"rrtf": [sample("rrtf", problem.id, True) for problem in problems]}, tmp_path / "heldout.jsonl")
    text = page(trained).text
    assert "rrtf 100.0" in text
    assert "Fixed and broken" not in text
    assert "minus" not in text


def test_a_run_without_a_score_shows_what_it_has(trained):
    text = page(trained).text
    assert "Nothing is scored yet" in text
    assert "2 of 3 stages are done" in text
    assert "loss/rank 0.125" in text


def test_a_run_that_stopped_names_the_stage_and_the_command_that_goes_on(trained):
    trained.begin("score")
    text = page(trained).text
    assert "toy stopped" in text
    assert "Interrupted in score" in text
    assert "align run recipes/toy.yaml seed=7 goes on" in text


def test_a_run_that_failed_says_why(trained):
    (trained.begin("score") / ".stopped").write_text("the loss is <nan>")
    text = page(trained).text
    assert "toy failed" in text
    assert "Failed in score : the loss is <nan>." in text


def test_a_running_page_reloads_itself_and_a_finished_one_does_not(finished):
    assert "refresh" not in {value for _, _, value in page(finished).attributes}
    with open(finished.folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "refresh" in {value for _, _, value in page(finished).attributes}


def test_the_page_is_replaced_whole(finished, monkeypatch):
    before = write_report(finished.folder).read_text()
    monkeypatch.setattr("align.report.page.render", lambda *_: "x" + chr(0xD800))
    write_report(finished.folder)
    assert (finished.folder / "report.html").read_text() != before
    assert not list(finished.folder.glob(".report*"))
    monkeypatch.setattr("align.report.page.collect", lambda folder: (_ for _ in ()).throw(DataError("gone")))
    with pytest.raises(DataError):
        write_report(finished.folder)
    assert (finished.folder / "report.html").is_file()


def test_the_lines_that_only_one_program_has_are_marked():
    before, after = "def f(s):\n    s = s[5:]\n    return s", "def f(s):\n    s = s[-5:]\n    return s"
    assert [differs for _, differs in program(before, after)] == [False, True, False]
    assert program(None, after) == []


def test_a_program_without_end_is_cut():
    shown = program("x = 1\n" * 100_000, None)
    assert len(shown) == LINES + 1
    assert shown[-1][0] == f"… {100_000 - LINES} more lines"


def browse(*options: str, profile: Path) -> str:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    told = subprocess.run(
        [*command, *quiet, f"--user-data-dir={profile}", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return told.stdout


def pixels(path: Path) -> tuple[int, int, bytes]:
    """Width, height and the unpacked (still filtered) rows of a PNG."""
    data, at, packed = path.read_bytes(), 8, b""
    width, height = struct.unpack(">II", data[16:24])
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    return width, height, zlib.decompress(packed)


@pytest.mark.skipif(BROWSER is None, reason="chromium: not installed")
def test_a_browser_draws_the_page_and_finds_its_figures(finished, tmp_path):
    address = write_report(finished.folder).as_uri()
    dom = Page(browse("--dump-dom", address, profile=tmp_path / "one")).text
    for figure in ("rrtf 75.0", "1,234 kept", "2 fixed", "loss/rank 0.125"):
        assert figure in dom
    picture = tmp_path / "page.png"
    browse(f"--screenshot={picture}", "--window-size=800,600", "--hide-scrollbars", address, profile=tmp_path / "two")
    width, height, rows = pixels(picture)
    assert (width, height) == (800, 600)
    # a blank page has rows of one colour: next to no value in it is different from its neighbour
    assert sum(value != 0 for value in rows) > 0.005 * len(rows)
    assert len(set(rows)) > 50


def tasks_measured() -> Evaluation:
    table = {code: {"best": {"accuracy": 61.0}, "median": {"accuracy": 52.0}} for code in ("sw", "zh")}
    return Evaluation(
        stage="evaluate",
        tasks={"xcopa": {"figure": "accuracy (sum)", "prompt": "best", "shots": 0, "examples": {"sw": 500, "zh": 500}}},
        models={"base": {"xcopa": [50.0, 45.0, 55.0]}, "tuned": {"xcopa": [61.0, 57.0, 65.0]}},
        paired={"tuned": {"xcopa": {"delta": 11.0, "low": 7.5, "high": 14.5}}},
        details={name: {"xcopa": {"sum": {"languages": table}}} for name in ("base", "tuned")},
        warnings=["evaluate: tuned was trained on XCOPA <b>"],
    )


def test_tasks_show_their_figures_differences_languages_and_warnings(trained):
    report = dataclasses.replace(collect(trained.folder), evaluations=[tasks_measured()])
    found = Page(render(report, datetime.now(UTC)))
    assert "b" not in found.tags
    for told in ("tuned 61.0", "+11.0", "sw 500, zh 500", "zh 61.0 52.0 61.0 52.0", "trained on XCOPA <b>"):
        assert told in found.text
    assert "Nothing is scored yet" not in found.text
    assert "Nothing is scored yet" in page(trained).text
