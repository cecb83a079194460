"""GPTQ (Frantar et al. 2023, arXiv 2210.17323) by gptqmodel, in a process of its own (extra `[gptq]`).

The library changes transformers at its import, prints at length, and keeps what it used of memory: none of this is for
the process of a run. What it prints is kept beside the form until the form is whole.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import BackendError

JOB, LOG = ".gptq.json", ".gptq.log"
SHORTEST = 16
"""Tokens of a text below which the library leaves it out."""


def convert(model: Path, out: Path, bits: int, group_size: int, texts: Sequence[str]) -> None:
    """Write the form.

    Args:
        model: the whole weights' folder.
        out: an empty folder.
        bits: of a weight.
        group_size: weights that share a scale.
        texts: what rounding is measured on.

    Raises:
        BackendError: the library gave up, with its last line.
    """
    job = {"model": str(model), "out": str(out), "bits": bits, "group_size": group_size, "texts": list(texts)}
    (out / JOB).write_text(json.dumps(job), encoding="utf-8")
    # with fewer the library's own pools of threads refuse to start
    environ = os.environ | {"GPTQMODEL_CPU_WORKERS": os.environ.get("GPTQMODEL_CPU_WORKERS", "2")}
    with open(out / LOG, "wb") as log:
        ended = subprocess.run(
            [sys.executable, "-m", "align.export.gptq", str(out / JOB)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
            check=False,
        )
    told = (out / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if ended.returncode != 0 or not any(out.glob("*.safetensors")):
        reason = told[-1].strip() if told else f"exit {ended.returncode}"
        raise BackendError(f"{model}: GPTQ in {bits} bits: gptqmodel gave up ({reason[:200]})")
    (out / JOB).unlink()
    (out / LOG).unlink()


def main(path: str) -> None:
    """The other process: do the job of a file."""
    from gptqmodel import GPTQModel, QuantizeConfig  # type: ignore[import-not-found, import-untyped, unused-ignore]

    job = json.loads(Path(path).read_text(encoding="utf-8"))
    config = QuantizeConfig(bits=job["bits"], group_size=job["group_size"], desc_act=False)
    model = GPTQModel.load(job["model"], config)
    model.quantize(job["texts"], batch_size=1)
    model.save(job["out"])


if __name__ == "__main__":
    main(sys.argv[1])
