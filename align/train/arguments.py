"""Check a recipe's `args:` against the installed transformers.TrainingArguments, without importing it. Torch-free.

Names and simple types are read from the class's source, so a misspelt key, a renamed one, or one that this toolkit
sets itself is an error before anything is loaded. Where transformers is not installed, names that
it would refuse pass, and only our own rules are checked.
"""

import ast
import difflib
import functools
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import suggest
from .refused import REFUSED

DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "logging_steps": 0.02,
    "save_steps": 0.25,
}
"""Used where a recipe does not say otherwise: fifty lines of metrics and four checkpoints a run."""

RANGES: dict[str, tuple[float, float]] = {
    "max_steps": (1, math.inf),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    **dict.fromkeys(("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps"), (0, math.inf)),
    **dict.fromkeys(("num_train_epochs", "adam_epsilon", "logging_steps", "save_steps"), (1e-38, math.inf)),
    "save_total_limit": (1, math.inf),
}
"""Least value, and the one that is too large. Any other number only has to be finite."""

STRATEGIES = {
    "save_strategy": "save_steps: 0.3333 (a share) for every third of the training",
    "eval_strategy": "eval_steps: 0.3333 (a share) for every third of the training",
    "logging_strategy": "logging_steps: 10",
}
"""Arguments that count epochs, of which the plan of batches is one → what to write instead."""
BEST = "load_best_model_at_end"
EVALUATION = ("eval_strategy", "eval_steps", "eval_delay", "eval_on_start", BEST)
"""Arguments that need held-out rows."""

READ_METRIC = ("reduce_lr_on_plateau", "greedy")
"""Schedules of the learning rate that follow a metric of the evaluations."""

TRACKERS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "mlflow", "neptune")},
    **{name: (name,) for name in ("swanlab", "trackio", "wandb")},
    "azure_ml": ("azureml",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "tensorboard": ("tensorboard", "tensorboardX"),
}
"""transformers' trackers → modules, any of which serves."""

CHOICES = {
    "lr_scheduler_type": ("trainer_utils.py", "SchedulerType"),
    "optim": ("training_args.py", "OptimizerNames"),
    "save_strategy": ("trainer_utils.py", "SaveStrategy"),
    "eval_strategy": ("trainer_utils.py", "IntervalStrategy"),
    "logging_strategy": ("trainer_utils.py", "IntervalStrategy"),
}
"""Argument → file and class of the enumeration of its values in transformers."""

SIMPLE: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str": str,
    "dict": dict,
    "list": list,
}
"""Types that are checked."""


class Fault(NamedTuple):
    """One wrong key of `args:`."""

    key: str
    message: str


def check_arguments(args: dict[str, Any]) -> list[Fault]:
    """Everything wrong with a recipe's `args:`; empty if nothing is."""
    known = training_arguments()
    faults = []
    for key, value in args.items():
        if key in REFUSED:
            faults.append(Fault(key, REFUSED[key]))
        elif known and key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            cure = f": did you mean {close[0]!r}?" if close else ""
            faults.append(Fault(key, f"no such argument of transformers.TrainingArguments{cure}"))
        elif known and not _fits(value, known[key]):
            faults.append(Fault(key, f"expected {' or '.join(sorted(known[key]))}, found {value!r}"))
        elif key in STRATEGIES and value == "epoch":
            faults.append(Fault(key, f"epoch is one of all together here: write steps, and {STRATEGIES[key]}"))
        elif known and key in CHOICES and value not in (None, *choices(key)):
            faults.append(Fault(key, f"no {value!r} in transformers: {suggest(str(value), choices(key))}"))
        elif isinstance(value, int | float) and not _in_range(key, value):
            faults.append(Fault(key, f"must be {_range(key)}, found {value}"))
    if args.get("max_steps") is not None and "num_train_epochs" in args:
        faults.append(Fault("max_steps", "give max_steps or num_train_epochs, not both"))
    faults += [
        Fault("report_to", f"no tracker {name!r}: {suggest(name, TRACKERS)}")
        for name in _trackers(args)
        if name not in TRACKERS
    ]
    return faults or list(_selection_faults(args))


def missing_trackers(args: dict[str, Any]) -> list[str]:
    """The trackers that `report_to` names and this machine has not; they are needed where the stage trains."""
    found = [(name, TRACKERS.get(name, ())) for name in _trackers(args)]
    return [name for name, modules in found if modules and not any(map(importlib.util.find_spec, modules))]


def moved(key: str) -> str | None:
    """What to write for a key of transformers, trl, peft or the alignment handbook that stands where it has no place;
    None for one that is none of theirs."""
    if key in REFUSED:
        return REFUSED[key]
    known = key in training_arguments()
    return "of transformers.TrainingArguments: write it below args: in the stage" if known else None


def _trackers(args: dict[str, Any]) -> list[str]:
    asked = args.get("report_to") or []
    names = [asked] if isinstance(asked, str) else list(map(str, asked))
    return [] if names in (["all"], ["none"]) else names


def _selection_faults(args: dict[str, Any]) -> Iterator[Fault]:
    """What keeps the best of the saved steps from being found; transformers' own rules, before anything is loaded."""
    evaluated, saved = args.get("eval_strategy", "no"), args.get("save_strategy", "steps")
    if args.get("lr_scheduler_type") in READ_METRIC and evaluated == "no":
        yield Fault("lr_scheduler_type", "follows a metric of the evaluations: write eval_strategy: steps")
    if not args.get(BEST):
        for key in ("metric_for_best_model", "greater_is_better"):
            if key in args and args.get("lr_scheduler_type") not in READ_METRIC:
                yield Fault(key, f"chooses nothing: write {BEST}: true, too, or remove it")
        if args.get("save_strategy") == "best":
            yield Fault("save_strategy", f"best needs {BEST}: true")
        return
    if evaluated == "no":
        yield Fault(BEST, "needs evaluations: write eval_strategy: steps")
    elif saved not in (evaluated, "best"):
        yield Fault(
            BEST,
            f"chooses among saved steps, each of which is evaluated: save_strategy is {saved} and eval_strategy "
            f"{evaluated}: write the same for both",
        )
    elif (evaluated, saved) == ("steps", "steps"):
        every = args.get("save_steps") or DEFAULTS["save_steps"]
        each = args.get("eval_steps") or every
        if (every < 1) != (each < 1) or abs(every / each - round(every / each)) > 1e-6:
            yield Fault(
                "eval_steps",
                f"{each} leaves saved steps out, each of which has to be evaluated: save_steps is {every}: write a "
                "part of it, or nothing",
            )


@functools.cache
def training_arguments() -> dict[str, frozenset[str]]:
    """Name → simple types that the annotation allows, of every field; empty where transformers is not installed."""
    return {
        field.target.id: _types(field.annotation)
        for field in _members("training_args.py", "TrainingArguments")
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


@functools.cache
def choices(key: str) -> frozenset[str]:
    """The values that transformers knows for an argument among `CHOICES`."""
    return frozenset(
        str(member.value.value)
        for member in _members(*CHOICES[key])
        if isinstance(member, ast.Assign) and isinstance(member.value, ast.Constant)
    )


def _members(file: str, name: str) -> list[ast.stmt]:
    """The body of a class of transformers; nothing where that is not installed."""
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        return []
    tree = ast.parse((Path(found.submodule_search_locations[0]) / file).read_text(encoding="utf-8"))
    return next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), [])


def _types(annotation: ast.expr) -> frozenset[str]:
    """The simple types an annotation names; empty where there is none, and nothing is checked."""
    return frozenset(node.id for node in ast.walk(annotation) if isinstance(node, ast.Name) and node.id in SIMPLE)


def _in_range(key: str, value: float) -> bool:
    low, high = RANGES.get(key, (-math.inf, math.inf))
    return math.isfinite(value) and low <= value < high


def _range(key: str) -> str:
    low, high = RANGES.get(key, (-math.inf, math.inf))
    least = "finite" if low == -math.inf else "above 0" if 0 < low < 1 else f"{low:g} or more"
    return least if high == math.inf else f"{least} and below {high:g}"


def _fits(value: Any, types: frozenset[str]) -> bool:
    if value is None or not types:
        return True
    if isinstance(value, bool):
        return "bool" in types
    return any(isinstance(value, SIMPLE[name]) for name in types)
