"""More bad input, beside the twenty kinds: each was a traceback, a wrong place, or a file lost."""

import gzip
import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from align.cli import main
from align.io import write, write_json
from align.schema import Problem, Response, SftRow
from align.text.template import template

from .conftest import ALIGN, GOOD, MODEL, PROBLEM, RANK, RESPONSES, SCORE, SFT, recipe

RECIPES = {
    "a tab": ("stages:\n\trank: {}\n", "2: not YAML: found character '\\t' that cannot start any token: indent with"),
    "a control character": ('stages:\n  rank: "\x07"\n', "2: not YAML: a control character (#x07): remove it"),
    "a number of 5,000 digits": (f"seed: 1{'0' * 5000}\nstages: {{}}\n", " not YAML: Exceeds the limit (4300 digits)"),
    "400 brackets": (f"stages: {'[' * 400}{']' * 400}\n", " not YAML: maximum recursion depth exceeded"),
    "a base that is not there": ("seed: 1\nextends: no.yaml\n", "2: extends: recipes/no.yaml cannot be read (no such"),
    "a base that is nothing": ("extends:\nstages: {}\n", "1: extends: expected the path of a recipe, found None"),
    "a number as a key": ("stages:\n  1: {use: rank}\n", "2: stages.1: a key must be text: put it in quotes, found 1"),
    "a word for a section": ("stages:\n  rank: x\n", "2: stages.rank: must be a mapping (`key: value`), found 'x'"),
    "a list at the top": ("- stages\n", "1: expected a mapping with `stages:`"),
}


@pytest.mark.parametrize("what", RECIPES)
def test_a_recipe_that_is_no_recipe(refused, what):
    text, found = RECIPES[what]
    Path("recipes/r.yaml").write_text(text)
    assert refused("check", "recipes/r.yaml").startswith(f"recipes/r.yaml:{found}")


def test_a_recipe_with_a_byte_order_mark_and_windows_line_ends_is_read():
    Path("recipes/r.yaml").write_bytes(f"\ufeffstages:\r\n  {RANK}\r\n".encode())
    assert main(["check", "recipes/r.yaml"]) == 0


PROBLEMS = {
    "a column that holds nothing": (
        {"task_id": 1, "prompt": None, "entry_point": "f", "test": "x"},
        "prompt: must be text, found None",
    ),
    "a test list that is text": (
        {"task_id": 1, "code": "x", "test_list": "assert f()"},
        "test_list: must be a list of texts, found 'assert f()'",
    ),
    "messages that are none": ({"messages": [3]}, "messages: must be a list of objects, found [3]"),
    "meta that is none": ({"prompt": "a", "meta": 3, "mine": 1}, "meta: must be an object, found 3"),
    "a limit without end": (
        {"prompt": "a", "limits": {"cpu_seconds": float("inf")}},
        "limits.cpu_seconds: must be a finite number, found inf",
    ),
}


@pytest.mark.parametrize("what", PROBLEMS)
def test_a_column_of_the_wrong_kind(refused, what):
    row, found = PROBLEMS[what]
    write(Path("problems.jsonl"), [PROBLEM, row])
    assert refused(*SCORE) == f"problems.jsonl:2: {found}"
    assert refused("run", recipe(f"  {RANK}")).endswith(f"/problems.jsonl:2: {found}")


def test_a_line_of_brackets(refused):
    Path("samples.jsonl").write_text("[" * 100_000 + "\n")
    assert refused(*SCORE).startswith("samples.jsonl:1: ")
    Path("samples.jsonl").write_text('{"a":' * 100_000 + "\n")
    assert refused(*SCORE).startswith("samples.jsonl:1: JSON that cannot be read: maximum recursion depth exceeded")


def test_a_gzip_under_another_name(refused):
    Path("samples.jsonl").write_bytes(gzip.compress(Path("samples.jsonl").read_bytes()))
    assert refused(*SCORE) == "samples.jsonl: gzip under another name: rename it to samples.jsonl.gz"


def test_half_a_surrogate_pair_in_an_answer_is_no_mistake():
    rows = [json.loads(response.model_dump_json()) for response in RESPONSES]
    rows[1]["code"] = rows[1]["text"] = "return '\ud800'"
    Path("responses.jsonl").write_text("".join(json.dumps({**row, "id": ""}) + "\n" for row in rows))
    assert main(["run", recipe(f"  {RANK}")]) == 0
    assert "\\ud800" in Path("runs/r/rank/pairs.jsonl").read_text()


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_an_output_that_would_replace_something_else(refused, option):
    said = refused(*SCORE, option, "samples.jsonl")
    assert said == f"samples.jsonl: given as --samples and as {option}: name another file"
    os.mkfifo("pipe")
    assert refused(*SCORE, option, "pipe") == "pipe: cannot be written (it is no plain file): name another one"
    assert Path("pipe").is_fifo()


def test_a_cache_that_is_a_file(refused):
    said = refused(*SCORE, "--cache", "problems.jsonl")
    assert re.match(r"problems.jsonl/executions.sqlite: cannot be written \(.+\)", said)


def test_a_negative_number_of_workers(refused):
    path = recipe(f"  {RANK[:-1]}, workers: -3}}")
    assert refused("check", path) == "recipes/r.yaml:2: stages.rank.workers: must be greater than 0, found -3"


OVERRIDES = {
    "stages.align.args.learning_rate=.nan": "stages.align.args.learning_rate: must be 0 or more, found nan",
    "stages.align.args.adam_beta2=7.0": "stages.align.args.adam_beta2: must be 0 or more and below 1, found 7.0",
    "stages.align.args.max_steps=-1": "stages.align.args.max_steps: must be 1 or more, found -1",
    "stages.align.loss.name=[rrtf]": "stages.align.loss.name: no loss ['rrtf']: did you mean 'rrtf'?",
    "seed=-1": "seed: must be greater than or equal to 0, found -1",
    "stages={}": "stages: must not be empty, found {}",
    "stages.a/b={use: rank}": "stages.a/b: a name is made of letters, digits, - and _, found 'a/b'",
    "stages.rank.problems=recipes": "stages.rank.problems: no file 'recipes' below ",
    "stages.rank.problems=hf://x": "stages.rank.problems: hf://x: expected hf://datasets/owner/name@revision/split",
    f"stages.rank.problems={'x' * 300}": f"stages.rank.problems: no file '{'x' * 300}' below ",
    "stages.align.data=$rank/../pairs.jsonl": "stages.align.data: rank leaves no '../pairs.jsonl': did you mean",
    "models.m.model_name_or_path=recipes": "stages.align.model: model 'm': ",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_value_that_cannot_be(refused, model, override):
    path = recipe(f"  {RANK}", f"  {ALIGN}", MODEL)
    said = refused("check", path, override)
    assert re.match(r"(override |recipes/r\.yaml:\d: )" + re.escape(OVERRIDES[override]), said), said


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", "x" * 300])
def test_a_name_of_a_run_outside_of_runs(refused, name):
    path = recipe(f"  {RANK}")
    for verb in ("run", "plan"):
        said = refused(verb, path, "--run", name)
        assert said == f"{name!r} is no name of a run: give a short path below runs/"


def test_a_report_to_nobody(refused, model):
    path = recipe(f"  {ALIGN}", MODEL)
    assert "args.report_to: no tracker 'nobody': expected one of: " in refused(
        "check", path, "stages.align.args.report_to=nobody"
    )


def test_a_command_that_is_none(capsys):
    with pytest.raises(SystemExit) as left:
        main(["rn"])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


OWN = [{"question": "Add.", "checks": ["assert add(1, 2) == 3"], "uid": "a"}, {"question": "Add up.", "uid": "b"}]


def test_a_mapped_column_that_no_row_has_is_refused_before_anything_runs(refused):
    write(Path("own.jsonl"), OWN)
    path = recipe("  clean: {problems: own.jsonl, columns: {prompt: qestion, tests: checks}}")
    for verb in ("check", "run"):
        assert refused(verb, path) == (
            "recipes/r.yaml:2: stages.clean.columns.prompt: own.jsonl has no column 'qestion': did you mean 'question'?"
        )


def test_a_row_without_the_columns_value_is_named(refused):
    write(Path("own.jsonl"), [*OWN, {"checks": [], "uid": "c"}])
    path = recipe("  clean: {problems: own.jsonl, columns: {prompt: question, tests: checks}}")
    assert refused("run", path).endswith("/own.jsonl:3: no column 'question' (columns: checks, uid): mend `columns:`")


def test_a_field_that_is_missing_names_the_columns_there_are(refused):
    write(Path("own.jsonl"), OWN)
    said = refused("check", recipe("  clean: {problems: own.jsonl}"))
    assert said.startswith(
        f"recipes/r.yaml:2: stages.clean.problems: {Path('own.jsonl').resolve()}:1: prompt: missing "
    )
    assert said.endswith("(columns: question, checks, uid): add it, or name its column in `columns:`")


def test_a_stages_model_under_models(refused):
    path = recipe(f"  {RANK}", "models: {m: {model_name_or_path: $sft/model}}")
    assert refused("check", path) == (
        "recipes/r.yaml:3: models.m.model_name_or_path: '$sft/model' stands in a stage, not under models:"
    )


def test_another_template_than_the_students_were_asked_by(refused):
    asked = [response.model_copy(update={"template": template("raw").id}) for response in RESPONSES]
    write(Path("responses.jsonl"), asked)
    said = refused("run", recipe(f"  {RANK[:-1]}, template: plain}}"))
    assert (
        said == f"stages.rank.template: the students were asked by {template('raw').id}, not by {template('plain').id}"
    )
    assert main(["run", recipe(f"  {RANK}")]) == 0
    assert '"prompt":"Add."' in Path("runs/r/rank/pairs.jsonl").read_text()


def test_a_problem_that_is_scored_and_trained_on(refused, model):
    write(
        Path("sft.jsonl"),
        [*SFT, SftRow(prompt="Add?\n", completion="pass\n"), SftRow(prompt=" Add.\n\n", completion="pass\n")],
    )
    stages = [
        "  sft: {model: m, data: sft.jsonl, args: &args {max_steps: 1, use_cpu: true}}",
        "  dpo: {use: align, model: $sft/model, data: pairs.jsonl, loss: {name: dpo}, args: *args}",
        "  score: {models: {dpo: $dpo/model}, problems: problems.jsonl, max_new_tokens: 2}",
    ]
    path = recipe(*stages, MODEL)
    assert main(["run", path, "--only", "sft", "--only", "dpo"]) == 0
    said = refused("run", path)
    assert re.match(
        r"stages.score.problems: 1 of 1 problems are trained on \(sft was trained on /.*/sft.jsonl:6\): leave", said
    )
    assert main(["run", path, "stages.score.allow_trained=true"]) == 0


def test_a_null_that_is_needed(refused, model):
    write(Path("own.jsonl"), [{"task": "a", "program": "b"}, {"task": "c", "program": None}])
    columns = "{prompt: task, completion: program}"
    path = recipe(f"  sft: {{model: m, data: own.jsonl, columns: {columns}, args: {{use_cpu: true}}}}", MODEL)
    assert refused("run", path).endswith(
        "/own.jsonl:2: program: null, but each row needs completion: fill it, or leave the row out"
    )


MISUSED = {
    "stages.dpo.data=$rank/groups.jsonl": "loss dpo reads pairs: did you mean '$rank/pairs.jsonl'?",
    "stages.dpo.loss={name: rrtf}": "loss rrtf reads groups: did you mean '$rank/groups.jsonl'?",
    "stages.dpo.model=rank": "no model 'rank' under models: did you mean '$rank/model'?",
    "stages.dpo.args.lr=1": "args.lr: write learning_rate",
    "stages.dpo.args.zzz=1": "args.zzz: no such argument of transformers.TrainingArguments",
    "stages.sample.template=humaneval": "humaneval only asks, and has no form for what is trained on: use it in score",
}


@pytest.mark.parametrize("override", MISUSED)
def test_what_does_not_fit_is_refused_before_anything_runs(refused, model, override):
    path = recipe(
        "  sample: {problems: problems.jsonl, from: [{model: m}], template: plain}",
        f"  {RANK}",
        "  dpo: {use: align, model: m, data: $rank/pairs.jsonl, loss: {name: dpo}}",
        MODEL,
    )
    assert main(["check", path]) == 0
    assert MISUSED[override] in refused("check", path, override)


def test_a_problem_whose_tests_are_broken_is_counted_and_told(capsys):
    broken = Problem(prompt="Add three.", entry_point="add", tests=["assert add(1, 2) = 3"])
    write(Path("problems.jsonl"), [PROBLEM, broken])
    more = [Response(problem_id=broken.id, text=GOOD, code=GOOD)]
    write(Path("responses.jsonl"), [*RESPONSES, *more])
    assert main(["run", recipe(f"  {RANK}")]) == 0
    said = capsys.readouterr()
    assert f"rank: 1 problems could not be judged, such as {broken.id}: test_error, SyntaxError" in said.err
    assert "dropped 1 (not_judged 1)" in said.out


IN_THE_WAY = {
    "runs/r": ("file", "runs/r: cannot be written (File exists)"),
    "runs/r/{stage}": ("file", "Not a directory: move away what stands there"),
    "runs/r/clean": ("folder", "runs/r/clean: Is a directory: move away what stands there"),
    "runs/r/run.json": ("[]", "runs/r/run.json: not a JSON object: remove it and run again"),
    "runs/r/{stage}/stage.json": ("{}", "stage.json: lacks key, files: remove it and run again"),
}


@pytest.mark.parametrize("place", IN_THE_WAY)
def test_what_stands_where_a_run_writes(capsys, place):
    what, found = IN_THE_WAY[place]
    path = recipe("  clean: {problems: problems.jsonl}")
    assert main(["run", path]) == 0
    target = Path(place.format(stage=Path("runs/r/clean").resolve().name))
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    if what == "folder":
        target.mkdir()
    else:
        target.write_text(what)
    capsys.readouterr()
    assert main(["run", path]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].endswith(found)
    assert all(line.startswith("align: ") for line in lines)


@pytest.mark.parametrize("command", [["show", "runs/r"], ["report", "runs/r"], ["prune"]])
def test_a_torn_run_json(refused, command):
    assert main(["run", recipe("  clean: {problems: problems.jsonl}")]) == 0
    Path("runs/r/run.json").write_text('{"run": ')
    assert refused(*command).endswith("runs/r/run.json: not a JSON object: remove it and run again")


INIT = "  init: {architecture: gpt_bigcode, texts: sft.jsonl, hidden_size: 16, num_layers: 1, num_heads: 2}"
SFT_OF = "  sft: {{model: {model}, data: {data}}}"
KNOWN = {
    "a file for a model": (
        [INIT, SFT_OF.format(model="$init/model/config.json", data="sft.jsonl")],
        "stages.sft.model: a model or folder is needed, '$init/model/config.json' is a file: name another output",
    ),
    "a model for rows": (
        [INIT, SFT_OF.format(model="$init/model", data="$init/model")],
        "stages.sft.data: a file is needed, '$init/model' is a model or folder: name another output",
    ),
    "a path that is no hub id": (
        [SFT_OF.format(model="m", data="sft.jsonl"), "models: {m: {model_name_or_path: ./nowhere}}"],
        "stages.sft.model: model 'm': no folder './nowhere' below ",
    ),
    "no row to train on": (
        [INIT, SFT_OF.format(model="$init/model", data="empty.jsonl")],
        "/empty.jsonl holds no row: name another file",
    ),
    "several of what is no checkpoint": (
        [INIT, "  score: {models: {a: $init/model/*}, problems: problems.jsonl}"],
        "stages.score.models.a: '$init/model/*': only `$stage/checkpoints/*` are several models",
    ),
    "a file for a model's folder": (
        [SFT_OF.format(model="m", data="sft.jsonl"), "models: {m: {model_name_or_path: sft.jsonl}}"],
        "/sft.jsonl: a file: a model is a folder with config.json and its weights",
    ),
    "no row to evaluate on": (
        [INIT, SFT_OF.format(model="$init/model", data="sft.jsonl, eval_data: empty.jsonl")],
        "stages.sft.eval_data: ",
    ),
    "rows of another kind than the loss reads": (
        [INIT, "  align: {model: $init/model, data: sft.jsonl, loss: {name: rrtf}}"],
        "/sft.jsonl:1: ",
    ),
    "an empty string that ends answers": (
        ["  sample: {problems: problems.jsonl, from: [{model: $init/model, stop: ['']}]}"],
        "stop.0: ",
    ),
    "a form that its library does not make": (
        [INIT.replace("gpt_bigcode", "starcoder2"), "  export: {model: $init/model, formats: [ctranslate2]}"],
        "stages.export.formats: ctranslate2: its library does not convert starcoder2 (gpt_bigcode, bloom): leave it",
    ),
}


@pytest.mark.parametrize("what", KNOWN)
def test_check_refuses_what_would_fail_when_the_stage_is_reached(refused, what):
    lines, found = KNOWN[what]
    Path("empty.jsonl").touch()
    assert found in refused("check", recipe(*lines))


def test_pairs_in_messages_are_left_to_the_tokenizer():
    sides = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    write(Path("chats.jsonl"), [{"prompt": [{"role": "user", "content": "a"}], **sides}])
    assert main(["check", recipe(INIT, "  align: {model: $init/model, data: chats.jsonl, loss: {name: dpo}}")]) == 0


def test_weights_of_gptq_without_its_library_have_a_place(refused, model, monkeypatch):
    config = json.loads((model / "config.json").read_text())
    write_json(model / "config.json", config | {"quantization_config": {"quant_method": "gptq"}})
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gptqmodel" else find(name))
    assert re.match(
        r"recipes/r.yaml:\d: stages.score.models.a: model 'm': .*: its weights are of GPTQ, and gptqmodel is not",
        refused("check", recipe("  score: {models: {a: m}, problems: problems.jsonl}", MODEL)),
    )


def test_one_stage_and_those_from_another_on_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", recipe(f"  {RANK}"), "--only", "rank", "--from", "rank"])
    assert ended.value.code == 2
    assert "argument --from: not allowed with argument --only" in capsys.readouterr().err
