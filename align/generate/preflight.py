"""Whether an endpoint can answer at all, found out before anything is paid: `GET /models` at every address.

A server need not have that list, nor name every model that it serves. Where the list says nothing for certain, the
first request goes alone, and what it meets decides.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError, ConfigError, suggest
from .client import Client
from .exchange import Outcome

SECONDS = 20.0
"""How long a list of models may take."""


@dataclass(frozen=True)
class Finding:
    """What one address said."""

    confirmed: bool = False
    """Whether it names the model."""
    known: tuple[str, ...] = ()
    """The models that it names."""
    unreached: str = ""
    """Why it cannot be reached."""


async def preflight(clients: list[Client], name: str) -> list[Finding]:
    """Look at all addresses at once.

    Args:
        clients: one an address.
        name: of the entry, for messages.

    Raises:
        ConfigError: a key is refused, or there is no such API at an address.
        BackendError: no address can be reached.
    """
    findings = await asyncio.gather(*(_look(client, name) for client in clients))
    down = [finding.unreached for finding in findings if finding.unreached]
    if len(down) == len(clients):
        where = ", ".join(client.shown for client in clients)
        raise BackendError(f"{name}: {where} cannot be reached ({down[0]}): start the server, or mend base_url")
    for client, finding in zip(clients, findings, strict=True):
        if finding.unreached:
            told = f"{name}: {client.shown} cannot be reached ({finding.unreached}): the others are asked"
            print(f"align: warning: {told}", file=sys.stderr, flush=True)
    return findings


def refused(name: str, client: Client, outcome: Outcome, known: tuple[str, ...]) -> Exception:
    """The error for a request that shows that none will be answered."""
    where, said = f"{name}: {client.shown}", f" ({outcome.detail})" if outcome.detail else ""
    model = client.entry.model
    if outcome.reason == "404":
        if known:
            return ConfigError(f"{where} has no model {model!r}: {suggest(model, known)}")
        return ConfigError(f"{where} answers 404{said}: mend `base_url`, which mostly ends in /v1, or `model`")
    if outcome.reason in ("405", "501"):
        return ConfigError(f"{where} answers {outcome.reason}{said}: it takes no questions: mend `base_url`")
    if outcome.reason in ("401", "403"):
        return ConfigError(f"{where} answers {outcome.reason}{said}: {_key_cure(client)}")
    if outcome.reason in ("402", "429"):
        return BackendError(f"{where} answers {outcome.reason}{said}: the account has no credit left: top it up")
    return ConfigError(f"{where} refuses the first request with {outcome.reason}{said}: mend the entry")


async def _look(client: Client, name: str) -> Finding:
    status, raw, lost = await client.models(SECONDS)
    if lost:
        return Finding(unreached=lost) if lost != "time-out" else Finding()
    if status == 401:
        raise ConfigError(f"{name}: {client.shown} answers 401 to the key: {_key_cure(client)}")
    if status == 200:
        names = _names(raw)
        if names is None:
            what = "a web page" if raw.lstrip()[:1] == b"<" else "no list of models"
            raise ConfigError(f"{name}: {client.shown}/models gives {what}: mend base_url, which mostly ends in /v1")
        return Finding(client.entry.model in names, names)
    return Finding()


def _names(raw: bytes) -> tuple[str, ...] | None:
    """The ids in a list of models; None where it is none."""
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    listed = value.get("data", value.get("models")) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        return None
    return tuple(str(item["id"]) for item in listed if isinstance(item, dict) and "id" in item)


def _key_cure(client: Client) -> str:
    written = client.entry.api_key
    if written is None:
        return "give the entry an `api_key: ${NAME}`"
    return f"the variable in {written} holds no key that is accepted there: set it again"
