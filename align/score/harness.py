"""EleutherAI's lm-evaluation-harness (`lm_eval`) on our models: its own tasks, and ours as one of its tasks.

For those who want the standard numbers. Its prompts are not BLOOMZ's, so it does not reproduce the published tables.
It tokenises prompt and option together, moves spaces that end a prompt to the option, and cuts long prompts on the
left; ours are tokenised apart and never cut. Both agree where tokens end at the seam: options begin with the space.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BackendError, ConfigError, DataError
from ..io import write
from .classify import Choice


def write_task(rows: Sequence[Choice], folder: Path, name: str) -> Path:
    """Write rows as a task of the harness, `name.yaml` and its data, in a folder; it then asks exactly our prompts.

    Returns:
        The task's file.

    Raises:
        DataError: no rows.
    """
    if not rows:
        raise DataError(f"{name}: no rows: a task of the harness needs some")
    data, path = folder / f"{name}.jsonl", folder / f"{name}.yaml"
    # the harness divides by an option's length without the delimiter
    delimiter = " " if all(option.startswith(" ") for row in rows for option in row.options) else ""
    cut = len(delimiter)
    write(data, [row.model_copy(update={"options": [option[cut:] for option in row.options]}) for row in rows])
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "options",
        "doc_to_target": "answer",
        "target_delimiter": delimiter,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
    }
    # JSON is YAML
    path.write_text(json.dumps(task, indent=2) + "\n", encoding="utf-8")
    return path


def run_harness(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    folder: Path | None = None,
    shots: int | None = None,
    batch_size: int = 8,
    limit: int | None = None,
) -> dict[str, Any]:
    """The harness's own report: `results` by task, `samples` with the log-likelihood of each option.

    Args:
        model: a transformers model, on its device.
        tokenizer: its tokenizer.
        tasks: names of the harness's tasks, or of those in `folder`; its own ones are fetched from the hub.
        folder: where `write_task` wrote.
        shots: examples before a prompt, drawn by the harness; None leaves it to the task.
        batch_size: sequences at once.
        limit: examples a task, for a trial.

    Raises:
        BackendError: `lm_eval` is not installed.
        ConfigError: a task that the harness does not know.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise BackendError(f"lm-evaluation-harness is not here ({error}): pip install lm_eval") from None
    path = None if folder is None else str(folder)
    manager = TaskManager(include_path=path, include_defaults=False)
    if not set(tasks) <= set(manager.all_tasks):
        # its own thousands take seconds to find
        manager = TaskManager(include_path=path)
    for task in tasks:
        if task not in manager.all_tasks:
            raise ConfigError(f"{task}: no task of lm-evaluation-harness: `lm_eval ls tasks` lists them")
    device = str(getattr(model, "device", "cpu"))
    report: dict[str, Any] = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device=device),
        tasks=list(tasks),
        num_fewshot=shots,
        limit=limit,
        task_manager=manager,
        bootstrap_iters=0,
    )
    return report


def option_logprobs(report: dict[str, Any], task: str) -> list[list[float]]:
    """Log-likelihood of every option of a `run_harness` report, in the order of the task's rows."""
    samples = sorted(report["samples"][task], key=lambda sample: sample["doc_id"])
    return [[float(value) for value, _ in sample["filtered_resps"]] for sample in samples]
