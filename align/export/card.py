"""The card of an exported model: base and its terms, method, data, recipe, results, forms, what not to evaluate on.

Markdown with the YAML head that the Hugging Face hub reads. It holds no path of a machine. The cards of training stages
are `align.train.card`'s, which knows the licences. Torch-free.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML

from ..models.trained_on import TrainedOn
from ..train.card import OPENRAIL, RAIL, TERMS
from .formats import FOLDERS, FORMS
from .lineage import Ancestor, DataSet

PAPERS = {
    "rrtf": "RRTF (PanGu-Coder2, arXiv 2307.14936)",
    "rrhf": "RRHF (arXiv 2304.05302)",
    "dpo": "DPO (arXiv 2305.18290)",
    "simpo": "SimPO (arXiv 2405.14734)",
    "orpo": "ORPO (arXiv 2403.07691)",
    "kto": "KTO (arXiv 2402.01306)",
    "lipo": "LiPO (arXiv 2402.01878)",
    "listmle": "ListMLE (Xia et al. 2008)",
    "sft": "supervised fine-tuning",
    "lora": "LoRA (arXiv 2106.09685)",
    "qlora": "QLoRA (arXiv 2305.14314)",
    "evolve": "Evol-Instruct for code (WizardCoder, arXiv 2306.08568)",
    "mix": "multitask prompted tuning (arXiv 2211.01786)",
}
"""Method → what a card says of it."""
LICENCES = {
    RAIL: "https://huggingface.co/spaces/bigscience/license",
    OPENRAIL: "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement",
}
"""Licence with use restrictions → its text."""
PASSED_ON = (
    "Whoever passes this model on, in any form or changed, must give a copy of that licence along and bind those who "
    "get it to the same use restrictions (its Attachment A: {url})."
)


@dataclass(frozen=True)
class Subject:
    """What a card is about."""

    title: str
    base: str
    """Hub id of the base, or what it is called."""
    is_hub_base: bool
    licence: str | None
    """The base's, by the hub's name."""
    known: TrainedOn
    stages: Sequence[Ancestor] = ()
    data: Sequence[DataSet] = ()
    hub_data: Sequence[str] = ()
    results: Mapping[str, Any] = field(default_factory=dict)
    """A `score.json`."""
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Format → its figures."""


def card(subject: Subject) -> str:
    """The text of the card."""
    head: dict[str, Any] = {"license": subject.licence} if subject.licence else {}
    if subject.is_hub_base:
        head["base_model"] = subject.base
    if subject.hub_data:
        head["datasets"] = list(subject.hub_data)
    head |= {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["align", "code"]}
    parts = [
        f"---\n{_yaml(head)}---\n# {_line(subject.title)}",
        f"Base: `{_line(subject.base)}`.",
        "## Licence",
        _terms(subject.licence),
        "## Method",
        "\n".join(f"- {line}" for line in methods(subject.stages)) or "Not known: no stage of a run left it.",
        "## Data",
        _table(("data set", "licence"), [(f"`{one.name}`", one.licence) for one in subject.data])
        + "\n\nThe terms of each data set, and of the models that wrote answers, apply besides.",
        "## Trained on",
        _warning(subject.known),
        "## Results",
        _results(subject.results),
        "## Forms",
        _forms(subject.forms),
    ]
    if subject.stages:
        settings = {stage.name: {"use": stage.kind, **_public(stage.config)} for stage in subject.stages}
        parts += ["## Recipe", f"```yaml\n{_yaml(settings)}```"]
    return "\n\n".join(parts) + "\n"


def methods(stages: Sequence[Ancestor]) -> list[str]:
    """The methods that stages used, in their order, each once."""
    found: dict[str, None] = {}
    for stage in stages:
        loss = stage.config.get("loss")
        names = [loss["name"]] if isinstance(loss, Mapping) else [stage.kind]
        if stage.config.get("lora"):
            names.append("lora")
        for name in names:
            if name in PAPERS:
                found[PAPERS[name]] = None
    return list(found)


def _terms(licence: str | None) -> str:
    told = TERMS.get(licence, f"{licence}, that of the base.")
    told = told[:1].upper() + told[1:]
    return f"{told} {PASSED_ON.format(url=LICENCES[licence])}" if licence in LICENCES else told


def _warning(known: TrainedOn) -> str:
    if not known.benchmarks:
        return "No benchmark that is known of."
    held = f" (in {known.variant})" if known.variant else ""
    return f"{', '.join(known.benchmarks)}{held}: do not evaluate on them."


def _results(score: Mapping[str, Any]) -> str:
    models = score.get("models", {})
    if not models:
        return "None is given."
    rows = []
    tasks = []
    for name, summary in models.items():
        if "pass@1" in summary:
            interval = f"{summary['low']:.1f}–{summary['high']:.1f}"
            rows.append((name, f"{summary['pass@1']:.1f}", interval, summary["problems"], summary["n"]))
        for task, (value, low, high) in summary.get("tasks", {}).items():
            tasks.append((name, task, f"{value:.1f}", f"{low:.1f}–{high:.1f}"))
    tables = [_table(("model", "pass@1 %", "95 %", "problems", "samples a problem"), rows)] if rows else []
    tables += [_table(("model", "task", "%", "95 %"), tasks)] if tasks else []
    return "\n\n".join(tables) or "None is known."


def _forms(forms: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (f"`{FOLDERS[name]}/`", FORMS[name].words, f"{made['bytes'] / 1e9:.3f}", f"{made['difference']:.2g}")
        for name, made in forms.items()
    ]
    said = "The difference is the largest one of a logit: of whole weights from the chain that was merged, else from "
    return _table(("folder", "form", "GB", "difference"), rows) + f"\n\n{said}the whole weights."


def _public(value: Any) -> Any:
    """A configuration without addresses of this machine, and without what says nothing."""
    if isinstance(value, Mapping):
        return {key: _public(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_public(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "~", "..")):
        return value.rstrip("/").rpartition("/")[2]
    return value


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    def row(cells: Sequence[object]) -> str:
        return "| " + " | ".join(_line(str(cell)).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join(_rows(row, head, lines)) if lines else "None is known."


def _rows(row: Any, head: Sequence[str], lines: Sequence[Sequence[object]]) -> Iterator[str]:
    yield row(head)
    yield row(["---"] * len(head))
    yield from (row(line) for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _yaml(value: Any) -> str:
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.dump(value, text)
    return text.getvalue()
