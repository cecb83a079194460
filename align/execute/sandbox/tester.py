"""The process that holds a problem's tests: it asks for runs of each candidate, and says what the tests showed.

It never runs a candidate's code; what it knows of one is what its calls returned. Facts go straight to the
supervisor, over a socket that no candidate ever inherits. One tester serves all candidates of one problem.
"""

import json
import os
import socket
from typing import Any, NoReturn, Protocol

from .asserts import Asserts
from .cases import Calls, Outputs
from .channel import send
from .desk import Desk, Files, Unusable, WardenGone
from .matrix import Matrix
from .memory import content
from .suites import Suites


class Judge(Protocol):
    """Tests, ready for one candidate after another."""

    def judge(self) -> dict[str, Any]:
        """The facts about the present candidate.

        Raises:
            Unusable: the tests cannot be run.
        """


KINDS: dict[str, type[Asserts] | type[Calls] | type[Matrix] | type[Outputs] | type[Suites]] = {
    "asserts": Asserts,
    "check": Asserts,
    "calls": Calls,
    "cases": Matrix,
    "io": Outputs,
    "unittest": Suites,
}


def run(channel: socket.socket, verdicts: socket.socket, checks: int, files: Files) -> NoReturn:
    """Serve candidates until the zygote has no more, and end this process."""
    try:
        desk = Desk(channel, files)
        job = json.loads(content(checks))
        os.close(checks)
        judge: Judge | None = None
        while (index := desk.next()) is not None:
            try:
                judge = judge or KINDS[job["kind"]](job, desk)
                facts = judge.judge()
            except Unusable as error:
                facts = {"tests_error": str(error)}
            desk.done(send(verdicts, {"candidate": index, **facts}))
    except WardenGone:
        pass  # there is nobody left to judge for
    finally:
        os._exit(0)
