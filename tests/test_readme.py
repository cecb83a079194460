"""The READMEs' Python examples run, and their commands name verbs, options and files that exist."""

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from align.cli import parse
from align.generate.hf import HfGenerator
from align.generate.request import Reply
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe.recipe import Recipe
from align.recipe.summary import summary

REPO = Path(__file__).parents[1]
TEXT = (REPO / "README.md").read_text()
PYTHON = [
    block
    for path in (REPO / "README.md", *sorted((REPO / "align").rglob("README.md")))
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
]
COMMANDS = [
    line.split("#")[0].strip()
    for path in (REPO / "README.md", REPO / "recipes" / "README.md")
    for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.split("#")[0].strip()
]


@pytest.mark.parametrize("source", PYTHON, ids=range(len(PYTHON)))
def test_a_python_example_runs(source, tmp_path):
    if "Recipe" in source:
        # running it is tests/test_recipes.py's affair: here, that it loads
        source = source.replace('"recipes/', f'"{REPO}/recipes/').partition(".run(")[0]
    subprocess.run([sys.executable, "-c", source], check=True, cwd=tmp_path)


def test_the_rankers_example_loads_no_torch(tmp_path):
    source = next(block for block in PYTHON if "UnitTests" in block)
    source += "\nimport sys\nassert 'torch' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", source], check=True, cwd=tmp_path)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("align ")])
def test_a_command_parses_and_its_recipe_exists(command):
    words = shlex.split(command)[1:]
    arguments = parse(words)
    if hasattr(arguments, "recipe"):
        assert (REPO / arguments.recipe).is_file()


@pytest.mark.parametrize("script", re.findall(r"scripts/\w+(?:\.\w+)?", TEXT))
def test_a_script_that_is_named_exists(script):
    assert (REPO / script).is_file()


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
    """What good models would say; of the student's answers every other one is wrong."""
    for index, request in enumerate(requests):
        text = str(request.prompt)
        name = "spread" if "spread" in text or "difference" in text else "middle"
        if request.purpose == "solve":
            code = SOLVED[name] if index % 2 == 0 or "Return one" in text else f"def {name}(xs):\n    return xs\n"
            yield {index: Reply(text="    return 1\n" if "Return one" in text else code)}
        else:
            yield {index: Reply(text=TESTS)}


def test_the_readmes_recipe_runs_on_the_readmes_problems(tmp_path, monkeypatch):
    """As it stands but for the models: a tiny one takes the place of both, and what it says is given."""
    recipe, problems = (re.search(rf"```{form}\n(.*?)```", TEXT, re.DOTALL)[1] for form in ("yaml", "json"))
    (tmp_path / "mine.yaml").write_text(recipe)
    (tmp_path / "problems.jsonl").write_text(problems)
    with gzip.open(tmp_path / "HumanEval.jsonl.gz", "wt") as file:
        file.write(json.dumps(HUMANEVAL) + "\n")
    tokenizer = train_tokenizer([problems, json.dumps(HUMANEVAL)] * 20, 300)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 512}
    save_tiny(random_model("starcoder2", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, tmp_path / "tiny")
    monkeypatch.setattr(HfGenerator, "generate", replies)
    monkeypatch.chdir(tmp_path)
    overrides = [f"models.{name}.model_name_or_path=tiny" for name in ("student", "teacher")]
    overrides.append("stages.rrtf.args.use_cpu=true")  # bf16 needs it said
    folder = Recipe.load(tmp_path / "mine.yaml", overrides).run()
    counts = {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}
    assert counts["tests"]["kept"] == counts["rank"]["groups"] == 2
    assert counts["rrtf"]["trained_on"] == 2
    assert counts["score"] == {"problems": 1, "student": 100.0, "rrtf": 100.0}
