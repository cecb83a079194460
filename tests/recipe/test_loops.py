import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align.errors import ConfigError, StageError
from align.io import rows, write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe import Recipe
from align.recipe.plan import plan
from align.recipe.summary import prune, summary
from align.recipe.workspace import Workspace
from align.report import write_report
from align.show.run import show_plan, show_run

TEXT = """
seed: 0
models:
  student: {model_name_or_path: student}
benchmarks: {bench: bench.jsonl}
stages:
  make: {use: toy_make}
  sample: {use: toy_grow, model: student, data: $make/numbers.jsonl}
  train: {use: toy_grow, model: student, data: $sample/texts.jsonl}
  dev: {use: toy_measure, models: {new: $train/model}, problems: dev.jsonl, curve: [10, 20, 25, 24, 30]}
  after: {use: toy_grow, model: $train/model}
repeat:
  times: 3
  stages: [sample, train, dev]
  carry: {student: $train/model}
"""
UNTIL = TEXT + "  until: {score: dev}\n"


TOYS = Path(__file__).parent / "toys"
REPO = Path(__file__).parents[2]
SCRIPT = """
import sys
from align import stages
stages.__path__.append(sys.argv[1])
from align.recipe import Recipe
Recipe.load("recipes/toy.yaml").run()
"""


def wait_for(found, seconds=30):
    last = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < last
        time.sleep(0.02)


def contents(folder):
    names = {stage["name"] for stage in summary(folder)["stages"]}
    files = {name: json.loads((folder / name / "stage.json").read_text())["files"] for name in names}
    return {name: {file: entry["sha256"] for file, entry in found.items()} for name, found in files.items()}


@pytest.fixture
def load(toys, tmp_path):
    """A function that writes and loads a recipe beside a student, a held-out set and a benchmark."""
    student = tmp_path / "recipes" / "student"
    student.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (student / name).write_text("{}")
    for name in ("dev", "bench"):
        (tmp_path / "recipes" / f"{name}.jsonl").write_text('{"prompt": "x"}\n')
    return lambda *overrides, text=TEXT, **more: toys(*overrides, text=text, **more)


def counts(folder):
    return {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}


def states(recipe):
    steps = plan(recipe, Workspace(recipe.folder.parent / "runs", recipe.name))
    return {step.stage.name: step.why for step in steps}


def config(folder, stage):
    return json.loads((folder / stage / "stage.json").read_text())["config"]


def test_a_loop_is_unrolled_and_each_iteration_starts_from_the_last_model(load):
    recipe = load()
    body = ["sample", "train", "dev"]
    assert [stage.name for stage in recipe.stages] == [
        "make", *body, *(f"{name}@2" for name in body), *(f"{name}@3" for name in body), "after",
    ]  # fmt: skip
    folder = recipe.run()
    found = counts(folder)
    assert [found[name]["level"] for name in ("train", "train@2", "train@3", "after")] == [1, 2, 3, 4]
    assert [found[name]["from"] for name in ("sample", "sample@2", "sample@3")] == ["student", "train", "train@2"]
    assert config(folder, "train@3")["data"] == "$sample@3/texts.jsonl"
    # what is not of the loop is read as it is
    assert config(folder, "sample@3")["data"] == "$make/numbers.jsonl"
    assert config(folder, "after")["model"] == "$train@3/model"


def test_iterations_draw_by_other_seeds_and_are_measured_by_the_same(load):
    found = counts(load().run())
    assert len({found[name]["seed"] for name in ("sample", "sample@2", "sample@3")}) == 3
    assert found["sample@2"]["seed"] == found["train@2"]["seed"]
    assert {found[name]["seed"] for name in ("dev", "dev@2", "dev@3", "after")} == {"0"}


def test_one_iteration_is_the_recipe_without_the_loop(load):
    plain = load(text=TEXT.partition("repeat:")[0], name="plain").run()
    looped = load("repeat.times=1").run()
    for stage in ("sample", "train", "dev", "after"):
        assert (plain / stage).resolve() == (looped / stage).resolve()


def test_more_iterations_keep_those_that_are_done(load):
    load("repeat.times=2").run()
    assert states(load())["train@2"] == "cached"
    assert states(load())["sample@3"] == "never run"
    assert states(load())["after"] == "unknown until train@3 runs"
    assert counts(load().run())["after"]["level"] == 4


def test_what_is_done_is_cached_and_a_change_reruns_what_depends_on_it(load):
    load().run()
    assert set(states(load()).values()) == {"cached"}
    changed = states(load("stages.train.pause=0.01"))
    assert changed["train"] == "pause 0.0 → 0.01"
    assert changed["sample@2"] == "unknown until train runs"


def test_one_iteration_can_be_named(load):
    with pytest.raises(StageError, match="sample@2 needs train, which is not done"):
        load().run(only=["sample@2"])
    with pytest.raises(ConfigError, match=r"no stage 'sample@4'.*did you mean 'sample@"):
        load().run(only=["sample@4"])
    load().run(only=["make", "sample", "train"])
    folder = load().run(only=["sample@2"])
    assert (folder / "sample@2").exists()
    assert not (folder / "dev").exists()
    with pytest.raises(StageError, match="after needs train@3, which is not done"):
        load().run(only=["after"])
    assert counts(load().run(start="dev"))["after"]["level"] == 4


def test_stages_after_the_loop_may_name_an_iteration(load):
    for written, level in (("$train@1/model", 2), ("$train@2/model", 3), ("$train/model", 4)):
        assert counts(load(f"stages.after.model={written}").run())["after"]["level"] == level
    with pytest.raises(ConfigError, match=r"toy.yaml:\d+: stages.after.model|override stages.after.model"):
        load("stages.after.model=$train@4/model")


def test_files_are_carried_like_models(load):
    text = TEXT.replace("carry: {student: $train/model}", "carry: {$make/numbers.jsonl: $train/texts.jsonl}")
    folder = load(text=text).run()
    assert config(folder, "sample@2")["data"] == "$train/texts.jsonl"
    assert config(folder, "sample@2")["model"] == "student"


@pytest.mark.parametrize(
    ("curve", "extra", "ended", "kept"),
    [
        ([10, 20, 25], "", 3, 3),
        ([10, 9, 25], "", 2, 1),
        ([10, 10, 25], "", 2, 1),
        ([10, 9, 25], ", patience: 2", 3, 3),
        ([10, 12, 25], ", min_gain: 3", 2, 1),
        ([10, 9, 25], ", keep: last", 2, 2),
    ],
)
def test_a_loop_ends_when_the_held_out_score_no_longer_rises(load, curve, extra, ended, kept):
    text = UNTIL.replace("score: dev", f"score: dev{extra}").replace("[10, 20, 25, 24, 30]", str(curve))
    folder = load(text=text).run()
    found = summary(folder)
    assert (found["repeat"]["ended"], found["repeat"]["kept"]) == (ended, kept)
    assert found["repeat"]["pass@1"] == curve[:ended]
    assert counts(folder)["after"]["level"] == kept + 1
    assert ("sample@3" in counts(folder)) == (folder / "sample@3").exists() == (ended == 3)
    again = states(load(text=text))
    assert {why.partition(":")[0] for why in again.values()} == ({"cached"} if ended == 3 else {"cached", "not needed"})


def test_a_plan_says_what_waits_for_a_score_and_what_is_not_needed(load, capsys):
    text = UNTIL.replace("[10, 20, 25, 24, 30]", "[10, 9, 8]")
    load(text=text).run(only=["make", "sample", "train"])
    found = states(load(text=text))
    assert found["sample@2"] == found["after"] == "unknown until dev runs"
    assert found["sample@3"] == "unknown until dev runs"
    with pytest.raises(StageError, match="sample@2 needs dev, which is not done"):
        load(text=text).run(only=["sample@2"])
    load(text=text).run(start="dev")
    assert states(load(text=text))["train@3"].startswith("not needed: the loop ended after 2 of 3, and keeps 1")
    with pytest.raises(StageError, match=r"train@3 is not needed: .*pass@1 10.0, 9.0"):
        load(text=text).run(only=["train@3"])
    with pytest.raises(StageError, match="after needs train@3, which is not needed"):
        load("stages.after.model=$train@3/model", text=text).run()
    folder = load(text=text).run()
    capsys.readouterr()
    show_run(summary(folder))
    show_plan(plan(load(text=text), Workspace(folder.parent, folder.name)), {})
    assert capsys.readouterr().out.count("ended after 2 of 3") == 4
    assert "sample@2" in write_report(folder).read_text()


def test_the_end_is_decided_anew_by_what_the_scores_are_now(load):
    folder = load(text=UNTIL).run()
    assert counts(folder)["after"]["level"] == 4
    patience = load("repeat.until.min_gain=12", text=UNTIL)
    # no stage runs again but what reads another model now
    assert states(patience)["after"] == "model $train@3/model → $train/model"
    patience.run()
    assert counts(folder)["after"]["level"] == 2
    # an iteration that is no longer needed is no longer named, and goes when it is asked to
    assert not (folder / "train@3").is_symlink()
    assert any(path.name.startswith("train@3-") for path, _ in prune(folder, dry_run=True))
    assert set(states(load(text=UNTIL)).values()) == {"cached"}


def test_a_score_without_the_figure_is_told_and_cured_as_told(load):
    folder = load(text=UNTIL).run(only=["make", "sample", "train", "dev"])
    path = folder / "dev" / "score.json"
    path.write_text(path.read_text().replace('"new"', '"old"'))
    with pytest.raises(StageError, match=r"no pass@1 of 'new'.*--force"):
        load(text=UNTIL).run()
    assert counts(load(text=UNTIL).run(force=["dev"]))["after"]["level"] == 4


def test_a_loop_that_is_killed_goes_on_and_leaves_the_same_bytes(load, tmp_path):
    # the later iterations go slower, so that one of them is hit
    recipe = load(text=UNTIL.replace("model: student, data: $sample", "pause: 0.5, model: student, data: $sample"))
    command = [sys.executable, "-c", SCRIPT, str(TOYS)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("runs/toy/train@2-*")))
    process.kill()
    process.wait()
    assert not (tmp_path / "runs/toy/train@2").exists()
    subprocess.run(command, cwd=tmp_path, check=True)
    again = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert again.stdout.count("cached") == 11
    undisturbed = recipe.run(runs=tmp_path / "elsewhere")
    assert contents(tmp_path / "runs/toy") == contents(undisturbed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("repeat.stages=[sample,trian]", "repeat.stages.1: no stage 'trian': did you mean 'train'"),
        ("repeat.stages=[sample,dev]", "repeat.stages: found sample, train there"),
        ("repeat.carry={studnt: $train/model}", "no stage of the loop reads 'studnt': did you mean 'student'"),
        ("repeat.carry={student: $make/numbers.jsonl}", "is not left by the loop"),
        ("repeat.carry={student: $train/modle}", "train leaves no 'modle': did you mean 'model'"),
        ("repeat.carry={student: $train/texts.jsonl}", "'student' is a model, '$train/texts.jsonl' is a file"),
        ("repeat.carry={}", "repeat.carry"),
        ("repeat.times=0", "repeat.times"),
        ("repeat.until={score: train}", "'train' is no score stage of the loop"),
        ("repeat.until={score: dev, model: old}", "dev scores no 'old'"),
        ("stages.dev.problems=bench", "a loop that ends by the benchmark 'bench' cannot be measured on it"),
        ("stages.dev.problems=bench.jsonl", "a loop that ends by the benchmark"),
        ("stages.dev.models={new: student}", "must be one model of the loop"),
        ("stages.dev.models={new: $train/model, old: student}", "dev scores new, old: say which"),
        ("stages.make.model=$train/model", "stages.make.model"),
        ("repeat.server={command: vllm serve}", "write {model}"),
        ("repeat.server={command: 'x {model}'}", "write {port}"),
        ("repeat.server={command: 'x \"{model} {port}'}", "not a command"),
        ("repeat.server={command: 'x {model} {port}', stages: [make]}", "'make' is no stage of the loop"),
    ],
)
def test_a_loop_that_cannot_be_meant_is_refused_in_one_line(load, change, said):
    with pytest.raises(ConfigError) as error:
        load(change, text=UNTIL)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_fault_in_the_file_is_told_with_its_line(load):
    with pytest.raises(ConfigError, match=r"toy.yaml:15: repeat.carry.student: train leaves no 'x'"):
        load(text=TEXT.replace("{student: $train/model}", "{student: $train/x}"))
    with pytest.raises(ConfigError, match=r"toy.yaml:8: stages.sample.modle: unknown key"):
        load(text=TEXT.replace("toy_grow, model: student, data: $make", "toy_grow, modle: student, data: $make"))


REAL = """
models:
  student: {model_name_or_path: student}
  noisy: {offline: %(repo)s/data/offline, errors: {default: 0.9}}
  teacher: {offline: %(repo)s/data/offline}
benchmarks: {heldout: %(repo)s/data/offline/heldout.jsonl}
stages:
  dev-set: {use: clean, problems: dev.jsonl}
  sample:
    problems: train.jsonl
    template: plain
    from: [{model: student, n: 2, max_new_tokens: 6}, {model: noisy, n: 4, role: student}, {model: teacher}]
  rank: {problems: train.jsonl, responses: $sample/responses.jsonl, unverified: accept}
  align:
    model: student
    data: $rank/groups.jsonl
    loss: {name: rrtf}
    lora: {r: 4, lora_alpha: 8}
    global_batch_size: 4
    args: {max_steps: 2, logging_steps: 1, save_strategy: "no", use_cpu: true}
  dev: {use: score, problems: $dev-set/problems.jsonl, models: {new: $align/model}, max_new_tokens: 6}
  score: {problems: heldout, limit: 3, models: {new: $align/model}, max_new_tokens: 6}
repeat:
  times: 3
  stages: [sample, rank, align, dev]
  carry: {student: $align/model}
  until: {score: dev}
"""


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A recipe with a tiny student, whose samples never pass, a noisy one for ranking to tell apart, and a teacher."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    problems = [row for _, row in rows(REPO / "data/offline/heldout.jsonl")]
    for name, part in (("train", problems[100:108]), ("dev", problems[200:204])):
        write(tmp_path / f"{name}.jsonl", part)
    tokenizer = train_tokenizer([problem["prompt"] for problem in problems], 300)
    made = random_model(
        "gpt_bigcode", vocab_size=len(tokenizer), seed=0, hidden_size=32, num_layers=1, num_heads=2, max_position=512
    )
    save_tiny(made, tokenizer, tmp_path / "student")
    path = tmp_path / "real.yaml"
    path.write_text(REAL % {"repo": REPO})
    return path


def test_samples_of_each_round_come_from_the_model_of_the_round_before(real):
    folder = Recipe.load(real).run()
    found = summary(folder)
    # the student never passes: the second round is no better than the first
    assert (found["repeat"]["ended"], found["repeat"]["kept"]) == (2, 1)
    authors = [{row["model"] for _, row in rows(folder / name / "responses.jsonl")} for name in ("sample", "sample@2")]
    assert authors == [{"student", "noisy", "teacher"}, {"align", "noisy", "teacher"}]
    base = json.loads((folder / "align@2/model/base.json").read_text())["model_name_or_path"]
    assert (folder / "align@2/model" / base).resolve() == (folder / "align/model").resolve()
    assert [counts(folder)[name]["steps"] for name in ("align", "align@2")] == [2, 2]
    assert {step.why.partition(":")[0] for step in plan(Recipe.load(real), Workspace(folder.parent, folder.name))} == {
        "cached",
        "not needed",
    }


@pytest.mark.slow
def test_a_real_server_of_the_current_weights_answers_the_samples(real):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    transformers = Path(sys.executable).with_name("transformers")
    command = f"{transformers} serve {{model}} --port {{port}} --host 127.0.0.1 --device cpu"
    server = f"repeat.server={{start_timeout: 90, command: '{command}', stages: [sample], max_concurrency: 2}}"
    folder = Recipe.load(real, [server, "repeat.times=2"]).run()
    for name in ("sample", "sample@2"):
        answers = [row for _, row in rows(folder / name / "responses.jsonl") if row["model"] in ("student", "align")]
        assert len(answers) == 16
        assert {row["finish"] for row in answers} <= {"stop", "length"}
        assert "POST /v1/completions" in (folder / f"server-{name}.log").read_text()
    # the adapter was merged for the server, and is gone with it
    assert not list(folder.glob(".served-*"))
