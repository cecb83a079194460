"""A small project in which every command works, and a command that must be refused."""

import shutil
from pathlib import Path

import pytest

from align.cli import main
from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import PreferencePair, Problem, Response, SftRow

PROBLEM = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"], meta={"task_id": "a/0"})
GOOD, BAD = "def add(a, b):\n    return a + b", "def add(a, b):\n    return 0"
RESPONSES = [
    Response(problem_id=PROBLEM.id, sample_index=n, text=code, code=code) for n, code in enumerate((GOOD, BAD))
]
SFT = [SftRow(prompt=f"# {n}\n", completion=f"return {n}\n") for n in range(4)]
PAIRS = [
    PreferencePair(problem_id=f"p{n}", prompt=f"# {n}\n", chosen="return 1\n", rejected="pass\n") for n in range(4)
]

RANK = "rank: {problems: problems.jsonl, responses: responses.jsonl}"
SCORE = [
    *("score", "--problems", "problems.jsonl", "--samples", "samples.jsonl", "--isolation", "none"),
    *("--out", "v.jsonl", "--json", "f.json"),
]
ALIGN = "align: {model: m, data: pairs.jsonl, loss: {name: dpo}, args: {max_steps: 1, use_cpu: true}}"
GOING = {"timings.jsonl", "metrics.jsonl", "report.html"}
MODEL = "models: {m: {model_name_or_path: model}}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A project in which every command works, as the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "pyproject.toml").touch()
    write(tmp_path / "problems.jsonl", [PROBLEM])
    write(tmp_path / "responses.jsonl", RESPONSES)
    write(tmp_path / "samples.jsonl", [{"task_id": "a/0", "solution": GOOD}])
    write(tmp_path / "sft.jsonl", SFT)
    write(tmp_path / "pairs.jsonl", PAIRS)
    return tmp_path


@pytest.fixture
def model(folder, tiny):
    """The folder of a tiny model, inside the project."""
    shutil.copytree(tiny, folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    tokenizer = train_tokenizer([row.prompt + row.completion for row in SFT * 9], 300)
    shape = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "max_position": 128}
    path = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, path)
    return path


@pytest.fixture
def refused(capsys):
    """Run a command that must fail; the one line it prints, after a look at what it left."""

    def run(*words: str) -> str:
        before = outputs()
        assert main(list(words)) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert outputs() == before
        return lines[0].removeprefix("align: ")

    return run


def outputs() -> dict[str, bytes]:
    """Every file that could pass for whole: all but hidden ones and what tells how a run goes."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.name not in GOING]
    return {str(path): path.read_bytes() for path in files if not any(part[0] == "." for part in path.parts)}


def recipe(*lines: str) -> str:
    """Write a recipe of these stages (indented) and top-level sections (not)."""
    Path("recipes/r.yaml").write_text("\n".join(["stages:", *lines]) + "\n")
    return "recipes/r.yaml"
