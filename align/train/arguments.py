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

DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "logging_steps": 0.02,
    "save_steps": 0.25,
}
"""Used where a recipe does not say otherwise: fifty lines of metrics and four checkpoints a run."""

RENAMED = {
    "lr": "write learning_rate",
    "epochs": "write num_train_epochs",
    "batch_size": "write global_batch_size in the stage",
    "warmup_ratio": "renamed in transformers 5: write warmup_steps: 0.03 (a share below 1)",
    "gradient_checkpointing": "renamed in transformers 5: write activation_checkpointing",
    "gradient_checkpointing_kwargs": "renamed in transformers 5: write activation_checkpointing_kwargs",
    "group_by_length": "gone: micro-batches already hold rows of similar length",
    "torch_dtype": "renamed in transformers 5, and of the model: write dtype in its entry under models:",
    "dtype": "of the model: write it in its entry under models:",
    "max_prompt_length": "gone from trl: write max_length in the stage; longer rows are dropped and counted",
    "max_seq_length": "gone from trl: write max_length in the stage; longer rows are dropped and counted",
    "overwrite_output_dir": "gone: a changed recipe gets a new folder, an interrupted one goes on",
    "logging_dir": "gone: metrics are in the stage's metrics.jsonl",
    "save_safetensors": "gone: weights are always safetensors",
    "no_cuda": "renamed in transformers 5: write use_cpu",
    "evaluation_strategy": "renamed in transformers 5: write eval_strategy",
    "per_gpu_train_batch_size": "gone: write global_batch_size in the stage",
}
"""Keys of older releases → what to write."""

RANGES: dict[str, tuple[float, float]] = {
    "max_steps": (1, math.inf),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    **dict.fromkeys(("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps"), (0, math.inf)),
    **dict.fromkeys(("num_train_epochs", "adam_epsilon", "logging_steps", "save_steps"), (1e-38, math.inf)),
    "save_total_limit": (1, math.inf),
}
"""Least value, and the one that is too large. Any other number only has to be finite."""

NEIGHBOURS = {
    "of the stage: write it beside args:": ("max_length", "disable_dropout"),
    "of the loss: write it in loss:": ("beta", "loss_type", "label_smoothing"),
    "of trl: write sft_weight in loss:": ("loss_weights", "rpo_alpha"),
    "of trl: the reference is computed once, with lora: it is the model with its adapters off": (
        "precompute_ref_log_probs",
        "precompute_ref_batch_size",
    ),
    "of trl: completions are trained on, and nothing else": ("completion_only_loss", "assistant_only_loss"),
    "of trl: micro-batches hold rows of similar length; write max_tokens_per_batch in the stage": (
        *("packing", "packing_strategy", "eval_packing", "padding_free", "pad_to_multiple_of"),
    ),
    "of trl: rows above max_length are dropped and counted, never cut": ("truncation_mode",),
    "of trl: rows are tokenised once, in this process": ("dataset_num_proc",),
    "of trl: every epoch is shuffled, by the recipe's seed": ("shuffle_dataset",),
    "of trl: write data and columns in the stage": ("dataset_text_field", "dataset_kwargs"),
    "of trl: not supported here": (
        *("ld_alpha", "f_divergence_type", "f_alpha_divergence_coef", "use_weighting", "discopop_tau"),
        *("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
        *("router_aux_loss_coef", "activation_offloading"),
    ),
    "of peft: write r, lora_alpha, lora_dropout, target_modules in lora:": (
        *("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"),
    ),
    "of trl: write lora: in the stage, or leave it out": ("use_peft",),
    "of the model: write it in its entry under models:": (
        *("model_name_or_path", "attn_implementation", "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type"),
        "chat_template",
    ),
    "of the model: write revision in its entry under models:": ("model_revision",),
    "of the model: write bnb_4bit_use_double_quant in its entry under models:": ("use_bnb_nested_quant",),
    "of the alignment handbook: write data in the stage, one training split; a mix stage blends several": (
        *("dataset_mixer", "dataset_mixture", "dataset_splits", "dataset_configs", "dataset_name"),
        *("dataset_config", "dataset_train_split", "dataset_test_split"),
    ),
    "of the alignment handbook: rows are tokenised once, in this process": ("preprocessing_num_workers",),
    "of the model: write dtype, revision, trust_remote_code, chat_template in its entry under models:": (
        *("model_init_kwargs", "trust_remote_code", "chat_template_path"),
    ),
    "of the tokenizer: set it in its tokenizer_config.json": ("eos_token", "pad_token"),
}
"""What to write → keys of trl, peft, or another place of the recipe."""

_BATCH = "derived from global_batch_size and max_tokens_per_batch: write these in the stage"
_EVAL = "set by the plan of batches, and by whether eval_strategy is given"
_HUB = "nothing is uploaded while training"
OWNED = {
    "output_dir": "set by the run: results lie in the stage's folder",
    "per_device_train_batch_size": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "auto_find_batch_size": _BATCH,
    "train_sampling_strategy": _BATCH,
    "length_column_name": _BATCH,
    "dataloader_drop_last": _BATCH,
    "accelerator_config": _BATCH,
    "average_tokens_across_devices": "set by the loss, which is exact over ranks",
    "remove_unused_columns": "set by the plan of batches",
    "ddp_find_unused_parameters": "off: every parameter has a gradient in every micro-batch",
    "disable_tqdm": "set: progress is one bar of the run's own",
    "label_names": "set by the plan of batches",
    "include_num_input_tokens_seen": "tokens a second are in timings.jsonl",
    "seed": "write seed at the recipe's top",
    "data_seed": "write seed at the recipe's top",
    "label_smoothing_factor": "would be ignored: for preferences write label_smoothing in loss:",
    "neftune_noise_alpha": "not supported: a reference model would see other embeddings",
    "use_liger_kernel": "not supported: its losses bypass ours",
    "use_cache": "off while training",
    "logging_nan_inf_filter": "set: a loss that is not finite stops the run and names its problems",
    "resume_from_checkpoint": "an interrupted stage goes on by itself",
    "ignore_data_skip": "set: a resumed run sees the data that were left",
    "save_only_model": "set: checkpoints hold what resuming needs",
    "enable_jit_checkpoint": "checkpoints are written by save_steps",
    "per_device_eval_batch_size": _EVAL,
    "eval_accumulation_steps": _EVAL,
    "do_train": _EVAL,
    "do_eval": _EVAL,
    "do_predict": _EVAL,
    "push_to_hub": _HUB,
    "hub_model_id": _HUB,
    "hub_strategy": _HUB,
    "hub_token": _HUB,
    "hub_private_repo": _HUB,
    "hub_always_push": _HUB,
    "hub_revision": _HUB,
    "fsdp": "of the launcher: write it in the accelerate file that launch.config_file names",
    "fsdp_config": "of the launcher: write it in the accelerate file that launch.config_file names",
    "deepspeed": "of the launcher: write it in the accelerate file that launch.config_file names",
}
"""Arguments that this toolkit sets itself → why, or where to write it."""

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

REFUSED = RENAMED | OWNED | {key: line for line, keys in NEIGHBOURS.items() for key in keys}

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
        elif isinstance(value, int | float) and not _in_range(key, value):
            faults.append(Fault(key, f"must be {_range(key)}, found {value}"))
    if args.get("max_steps") is not None and "num_train_epochs" in args:
        faults.append(Fault("max_steps", "give max_steps or num_train_epochs, not both"))
    return faults or list(_selection_faults(args))


def moved(key: str) -> str | None:
    """What to write for a key of transformers, trl, peft or the alignment handbook that stands where it has no place;
    None for one that is none of theirs."""
    if key in REFUSED:
        return REFUSED[key]
    known = key in training_arguments()
    return "of transformers.TrainingArguments: write it below args: in the stage" if known else None


def _selection_faults(args: dict[str, Any]) -> Iterator[Fault]:
    """What keeps the best of the saved steps from being found; transformers' own rules, before anything is loaded."""
    if not args.get(BEST):
        for key in ("metric_for_best_model", "greater_is_better"):
            if key in args and args.get("lr_scheduler_type") not in READ_METRIC:
                yield Fault(key, f"chooses nothing: write {BEST}: true, too, or remove it")
        if args.get("save_strategy") == "best":
            yield Fault("save_strategy", f"best needs {BEST}: true")
        return
    evaluated, saved = args.get("eval_strategy", "no"), args.get("save_strategy", "steps")
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
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        return {}
    source = Path(found.submodule_search_locations[0]) / "training_args.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            return {
                field.target.id: _types(field.annotation)
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            }
    return {}


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
