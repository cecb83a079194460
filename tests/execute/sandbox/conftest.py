"""Snippets in a jailed process of a bare interpreter, forked and locked as the zygote does it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import align.execute

PACKAGE = Path(align.execute.__file__).parent
ZYGOTE = """
import json, os, sys
from sandbox import jail, warden
level, shown, role, snippets = json.loads(sys.stdin.read())
sys.path += sorted({os.path.dirname(path) for path in shown})
for path in shown:
    __import__(os.path.basename(path).partition(".")[0])
jail.enter(jail.Place(level, tuple(shown)))
warden.move_imports(shown)
sys.path += [os.path.dirname(jail.where(path)) for path in shown]
reader, writer = os.pipe()
statuses = []
if role == "candidate":
    jail.adopt()
for snippet in snippets:
    pid = jail.fork()
    if pid == 0:
        try:
            if role == "tester":
                jail.limit(role)
            jail.lock(role, 1 << 30, 2)
            space = {"result": None}
            try:
                exec(snippet, space)
                answer = repr(space["result"])
            except BaseException as error:
                answer = type(error).__name__
            os.write(writer, json.dumps(answer).encode() + b"\\n")
        finally:
            os._exit(0)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.close(writer)
print(json.dumps([statuses, [json.loads(line) for line in os.fdopen(reader)]]))
"""

Jailed = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def jailed() -> Jailed:
    """Run snippets, each in a process of its own: the name of what it raised, the repr of its `result`, or -signal."""

    def run(
        level: str, *snippets: str, shown: tuple[str, ...] = (), role: str = "candidate", command: tuple[str, ...] = ()
    ) -> list[Any]:
        ran = subprocess.run(
            [*(command or (sys.executable, "-P")), "-s", "-S", "-c", ZYGOTE],
            input=json.dumps([level, shown, role, snippets]),
            env={"PYTHONPATH": os.environ.get("JAILED_PACKAGE", str(PACKAGE)), "OPENBLAS_NUM_THREADS": "1"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        statuses, told = json.loads(ran.stdout)
        answers = iter(told)
        return [status or next(answers) for status in statuses]

    return run
