"""Export a model: whole weights, quantised forms, a card, and on request a repository on the hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from ..config import Section, bad_key
from ..errors import DataError, StageError
from ..export.formats import FOLDERS, Format, check_libraries, is_calibrated, unknown_class
from ..export.hub import check_push
from ..io import replacing, rows, write_json
from ..models.entry import Dtype, Weights
from ..recipe.devices import shape_below
from ..recipe.stage import Context, Counts, File, Model

if TYPE_CHECKING:
    from ..export.lineage import Ancestor

VERSION = 1
OUTPUTS = (*FOLDERS.values(), "README.md", "export.json")
STATE = ".export.json"
"""What is known of the forms that are whole: an interrupted export goes on from it."""
PARTS = (("text",), ("prompt", "completion"), ("prompt", "chosen"), ("inputs", "targets"))
"""Columns that make a text, put together."""


class Push(Section):
    """A repository on the hub. The token is that of the environment variable `HF_TOKEN`."""

    repo_id: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """`owner/name`."""
    private: bool = True
    """A new repository is seen by its owner only."""


class Config(Section):
    """Write a model in forms that others load."""

    model: Model
    """What a training stage left, with its chain of adapters; or whole weights."""
    formats: list[Format] = ["safetensors"]
    """`safetensors` is always written, as all others are made from it."""
    dtype: Dtype = "auto"
    """Type of the whole weights; `auto`: that of the frozen ones."""
    calibration: File | None = None
    """Rows whose texts GPTQ measures its rounding on, such as `$rank/sft.jsonl`; never a benchmark."""
    calibration_rows: int = Field(default=128, gt=0)
    """So many of them, from the first."""
    group_size: int = Field(default=128, gt=0)
    """Weights that share a scale in GPTQ; it divides the width of every layer."""
    results: File | None = None
    """The `score.json` of a score stage, for the card."""
    push_to_hub: Push | None = None
    """Put it on the hub too. Nothing is sent without this key."""

    @model_validator(mode="after")
    def _calibration_is_fair(self, info: ValidationInfo) -> "Config":
        needs = [name for name in self.formats if is_calibrated(name)]
        if needs and self.calibration is None:
            raise bad_key("calibration", f"{needs[0]} is made by the help of texts: name a file, as $rank/sft.jsonl")
        if not needs:
            for key in ("calibration", "calibration_rows", "group_size"):
                if key in self.model_fields_set:
                    raise bad_key(key, "means nothing without gptq-int8 or gptq-int4 among the formats: remove it")
        elif info.context is not None and info.context.is_benchmark(self.calibration):
            raise bad_key("calibration", f"a model fitted to the benchmark {self.calibration!r} is not measured by it")
        return self

    @model_validator(mode="after")
    def _class_is_known(self, info: ValidationInfo) -> "Config":
        shape = None if info.context is None else shape_below(info.context, self.model)
        for name in self.formats:
            if shape is not None and (told := unknown_class(name, shape.family)):
                raise bad_key("formats", told)
        return self

    @property
    def forms(self) -> list[str]:
        """The formats, whole weights first, each once."""
        return list(dict.fromkeys(["safetensors", *self.formats]))


def outputs(config: Config) -> tuple[str, ...]:
    """What this configuration leaves."""
    return (*(FOLDERS[name] for name in config.forms), *OUTPUTS[-2:])


def needs(config: Config) -> None:
    """Refuse what this machine lacks for it.

    Raises:
        BackendError: a library.
        ConfigError: the hub's token.
    """
    check_libraries(config.forms)
    if config.push_to_hub is not None:
        check_push()


def run(config: Config, context: Context) -> Counts:
    """Make each form that is not there yet, then the card; then push."""
    from ..export.forms import Calibration, check_forms, merged, model_type, quantised

    token = None if config.push_to_hub is None else check_push()
    entry = context.weights(config.model)
    check_forms(config.forms, model_type(entry))
    results = _scored(config.results) if config.results else {}
    state: dict[str, Any] = _state(context.out)
    for name in config.forms:
        folder = context.out / FOLDERS[name]
        if name in state and folder.is_dir():
            continue
        if name == "safetensors":
            state = {name: merged(entry, folder, config.dtype)._asdict()}
        else:
            calibration = Calibration(_texts(config), config.group_size) if is_calibrated(name) else Calibration()
            state[name] = quantised(name, context.out / FOLDERS["safetensors"], folder, calibration)._asdict()
        write_json(context.out / STATE, state)
    forms = {name: state[name] for name in config.forms}
    _describe(config, context, entry, forms, results)
    write_json(context.out / "export.json", {"model": context.label(config.model), "forms": forms})
    counts: Counts = {"MB": {name: round(made["bytes"] / 1e6, 3) for name, made in forms.items()}}
    if config.push_to_hub is not None and token is not None:
        from ..export.hub import push

        where = config.push_to_hub
        places = {"" if name == "safetensors" else FOLDERS[name]: context.out / FOLDERS[name] for name in forms}
        push(places, where.repo_id, private=where.private, token=token)
        counts["pushed"] = where.repo_id
    return counts


def _state(out: Path) -> dict[str, Any]:
    """What an interrupted export has made."""
    try:
        found: dict[str, Any] = json.loads((out / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _texts(config: Config) -> list[str]:
    """The texts that GPTQ is calibrated on.

    Raises:
        StageError: no row has one.
    """
    assert config.calibration is not None
    found: list[str] = []
    for _, row in rows(config.calibration):
        parts = next((names for names in PARTS if all(isinstance(row.get(name), str) for name in names)), None)
        if parts is not None:
            found.append("".join(row[name] for name in parts))
        if len(found) == config.calibration_rows:
            break
    if not found:
        known = " or ".join(" + ".join(names) for names in PARTS)
        raise StageError(f"{config.calibration}: no row has {known}: name another file in `calibration`")
    return found


def _describe(config: Config, context: Context, entry: Weights, forms: dict[str, Any], results: Any) -> None:
    """Leave the card, and what is known of benchmarks, beside every form."""
    from ..export.card import Subject, card
    from ..export.lineage import ancestors, data_sets, hub_ids
    from ..models.trained_on import trained_on, write_trained_on
    from ..train.card import licence_of

    stages = ancestors(context.out.parent, context.labels.get(config.model))
    known, base = trained_on(entry), _base(context, entry, stages)
    text = card(
        Subject(
            title=context.label(config.model),
            base=base if base is not None else context.label(config.model),
            is_hub_base=base is not None and base.count("/") == 1 and " " not in base,
            licence=licence_of(entry.model_name_or_path),
            known=known,
            stages=stages,
            data=data_sets(stages),
            hub_data=hub_ids(stages),
            results=results,
            forms=forms,
        )
    )
    for folder in (context.out, *(context.out / FOLDERS[name] for name in forms)):
        if folder != context.out:
            write_trained_on(folder, known)
        with replacing(folder / "README.md") as file:
            file.write(text)


def _scored(path: str) -> Any:
    """What a `score.json` says of the models.

    Raises:
        DataError: it is another file.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("models"), dict):
        raise DataError(f"results: {path} is no score.json: name that of a score stage, as $score/score.json")
    return found


def _base(context: Context, entry: Weights, stages: "list[Ancestor]") -> str | None:
    """The hub id of the weights at the foot, or a name of theirs; None where the run tells none."""
    from ..models.trained_on import chain

    *_, foot = chain(entry.model_name_or_path)
    if not Path(foot).is_dir():
        return foot
    for stage in stages:
        model = stage.config.get("model")
        below = context.models.get(model) if isinstance(model, str) else None
        if isinstance(below, Weights) and stage.kind in ("sft", "align"):
            return below.model_name_or_path if not below.is_local else Path(below.model_name_or_path).name
    init = next((stage.config["architecture"] for stage in stages if stage.kind == "init"), None)
    return f"random weights of {init}" if init else None
