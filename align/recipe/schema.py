"""The JSON Schema of recipes, made from the Config classes: for editors that complete keys and show their help."""

import importlib
from typing import Any

from ..models.entry import KINDS
from .recipe import TopLevel, kinds

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """The schema of a whole recipe file.

    A stage's section is that of the kind in its `use:`, or of the kind it is named after. References between stages,
    files and models are `align check`'s affair.
    """
    definitions: dict[str, Any] = {}
    for kind in kinds():
        section = _collect(importlib.import_module(f"align.stages.{kind}").Config, kind, definitions)
        section["properties"] = {"use": {"const": kind, "description": "Kind of the stage."}, **section["properties"]}
        definitions[kind] = section
    entries = [_collect(entry, f"model.{key}", definitions) for key, entry in KINDS.items()]
    top = _collect(TopLevel, "recipe", definitions)
    top["properties"]["models"]["additionalProperties"] = {"anyOf": entries}
    top["properties"]["extends"] = {"type": "string", "description": "A recipe to start from; see recipes/README.md."}
    (names,) = top["properties"]["stages"].pop("patternProperties")
    stages = {
        **top["properties"]["stages"],
        "propertyNames": {"pattern": names},
        "properties": {kind: _by_use(kind) for kind in kinds()},
        "additionalProperties": {**_by_use(None), "required": ["use"]},
    }
    top["properties"]["stages"] = {"type": "object", "description": stages["description"]}
    # an extension names only what it changes, so that its stages are not whole: `align check` sees them merged
    top["required"] = [name for name in top.get("required", []) if name != "stages"]
    whole = {"if": {"required": ["extends"]}, "else": {"properties": {"stages": stages}, "required": ["stages"]}}
    return {"$schema": DIALECT, "title": "align recipe", **top, **whole, "$defs": definitions}


def _collect(config: Any, prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A class's own schema; the classes inside it go to the shared definitions under a name of their own."""
    schema: dict[str, Any] = config.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = inner
    return schema


def _by_use(default: str | None) -> dict[str, Any]:
    """The section of the kind in `use`, or of the default where there is no `use`."""
    chosen = [
        {"if": {"properties": {"use": {"const": kind}}, "required": ["use"]}, "then": {"$ref": f"#/$defs/{kind}"}}
        for kind in kinds()
    ]
    named = {"type": "object", "properties": {"use": {"enum": kinds()}}, "allOf": chosen}
    if default is None:
        return named
    return {"if": {"required": ["use"]}, "then": named, "else": {"$ref": f"#/$defs/{default}"}}
