"""The READMEs' Python examples run, and their commands name verbs, options and files that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from align.cli import parse

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
