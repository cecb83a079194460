"""What the READMEs show is so: Python runs, recipes run or load, commands name verbs, options and files that exist."""

import gzip
import json
import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM

from align.cli import parse
from align.forms import adapt
from align.generate.hf import HfGenerator
from align.generate.request import Reply
from align.models.entry import Weights, entry_class
from align.models.load import load_model
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe.recipe import Recipe, kinds
from align.recipe.summary import summary
from align.schema import PreferencePair, Problem, SftRow
from align.show.kind import config_of

REPO = Path(__file__).parents[1]
FOLDERS = ("align", "data", "recipes", "scripts")
PAGES = [REPO / "README.md", *sorted(path for folder in FOLDERS for path in (REPO / folder).rglob("*.md"))]
MAIN, RECIPES = PAGES[0], REPO / "recipes" / "README.md"
GUIDES = [MAIN, *sorted((REPO / "recipes").glob("*.md"))]
WIDEST = 132


def blocks(path: Path, form: str) -> list[str]:
    """The fenced blocks of one form."""
    return re.findall(rf"```{form}\n(.*?)```", path.read_text(), re.DOTALL)


RANKERS, LOSS, RECIPE = blocks(MAIN, "python")
PYTHON = [block for path in PAGES if path not in (MAIN, RECIPES) for block in blocks(path, "python")]
LINES = [line.split("#")[0].strip() for path in GUIDES for block in blocks(path, "bash") for line in block.splitlines()]
INLINE = [code for path in PAGES for code in re.findall(r"`((?:align|python) \w+ [^`…]+)`", path.read_text())]
COMMANDS = list(dict.fromkeys(line for line in LINES + INLINE if line))
MINE = blocks(MAIN, "yaml")[0]
TEACHER, OWN = (text for text in blocks(RECIPES, "yaml") if "\nstages:" in text)
FRAGMENTS = [text for path in GUIDES for text in blocks(path, "yaml") if "\nstages:" not in text]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_no_line_of_prose_is_too_wide(path):
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > WIDEST and not line.startswith("|")] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_links_lead_somewhere(path):
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("source", PYTHON, ids=range(len(PYTHON)))
def test_a_python_example_runs(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(source, {"__name__": "example"})


def test_the_recipe_of_the_python_example_loads(monkeypatch):
    monkeypatch.chdir(REPO)
    # running it is tests/test_recipes.py's affair
    exec(RECIPE.partition(".run(")[0], {})


def test_the_rankers_example_loads_no_torch_and_prints_what_it_says(tmp_path):
    said = re.findall(r"print\(.*#\s(\[.*?\])(?::|$)", RANKERS, re.MULTILINE)
    source = RANKERS + "\nimport sys\nassert 'torch' not in sys.modules\n"
    ran = subprocess.run([sys.executable, "-c", source], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.splitlines() == said
    assert len(said) == 2


def test_the_loss_example_gives_the_numbers_beside_it(capsys):
    exec(LOSS, {})
    numbers = dict(re.findall(r"(\w+)=tensor\(([\d.]+)\)", capsys.readouterr().out))
    comment = re.search(r"print\(loss\)  # (.*)", LOSS)[1]
    stated = {part.split()[0]: float(part.split()[1]) for part in comment.split(", ")}
    assert {name: float(value) for name, value in numbers.items()} == pytest.approx(stated)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("align ")])
def test_a_command_parses_and_its_recipe_loads(command):
    arguments = parse(shlex.split(command.partition(" > ")[0])[1:])
    # these are blocks of READMEs, which tests below run
    if hasattr(arguments, "recipe") and arguments.recipe not in ("recipes/mine.yaml", "tune.yaml"):
        Recipe.load(REPO / arguments.recipe, arguments.overrides)


@pytest.mark.parametrize(
    "script", sorted({s for p in PAGES for s in re.findall(r"scripts/[\w/]+\w(?:\.\w+)?", p.read_text())})
)
def test_a_script_that_is_named_exists(script):
    assert (REPO / script).exists()


@pytest.mark.parametrize("text", FRAGMENTS, ids=range(len(FRAGMENTS)))
def test_a_fragment_has_keys_that_exist(text):
    found = YAML(typ="safe").load(text)
    for section in found.pop("models", {}).values() if "data" not in found else ():
        assert section.keys() <= entry_class(section).model_fields.keys()
    stages = {"align": found} if "use" in found else found
    for name, section in stages.items():
        kind = section.pop("use", name)
        assert kind in kinds()
        assert section.keys() <= config_of(kind).model_fields.keys()


def test_the_records_to_write_are_records():
    lines = blocks(REPO / "data" / "README.md", "json")[0].splitlines()
    for kind, line in zip((Problem, SftRow, PreferencePair), lines, strict=True):
        kind.model_validate(adapt(kind, json.loads(line)))


def write(path: Path, rows: list[dict]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def tiny(texts: list[str], folder: Path, architecture: str = "starcoder2", **shape: int) -> None:
    """A model of nothing, with a tokenizer of the texts."""
    tokenizer = train_tokenizer(texts, 300)
    save_tiny(random_model(architecture, vocab_size=len(tokenizer), seed=0, num_heads=2, **shape), tokenizer, folder)


HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def one():\n    """Return one.\n    >>> one()\n    1\n    """\n',
    "entry_point": "one",
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}
SOLVED = {
    "spread": "def spread(xs):\n    return max(xs) - min(xs)\n",
    "middle": "def middle(xs):\n    import statistics\n    return statistics.median(xs)\n",
}
TESTS = "\n".join(f"assert middle([{n}, {n}, 0]) == {n}" for n in range(10))


def replies(self, requests, done=()):
    """What good models would say; of the student's answers, hot ones, every other one is wrong."""
    for index, request in enumerate(requests):
        text = str(request.prompt)
        name = "spread" if "spread" in text or "difference" in text else "middle"
        if request.purpose == "solve":
            right = index % 2 == 0 or request.sampling.temperature < 1
            code = SOLVED[name] if right else f"def {name}(xs):\n    return xs\n"
            yield {index: Reply(text="    return 1\n" if "Return one" in text else code)}
        else:
            yield {index: Reply(text=TESTS)}


@pytest.mark.parametrize("recipe", ["mine.yaml", "teacher.yaml"])
def test_the_readmes_recipe_runs_on_the_readmes_problems(recipe, tmp_path, monkeypatch):
    """As it stands, with and without a teacher, but for the models: a tiny one that says what is given it to say."""
    problems = blocks(MAIN, "json")[0]
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "teacher.yaml").write_text(TEACHER)
    (tmp_path / "problems.jsonl").write_text(problems)
    with gzip.open(tmp_path / "HumanEval.jsonl.gz", "wt") as file:
        file.write(json.dumps(HUMANEVAL) + "\n")
    tiny([problems, json.dumps(HUMANEVAL)] * 20, tmp_path / "tiny", hidden_size=16, num_layers=1, max_position=512)
    monkeypatch.setattr(HfGenerator, "generate", replies)
    monkeypatch.chdir(tmp_path)
    models = ("student", "teacher") if recipe == "teacher.yaml" else ("student",)
    overrides = [f"models.{name}.model_name_or_path=tiny" for name in models]
    overrides.append("benchmarks.humaneval=HumanEval.jsonl.gz")
    overrides.append("stages.rrtf.args.use_cpu=true")  # bf16 needs it said
    folder = Recipe.load(tmp_path / recipe, overrides).run()
    counts = {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}
    # only a teacher writes tests for the second problem
    assert counts["tests"]["kept"] == counts["rank"]["groups"] == counts["rrtf"]["trained_on"] == len(models)
    assert counts["score"] == {"problems": 1, "student": 100.0, "rrtf": 100.0}


def test_the_mixtures_recipe_tunes_on_the_example_above_it(tmp_path, monkeypatch):
    """The page's own template, more rows of the same form, and a tiny model that learns their plurals."""
    page = REPO / "align" / "mix" / "README.md"
    template = re.search(r'words\.yaml"\)\.write_text\("""(.*?)"""\)', blocks(page, "python")[0], re.DOTALL)[1]
    (tmp_path / "words.yaml").write_text(template)
    rows = "word,plural\n" + "".join(f"m{stem},wa{stem}\n" for stem in ("tu", "ke", "na", "zi", "to", "le"))
    (tmp_path / "words.sw.csv").write_text(rows)
    (tmp_path / "held-out.sw.csv").write_text(rows)
    (tmp_path / "tune.yaml").write_text(blocks(page, "yaml")[0])
    tiny([rows, template] * 20, tmp_path / "tiny", "bloom", hidden_size=32, num_layers=1, max_position=512)
    monkeypatch.chdir(tmp_path)
    overrides = [
        "models.bloom={model_name_or_path: tiny}",
        "stages.mix.workers=1",
        "stages.mix.validation=0",
        "stages.tune.args={learning_rate: 1.0e-2, max_steps: 40}",
    ]
    folder = Recipe.load(tmp_path / "tune.yaml", overrides).run()
    counts = {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}
    assert counts["mix"]["rows"] == counts["tune"]["trained_on"] == 6
    assert counts["evaluate"]["tuned words"] > counts["evaluate"]["base words"]


def own_problems() -> list[dict]:
    """Problems of one pattern, under columns that are not ours."""
    signs = {"plus": "+", "minus": "-", "times": "*"}
    found = []
    for number, (word, sign) in product(range(1, 21), signs.items()):
        checks = [f"assert f({x}) == {eval(f'{x} {sign} {number}')}" for x in (0, 1, 7)]
        question, answer = f"Write f(x) that returns x {word} {number}.", f"def f(x):\n    return x {sign} {number}"
        found.append({"question": question, "checks": checks, "answer": answer, "uid": len(found)})
    return found


def test_the_recipe_with_own_columns_and_answers_runs(tmp_path, monkeypatch):
    """As it stands but for the model, and as many steps as a tiny one needs to learn something; its adapter merges."""
    rows = own_problems()
    problems = [{name: row[name] for name in ("uid", "question", "checks")} for row in rows]
    problems[-1]["checks"] = None
    write(tmp_path / "test.jsonl", problems[::10])
    write(tmp_path / "dev.jsonl", problems[1::10])
    train = [index for index in range(len(rows)) if index % 10 > 1]
    write(tmp_path / "train.jsonl", [problems[index] for index in train])
    write(tmp_path / "answers.jsonl", [{name: rows[index][name] for name in ("question", "answer")} for index in train])
    (tmp_path / "own.yaml").write_text(OWN)
    texts = [row["question"] + row["answer"] for row in rows]
    tiny(texts, tmp_path / "tiny", hidden_size=64, num_layers=2, max_position=128)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    overrides = [
        "models.base={model_name_or_path: tiny}",
        "stages.sft.lora=null",
        "stages.sft.args={learning_rate: 3.0e-3, num_train_epochs: 40}",
        "stages.sample.from.0.max_new_tokens=32",
        "stages.dpo.args={learning_rate: 1.0e-3, max_steps: 4, save_steps: 2}",
        "stages.choose.max_new_tokens=32",
        "stages.score.max_new_tokens=32",
    ]
    folder = Recipe.load(tmp_path / "own.yaml", overrides).run()
    counts = {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}
    assert counts["tests"] == {"kept": len(train) - 1, "native": len(train) - 1, "rejected": {"no_tests": 1}}
    assert counts["sample"]["responses"] == 8 * (len(train) - 1)
    assert 0 < counts["rank"]["outcomes"]["passed"] < counts["sample"]["responses"]
    assert counts["dpo"]["trained_on"] == counts["rank"]["pairs"] > 0
    assert counts["choose"].keys() == {"problems", "best", "sft", "dpo@2", "dpo@4"}
    assert counts["score"].keys() == {"problems", "sft", "last", "best"}

    found = {}
    exec(blocks(RECIPES, "python")[0], found)
    ids = torch.arange(40)[None]
    adapted = load_model(Weights(model_name_or_path=str(folder / "dpo" / "model")))[0](ids).logits
    started = load_model(Weights(model_name_or_path=str(folder / "sft" / "model")))[0](ids).logits
    merged = AutoModelForCausalLM.from_pretrained("merged")(ids).logits
    assert torch.allclose(merged, adapted, atol=1e-4)
    assert not torch.allclose(merged, started, atol=1e-4)
