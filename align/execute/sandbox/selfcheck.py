"""Can this machine give an isolation level? Enter it, fork, lock, and try what must be refused. Prints JSON.

Run as `python -s -P -S -B -m sandbox.selfcheck LEVEL`, in an interpreter of its own. Judges no program.
"""

import json
import os
import socket
import sys
from collections.abc import Callable

from . import jail

MEMORY_BYTES = 1 << 30
_FORBIDDEN: dict[str, Callable[[], object]] = {
    "read /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "make a socket": lambda: socket.socket(socket.AF_INET),
    "write outside its folder": lambda: os.open("/tmp/align-selfcheck", os.O_CREAT | os.O_WRONLY),
    "start a process": os.fork,
}


def main(level: jail.Level) -> dict[str, object]:
    """What stands in the way: `failed` in words and the error's number, or nothing."""
    try:
        jail.enter(jail.Place(level))
        return _from_child(level)
    except jail.JailError as error:
        return {"failed": str(error), "errno": error.errno}
    except OSError as error:
        return {"failed": f"{error.filename}: {error.strerror}", "errno": error.errno}


def _from_child(level: jail.Level) -> dict[str, object]:
    reader, writer = os.pipe()
    jail.adopt()
    pid = jail.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(_locked(level)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    told = os.read(reader, 4096)
    os.waitpid(pid, 0)
    answer: dict[str, object] = json.loads(told or '{"failed": "a locked process died", "errno": null}')
    return answer


def _locked(level: jail.Level) -> dict[str, object]:
    try:
        jail.lock("candidate", MEMORY_BYTES, 2)
    except OSError as error:
        return {"failed": f"{error.filename or 'setrlimit'}: {error.strerror}", "errno": error.errno}
    for what, attempt in _FORBIDDEN.items() if level != "none" else ():
        try:
            attempt()
        except OSError:
            continue
        return {"failed": f"a locked process could {what}", "errno": None}
    return {}


if __name__ == "__main__":
    report = main(sys.argv[1])  # type: ignore[arg-type]
    print(json.dumps(report), flush=True)
