import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from align.cli import main
from align.config import load
from align.recipe.recipe import kinds
from align.recipe.schema import recipe_schema

REPO = Path(__file__).parents[2]
RECIPES = sorted(path for path in (REPO / "recipes").rglob("*.yaml") if path.parent.name != "accelerate")


def check(data):
    jsonschema.Draft202012Validator(recipe_schema()).validate(data)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_fits_the_schema(path):
    jsonschema.Draft202012Validator.check_schema(recipe_schema())
    check(load(path).data)
    check(YAML(typ="safe").load(path))


@pytest.mark.parametrize(
    "stages",
    [
        {"rnk": {"problems": "a", "responses": "b"}},
        {"rank": {"problems": "a", "respones": "b"}},
        {"mine": {"use": "rank", "problems": "a"}},
        {"mine": {"use": "rnk", "problems": "a", "responses": "b"}},
        {"rank": {"use": "score", "problems": "a", "responses": "b"}},
        {"align": {"model": "m", "data": "d", "loss": {"name": "rrtf", "beta": 1.0}}},
    ],
)
def test_what_check_refuses_the_schema_refuses(stages):
    with pytest.raises(jsonschema.ValidationError):
        check({"stages": stages})


def test_the_schema_carries_the_help_texts(capsys):
    assert main(["show", "schema", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for kind in kinds():
        for name, field in found["$defs"][kind]["properties"].items():
            assert field.get("description"), f"{kind}.{name} has no help"
