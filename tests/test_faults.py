"""scripts/bench/faults.py: a run that is killed ends like an undisturbed one, and what differs is found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
BENCH = REPO / "scripts" / "bench"
RECIPE = f"""
seed: 0
models:
  teacher: {{offline: {REPO}/data/offline, seed: 2, errors: {{default: 0.3}}}}
benchmarks:
  heldout: {REPO}/data/offline/heldout.jsonl
stages:
  evolve: {{problems: {REPO}/data/offline/seeds.jsonl, model: teacher, rounds: 2, children: 2, pool: all, limit: 400}}
  clean: {{problems: $evolve/problems.jsonl, decontaminate: [heldout]}}
  tests: {{problems: $clean/problems.jsonl, models: [teacher], per_problem: 5, limit: 60, isolation: none}}
  sample: {{problems: $tests/problems.jsonl, template: plain, from: [{{model: teacher, n: 2}}]}}
  rank:
    problems: $tests/problems.jsonl
    responses: $sample/responses.jsonl
    unverified: accept
    isolation: none
"""
TRAINING = """
seed: 0
stages:
  init:
    architecture: gpt_bigcode
    texts: sft.jsonl
    vocab_size: 300
    hidden_size: 16
    num_layers: 1
    num_heads: 2
  sft:
    model: $init/model
    data: sft.jsonl
    global_batch_size: 4
    args: &args {max_steps: 16, logging_steps: 1, save_steps: 4, use_cpu: true}
  align:
    model: $sft/model
    data: pairs.jsonl
    loss: {name: dpo}
    global_batch_size: 4
    args: *args
"""


@pytest.fixture
def whole(monkeypatch):
    """The module that looks at runs."""
    monkeypatch.syspath_prepend(str(BENCH))
    import whole

    return whole


@pytest.fixture
def trial(monkeypatch):
    """The module that draws moments."""
    monkeypatch.syspath_prepend(str(BENCH))
    import trial

    return trial


@pytest.fixture
def recipe(tmp_path):
    rows = [{"prompt": f"# add {n}\n", "completion": f"def f(x):\n    return x + {n}\n"} for n in range(24)]
    pairs = [
        {"problem_id": f"p{n}", "prompt": row["prompt"], "chosen": row["completion"], "rejected": "pass\n"}
        for n, row in enumerate(rows)
    ]
    for name, records in (("sft", rows), ("pairs", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "training.yaml").write_text(TRAINING)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path / "tiny.yaml"


def finished(folder, words="one two"):
    """A finished run of one stage, with everything that a run's folder holds."""
    from align.recipe.workspace import Workspace

    run = Workspace(folder / "runs", "toy")
    stage = run.folder / "make-0123456789ab"
    stage.mkdir(parents=True)
    (stage / "words.txt").write_text(words)
    (stage / "timings.jsonl").write_text(str(folder))
    run.finish(stage, {"name": "make", "kind": "toy", "key": "0123456789abcdef", "counts": {}, "seconds": 1.0})
    run.record("make", stage, {"order": ["make"], "run": "toy"})
    (run.folder / "report.html").write_text("<html></html>\n")
    return run.folder


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("tiny.yaml", {"data", "generation"}),
        pytest.param("training.yaml", {"data", "training"}, marks=pytest.mark.slow),
    ],
)
def test_three_kills_leave_the_bytes_of_an_undisturbed_run(recipe, tmp_path, trial, name, phases):
    command = [sys.executable, str(BENCH / "faults.py"), name, "--kills", "3", "--runs", "bench", "--json", "out"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out").read_text())
    landed = [kill for kill in found["kills"] if kill["seconds"] is not None]
    assert len(landed) == 3
    assert phases <= {trial.PHASES.get(kill["stage"], "data") for kill in landed}
    assert found["faults"] == []
    assert "3 of 3 kills landed" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr


def test_equal_runs_are_whole_and_have_no_differences(whole, tmp_path):
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other")
    assert list(whole.torn(other)) == []
    assert list(whole.differences(one, other)) == []
    assert whole.left_over(other) == []


def test_one_changed_byte_is_named_with_its_file(whole, tmp_path):
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other")
    (other / "make" / "words.txt").write_text("one twO")
    assert list(whole.differences(one, other)) == ["make/words.txt: differs"]
    assert list(whole.torn(other)) == ["make-0123456789ab/words.txt: not the bytes that stage.json names"]


def test_other_counts_or_files_are_named(whole, tmp_path):
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other")
    marker = other / "make" / "stage.json"
    data = json.loads(marker.read_text())
    marker.write_text(json.dumps({**data, "seconds": 9.0, "counts": {"kept": 1}, "files": {}}))
    assert list(whole.differences(one, other)) == [
        "make/stage.json: counts differs",
        "make/words.txt: in one of the runs only",
    ]


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("make/stage.json", '{"files"', "make-0123456789ab/stage.json: not JSON"),
        ("make/more.txt", "", "make-0123456789ab/more.txt: not in stage.json"),
        ("run.json", "{", "run.json: not JSON"),
        ("report.html", "<html>", "report.html: cut off"),
        ("words.txt", "", "words.txt: a file of no stage"),
        ("../.hashes.json", "", ".hashes.json: not JSON"),
    ],
)
def test_what_is_torn_is_named(whole, tmp_path, file, content, fault):
    run = finished(tmp_path)
    (run / file).write_text(content)
    assert list(whole.torn(run)) == [fault]


def test_an_unfinished_stage_may_hold_anything_but_may_not_be_linked(whole, tmp_path):
    run = finished(tmp_path)
    (run / "make" / "stage.json").unlink()
    assert list(whole.torn(run)) == ["make: links to a stage that is not done"]
    (run / "make").unlink()
    assert list(whole.torn(run)) == []


def test_ten_kills_fall_into_every_phase(trial):
    kinds = {"evolve": "data", "sample": "generation", "sft": "training", "score": "scoring"}
    stages = [trial.Stage(name, phase, name, 1.0) for name, phase in kinds.items()]
    assert {phase: trial.turns(stages, 10).count(phase) for phase in kinds.values()} == {
        "data": 2,
        "generation": 2,
        "training": 3,
        "scoring": 2,
    }
    assert trial.turns(stages[2:], 3) == ["training", "scoring", "training"]


def test_a_missed_kill_is_drawn_from_later_stages(trial):
    stages = [trial.Stage(name, "data", name, seconds) for name, seconds in (("a", 9.0), ("b", 0.0), ("c", 9.0))]
    drawn = {trial.draw(trial.Random(seed), stages, "data", after=0).stage for seed in range(2000)}
    # a stage that takes no time at all can be hit, too
    assert drawn == {1, 2}
    assert trial.draw(trial.Random(0), stages, "data", after=2) is None


def test_a_recipe_that_fails_is_a_mistake(recipe, tmp_path):
    command = [
        sys.executable,
        str(BENCH / "faults.py"),
        str(recipe),
        "stages.evolve.problems=no.jsonl",
        "--runs",
        "bench",
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "no.jsonl" in ended.stderr
    assert "Traceback" not in ended.stderr
