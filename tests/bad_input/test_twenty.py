"""Twenty kinds of bad input at the command line: one clear line, exit code 2, nothing half-written."""

import gzip
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from align.cli import main
from align.io import write
from align.schema import Response

from .conftest import ALIGN, BAD, GOOD, MODEL, PROBLEM, RANK, RESPONSES, SCORE, outputs, recipe


def starved(limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `align` where no file may grow beyond `limit` bytes: as on a full disk, a write fails in the middle."""

    def before() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "align", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=before)


def test_01_a_misspelt_key(refused):
    path = recipe("  rank: {problems: problems.jsonl,", "    respones: responses.jsonl}")
    for verb in ("check", "run", "plan"):
        said = refused(verb, path)
        assert said == "recipes/r.yaml:3: stages.rank.respones: unknown key: did you mean 'responses'?"


@pytest.mark.parametrize(
    ("key", "cure"),
    {
        "warmup_ratio": "renamed in transformers 5: write warmup_steps: 0.03",
        "per_device_train_batch_size": "derived from global_batch_size and max_tokens_per_batch",
        "max_prompt_length": "gone from trl: write max_length in the stage",
    }.items(),
)
def test_02_a_renamed_key(refused, key, cure):
    path = recipe("  sft:", "    model: m", "    data: sft.jsonl", f"    args: {{{key}: 1}}")
    for verb in ("check", "run"):
        said = refused(verb, path)
        assert said.startswith(f"recipes/r.yaml:5: stages.sft.args.{key}: ")
        assert cure in said


def test_03_a_missing_file(refused):
    path = recipe("  rank:", "    problems: problms.jsonl", "    responses: responses.jsonl")
    for verb in ("check", "run"):
        assert refused(verb, path).startswith("recipes/r.yaml:3: stages.rank.problems: no file 'problms.jsonl' below")
    Path("samples.jsonl").unlink()
    assert refused(*SCORE) == "samples.jsonl: cannot be read (No such file or directory)"
    assert refused("check", "recipes/none.yaml") == "recipes/none.yaml: cannot be read (No such file or directory)"


def test_04_bad_json_at_line_7(refused):
    for name in ("responses.jsonl", "samples.jsonl"):
        line = Path(name).read_text().splitlines()[0]
        Path(name).write_text(f"{line}\n" * 6 + '{"task_id": \n')
    place = "responses.jsonl:7: not JSON: Expecting value at column 12: mend the line"
    assert refused("run", recipe(f"  {RANK}")).endswith(f"/{place}")
    assert refused(*SCORE) == place.replace("responses", "samples")


def test_05_a_missing_field(refused):
    write(Path("responses.jsonl"), [RESPONSES[0], {"problem_id": PROBLEM.id}])
    assert refused("run", recipe(f"  {RANK}")).endswith(
        "/responses.jsonl:2: text: missing (columns: problem_id): add it"
    )
    write(Path("samples.jsonl"), [{"task_id": "a/0"}])
    assert refused(*SCORE) == "samples.jsonl:1: expected one of completion and solution, found neither"


def test_06_a_reference_to_an_unknown_stage(refused):
    path = recipe(f"  {RANK}", "  rank2: {use: rank, problems: $rnk/groups.jsonl, responses: responses.jsonl}")
    for verb in ("check", "run"):
        said = refused(verb, path)
        assert said.startswith("recipes/r.yaml:3: stages.rank2.problems: '$rnk/groups.jsonl' names no earlier stage")
        assert said.endswith("did you mean 'rank'?")


@pytest.mark.parametrize("name", ["problems.jsonl", "responses.jsonl"])
def test_07_empty_data(refused, name):
    Path(name).write_text("\n")
    assert re.search(rf"stages\.rank.*/{name} holds no ", refused("run", recipe(f"  {RANK}")))


def test_07_empty_data_to_score_or_to_train_on(refused, model):
    for name, what in (("samples.jsonl", "no samples"), ("problems.jsonl", "no problems")):
        Path(name).write_text("")
        assert refused(*SCORE) == f"{name}: {what}"
    Path("sft.jsonl").write_text("")
    path = recipe("  sft: {model: m, data: sft.jsonl}", MODEL)
    assert re.search(r"stages\.sft\.data: .*/sft\.jsonl holds no row", refused("check", path))


def test_08_a_run_folder_that_cannot_be_written(refused):
    path = recipe(f"  {RANK}")
    Path("runs").write_text("in the way")
    assert re.search(r"/runs/r: cannot be written \(.+\)", refused("run", path))
    assert "problems.jsonl/v.jsonl: cannot be written" in refused(*SCORE, "--out", "problems.jsonl/v.jsonl")


def test_09_a_full_disk_in_a_stage_of_data():
    path = recipe(f"  {RANK}")
    padded = [f"{GOOD}  # {n:0500d}" for n in range(9)]
    texts = [Response(problem_id=PROBLEM.id, text=text, code=text) for text in [*padded, BAD]]
    write(Path("responses.jsonl"), texts)
    failed = starved(1024, "run", path)
    assert failed.returncode == 2
    assert re.fullmatch(r"align: .*: cannot be written \(.+\): make room and run again\n", failed.stderr)
    assert not [name for name in outputs() if name.endswith(("stage.json", "groups.jsonl"))]
    assert main(["run", path]) == 0


def test_09_a_full_disk_where_a_model_is_saved(model):
    path = recipe("  sft: {model: m, data: sft.jsonl, args: {max_steps: 1, use_cpu: true}}", MODEL)
    failed = starved(65536, "run", path)
    assert failed.returncode == 2
    assert re.fullmatch(r"align: .*: cannot be written \(.+\): make room and run again\n", failed.stderr)
    assert not [name for name in outputs() if name.startswith("runs") and name.endswith(("stage.json", "safetensors"))]
    assert main(["run", path]) == 0


def test_10_k_above_n(refused):
    path = recipe("  score: {models: {m: m}, problems: problems.jsonl, n: 5, temperature: 1, k: [1, 10]}", MODEL)
    for verb in ("check", "run"):
        said = refused(verb, path)
        assert said == "recipes/r.yaml:2: stages.score: k = 10 needs n ≥ 10 samples a problem, n is 5"
    said = refused(*SCORE, "--k", "1,10")
    assert said == "k = 10 needs 10 samples a problem, task 'a/0' has 1: lower --k"


@pytest.mark.parametrize(
    ("override", "found"),
    {
        "stages.rank.problms=x": "override stages.rank.problms: unknown key: did you mean 'problems'?",
        "stages.rnk.problems=x": "override stages.rnk: no stage kind 'rnk': did you mean 'rank'?",
        "stages.rank.workers=many": "override stages.rank.workers: must be a valid integer, found 'many'",
        "stages.rank.problems.x=1": "override 'stages.rank.problems.x=1': 'problems' is not a section",
        "stages..x=1": "override 'stages..x=1': expected key=value, such as stages.align.args.learning_rate=1e-4",
        "stages.rank.by=[": "override 'stages.rank.by=[':1: not YAML",
        "seed": "override 'seed': expected key=value",
        "stages.rank.²=1": "override stages.rank.²: unknown key",
    }.items(),
)
def test_11_a_wrong_override(refused, override, found):
    path = recipe(f"  {RANK}")
    for verb in ("check", "run"):
        assert refused(verb, path, override).startswith(found)


def test_12_a_gzip_that_is_cut(refused):
    for name in ("responses", "samples"):
        whole = gzip.compress(Path(f"{name}.jsonl").read_bytes() * 99)
        Path(f"{name}.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    found = r"\.jsonl\.gz: cannot be decompressed \(.*\): the file is cut or is not gzip: fetch it again"
    assert re.search(f"responses{found}", refused("run", recipe(f"  {RANK[:-1]}.gz}}")))
    assert re.match(f"samples{found}", refused(*SCORE, "--samples", "samples.jsonl.gz"))


def test_13_text_that_is_not_utf_8(refused):
    for name in ("responses.jsonl", "samples.jsonl"):
        Path(name).write_bytes(Path(name).read_bytes().splitlines()[0] + b'\n{"text": "Gr\xf6\xdfe"}\n')
    said = "responses.jsonl:2: not UTF-8 text (byte 13 of the line): save it as UTF-8"
    assert refused("run", recipe(f"  {RANK}")).endswith(f"/{said}")
    assert refused(*SCORE) == said.replace("responses", "samples")
    Path(recipe(f"  {RANK}")).write_bytes(b"# a\n# Gr\xf6\xdfe\n")
    for verb in ("check", "run"):
        assert refused(verb, "recipes/r.yaml").startswith("recipes/r.yaml:2: not UTF-8 text")


def test_14_a_problem_without_tests(refused):
    bare = PROBLEM.model_copy(update={"tests": []})
    write(Path("problems.jsonl"), [bare])
    write(Path("responses.jsonl"), [Response(problem_id="a/0", text=GOOD, code=GOOD)])
    said = refused("run", recipe(f"  {RANK}"))
    assert re.match(r"rank: problem 'a/0' has no tests to judge response [0-9a-f]{16} by: a tests stage", said)
    assert refused(*SCORE) == "problem 'a/0' has no tests: add them (a tests stage does), or leave its samples out"


def test_15_a_response_to_an_unknown_problem(refused):
    write(Path("responses.jsonl"), [*RESPONSES, Response(problem_id="nowhere", text=GOOD, code=GOOD)])
    said = refused("run", recipe(f"  {RANK}"))
    assert re.match(r"rank: response [0-9a-f]{16} answers problem 'nowhere', which is not in the problems: add", said)
    write(Path("samples.jsonl"), [{"task_id": "a/0", "solution": GOOD}, {"task_id": "a/1", "solution": GOOD}])
    assert refused(*SCORE) == "samples.jsonl:2: task_id 'a/1' is none of the problems: mend it, or add its problem"


@pytest.mark.parametrize(
    ("missing", "needed"),
    {"*.safetensors": "safetensors weights", "config.json": "a configuration", "tokenizer*": "a tokenizer"}.items(),
)
@pytest.mark.parametrize(
    "stage", ["sft: {model: m, data: sft.jsonl}", "score: {models: {m: m}, problems: problems.jsonl}"]
)
def test_16_a_model_folder_without_weights(refused, model, missing, needed, stage):
    for path in model.glob(missing):
        path.unlink()
    said = refused("run", recipe(f"  {stage}", MODEL))
    assert re.search(rf"/model: no .*: a model's folder needs {needed}", said)


def test_17_a_stale_reference_file(refused, model):
    path = recipe(f"  {ALIGN}", MODEL)
    assert main(["run", path]) == 0
    (made,) = Path("runs/r").glob("align-*/reference.jsonl")
    header, *entries = made.read_text().splitlines(keepends=True)
    other = json.dumps({**json.loads(header), "weights": "0" * 64}) + "\n"
    # what a run leaves that was killed before its first checkpoint
    for path_left in made.parent.iterdir():
        if path_left != made:
            shutil.rmtree(path_left) if path_left.is_dir() else path_left.unlink()
    for content, found in (
        ([other, *entries], "made with other weights than this training: remove it and run again"),
        ([header, *entries[1:]], "as it is tokenised now: remove it and run again"),
    ):
        made.write_text("".join(content))
        said = refused("run", path)
        assert f"{made}: " in said
        assert said.endswith(found)
    made.unlink()
    assert main(["run", path]) == 0


def test_18_an_unknown_loss(refused):
    path = recipe("  align:", "    model: m", "    data: pairs.jsonl", "    loss: {name: rrft}", MODEL)
    for verb in ("check", "run"):
        assert refused(verb, path) == "recipes/r.yaml:5: stages.align.loss.name: no loss 'rrft': did you mean 'rrtf'?"


@pytest.mark.parametrize("weight", ["-1", "-.inf", ".inf", ".nan"])
def test_19_a_negative_weight(refused, weight):
    path = recipe("  align:", "    model: m", "    data: x", f"    loss: {{name: rrtf, rank_weight: {weight}}}", MODEL)
    for verb in ("check", "run"):
        said = refused(verb, path)
        assert re.match(r"recipes/r.yaml:5: stages.align.loss.rank_weight: must be .*, found -?(1|inf|nan)$", said)


def test_20_two_stages_of_one_name(refused):
    path = recipe(f"  {RANK}", "  clean: {problems: problems.jsonl}", f"  {RANK}")
    for verb in ("check", "run"):
        said = refused(verb, path)
        assert said == "recipes/r.yaml:4: found duplicate key 'rank', first in line 2: write each key once"
