from pathlib import Path

import pytest

from align import stages
from align.recipe import Recipe

TOYS = Path(__file__).parent / "toys"
TEXT = """
seed: 0
stages:
  make: {use: toy_make, rounds: 3}
  double: {use: toy_double, data: $make/numbers.jsonl}
  again: {use: toy_double, data: $double/numbers.jsonl}
"""


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """Toy stage kinds, and a function that writes and loads a recipe of them in an empty folder."""
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(TOYS)])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()

    def load(*overrides: str, text: str = TEXT, name: str = "toy") -> Recipe:
        path = tmp_path / "recipes" / f"{name}.yaml"
        path.write_text(text)
        return Recipe.load(path, overrides)

    return load
