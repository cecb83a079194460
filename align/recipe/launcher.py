"""The process between a run and its ranks: accelerate's launcher, which tells in a file how its ranks have ended.

    python -m align.recipe.launcher REPORT [options of accelerate launch] -m align run RECIPE …

Starts nothing itself; what the ranks do is in `run`.
"""

import importlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..io import write_json
from .peers import PEER_GONE

TERMINATED = 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Launch; returns 0, 143 after a SIGTERM that the ranks ended by, else 1."""
    # this process alone needs them: the run that starts it loads no torch
    accelerate = importlib.import_module("accelerate.commands.launch")
    elastic = importlib.import_module("torch.distributed.elastic.multiprocessing")
    ChildFailedError = importlib.import_module(f"{elastic.__name__}.errors").ChildFailedError

    report, *options = sys.argv[1:] if argv is None else argv
    arguments = accelerate.launch_command_parser().parse_args(options)
    try:
        # torch would leave a folder of its own behind
        with tempfile.TemporaryDirectory(prefix="align-launch-") as folder:
            arguments.log_dir = arguments.log_dir or folder
            accelerate.launch_command(arguments)
    except elastic.SignalException as error:
        return int(128 + error.sigval)
    except ChildFailedError as error:
        found = cause({rank: failure.exitcode for rank, failure in error.failures.items()})
        write_json(Path(report), found)
        return TERMINATED if found["code"] in (TERMINATED, -signal.SIGTERM) else 1
    except (ValueError, OSError, ImportError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(f"align: {ConfigError(f'launch: {said}')}", file=sys.stderr)
        return 2
    return 0


def cause(codes: dict[int, int]) -> dict[str, Any]:
    """The rank whose end made the others end, and its exit code; of several the lowest.

    Args:
        codes: rank → exit code, -N for signal N, of those that had failed when the launcher looked.
    """
    # first what came from outside, then errors, then those that only lost a peer or were told to end
    order = sorted(codes, key=lambda rank: (_turn(codes[rank]), rank))
    return {"rank": order[0], "code": codes[order[0]]}


def _turn(code: int) -> int:
    if code in (PEER_GONE, TERMINATED, -signal.SIGTERM):
        return 2
    return 0 if code < 0 else 1


if __name__ == "__main__":
    sys.exit(main())
