"""What the launcher does to weights, and which ways of training stand it. Torch-free; reads what accelerate sets."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError
from .chain import quantised_by
from .entry import Weights


class Launcher(NamedTuple):
    """How weights are cut over processes."""

    fsdp: int = 0
    """FSDP's version; 0 without it."""
    zero_stage: int = 0
    """Of DeepSpeed; 0 without it."""


def launcher(environ: Mapping[str, str] = os.environ) -> Launcher:
    """What `accelerate launch` says in the environment of its processes.

    Args:
        environ: their variables.
    """
    fsdp = _true(environ.get("ACCELERATE_USE_FSDP")) and int(environ.get("FSDP_VERSION") or 1)
    stage = 0
    if _true(environ.get("ACCELERATE_USE_DEEPSPEED")):
        stage = _stage_of_file(environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE")) or int(
            environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") or 2
        )
    return Launcher(int(fsdp), stage)


def local_rank(environ: Mapping[str, str] = os.environ) -> int:
    """The number of this process on its machine."""
    return int(environ.get("LOCAL_RANK") or 0)


def check_trainable(entry: Weights, *, adapters: bool, over: Launcher | None = None) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Args:
        entry: the weights; for a chain of adapters those of its root, with its quantisation.
        adapters: whether adapters are trained.
        over: the launcher; None: that of this process.

    Raises:
        ConfigError: with what to write instead.
    """
    name, over = entry.model_name_or_path, launcher() if over is None else over
    if entry.dtype == "float16":
        raise ConfigError(f"{name}: dtype float16 overflows in training: write bfloat16 or float32")
    if not adapters and quantised_by(Path(name)) == "gptq":
        raise ConfigError(f"{name}: weights of GPTQ cannot be trained: add a `lora:` section")
    if not entry.is_quantised:
        return
    bits = 4 if entry.load_in_4bit else 8
    if not adapters:
        raise ConfigError(f"{name}: weights in {bits} bits cannot be trained: add a `lora:` section")
    if over.zero_stage == 3:
        raise ConfigError(
            f"{name}: load_in_{bits}bit: DeepSpeed's ZeRO-3 cuts weights that bitsandbytes cannot put together: "
            "use zero2.yaml, ddp.yaml or fsdp2.yaml, or leave the quantisation out"
        )
    if not over.fsdp:
        return
    if bits == 8:
        raise ConfigError(f"{name}: load_in_8bit: not under FSDP, which loses its scales: use ddp.yaml or load_in_4bit")
    if entry.bnb_4bit_quant_storage != entry.dtype:
        raise ConfigError(
            f"{name}: bnb_4bit_quant_storage: {entry.bnb_4bit_quant_storage}: FSDP shards 4-bit weights only in the "
            f"type of the others, and dtype is {entry.dtype}: write dtype: bfloat16, bnb_4bit_quant_storage: bfloat16"
        )


def _stage_of_file(path: str | None) -> int:
    """The stage in a DeepSpeed configuration; 0 where there is none."""
    if not path or path == "none" or not Path(path).is_file():
        return 0
    try:
        stage = json.loads(Path(path).read_text(encoding="utf-8"))["zero_optimization"]["stage"]
    except (ValueError, KeyError, TypeError):
        return 0  # DeepSpeed itself tells what is wrong with its file
    return stage if isinstance(stage, int) else 0


def _true(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes")
