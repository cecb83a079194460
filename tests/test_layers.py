"""The order of the packages, and where torch may be imported: the design that a reader relies on."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import align

ROOT = Path(align.__file__).parent
ORDER = [
    "errors",
    "schema",
    "forms_code",
    "forms",
    "io",
    "config",
    "terminal",
    "progress",
    "text",
    "execute",
    "models",
    "generate",
    "evolve",
    "clean",
    "testgen",
    "rank",
    "mix",
    "loss",
    "train",
    "score",
    "export",
    "recipe",
    "stages",
    "report",
    "doctor",
    "show",
    "cli",
    "__main__",
]
TORCH_ONLY = (
    "text/encode.py",
    "text/collate.py",
    "text/token_shards.py",
    "models/",
    "generate/hf.py",
    "loss/",
    "train/",
    "score/choice.py",
    "export/",
)
TORCH_FREE_BELOW = (
    "export/__init__.py",
    "export/card.py",
    "export/formats.py",
    "export/gptq.py",
    "export/hub.py",
    "export/lineage.py",
    "models/__init__.py",
    "models/entry.py",
    "models/family.py",
    "models/chain.py",
    "models/launcher.py",
    "models/lora.py",
    "models/shapes.py",
    "models/trained_on.py",
    "train/__init__.py",
    "train/arguments.py",
    "train/card.py",
    "train/chat_pairs.py",
    "train/checkpoints.py",
    "train/dialogue.py",
    "train/options.py",
    "train/refused.py",
    "train/settings.py",
    "train/start.py",
)
TRAINING_LIBRARIES = {"torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "safetensors", "tokenizers"}
RUNS_DOWN = {("recipe", "stages")}
"""`recipe/` finds a stage kind by importing it: the one edge that runs down."""


def imports(path: Path, *, top_level: bool = False):
    """Every module that a file of ours names, absolute: `align.x.y` or `torch`."""
    package = ["align", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files():
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_a_package_imports_only_from_those_above_it():
    wrong = []
    for path in files():
        mine = layer(path)
        assert mine in ORDER, f"{path} has no place in the order"
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "align" and len(parts) > 1 and parts[1] in ORDER:
                other = parts[1]
                if ORDER.index(other) > ORDER.index(mine) and (mine, other) not in RUNS_DOWN:
                    wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_torch_is_imported_only_where_the_design_says():
    wrong = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        allowed = name.startswith(TORCH_ONLY) and name not in TORCH_FREE_BELOW
        for module in imports(path):
            if module.split(".")[0] in TRAINING_LIBRARIES and not allowed:
                wrong.append(f"{name} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_importing_align_its_help_and_checking_a_recipe_load_no_torch():
    recipe = ROOT.parent / "recipes" / "quickstart.yaml"
    script = f"""
import sys, contextlib, io
import align, align.execute, align.stages
from align.cli import main, parser
from align.recipe.recipe import Recipe, kinds
import importlib
for kind in kinds():
    importlib.import_module("align.stages." + kind)
parser().format_help()
Recipe.load({str(recipe)!r})
loaded = sorted(set(sys.modules) & {TRAINING_LIBRARIES!r})
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_no_exported_name_equals_a_sub_package():
    packages = {module.name for module in pkgutil.iter_modules([str(ROOT)])}
    assert not packages & set(align.__all__)


def test_the_executor_starts_quickly():
    # CPU time, and the best of three: the machine may be busy
    script = "import time; from align.execute import Pool; print(time.process_time())"
    script += f"; import sys; assert not set(sys.modules) & {TRAINING_LIBRARIES!r}"
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    assert min(float(run.stdout) for run in runs) < 1.0
