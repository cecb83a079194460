"""Evol-Instruct's first rule: does a problem ask for more than its parent? A model is asked, its word is read strictly.

An answer that is no plain verdict is counted as one that could not be had, and never guessed at.
"""

import re
from typing import Literal

from ..generate.ask import Prompts, derive_seed
from ..generate.request import Reply, Request, Sampling
from .eliminate import Fault

Verdict = Literal["equal", "different"]
_LINE = re.compile(
    r"(?:(?:my |your |the )?(?:verdict|judge?ment|answer)\s*(?:is\s*)?:?\s*)?(not equal|equal|different)", re.IGNORECASE
)


def request_comparison(parent: str, evolved: str, prompts: Prompts, sampling: Sampling, seed: int) -> Request:
    """The question whether two problems ask for the same."""
    fields = {"problem": parent, "evolved": evolved}
    greedy = sampling.model_copy(update={"temperature": 0.0, "top_p": 1.0})
    return prompts.ask("compare", fields, greedy, derive_seed("compare", seed, parent, evolved))


def read_verdict(text: str) -> Verdict | None:
    """The verdict: the whole answer, or its last line where no other line is one that differs. None otherwise."""
    lines = [line.strip(" \t*_`#>\"'.!") for line in text.strip().splitlines()]
    found = [_LINE.fullmatch(line) for line in lines if line]
    verdicts = {"equal" if match[1].lower() == "equal" else "different" for match in found if match}
    if not found or found[-1] is None or len(verdicts) != 1:
        return None
    return "equal" if "equal" in verdicts else "different"


def judged(reply: Reply) -> Fault | None:
    """The fault that a judge's answer tells: no gain, or no verdict; None where the problem asks for something else."""
    if reply.finish != "stop":
        return Fault("unjudged", reply.error or f"the judge's answer ended by {reply.finish}")
    verdict = read_verdict(reply.text)
    if verdict is None:
        return Fault("unjudged", f"no verdict: {reply.text.strip()[-80:]!r}")
    return Fault("no_gain", f"the judge: {verdict}") if verdict == "equal" else None
