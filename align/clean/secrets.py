"""Find keys, e-mail addresses, IP addresses and user names in text, and put BigCode's tags in their place.

Keys and tokens are known by their form: the patterns of detect-secrets, and those of a few issuers that it lacks. Its
detectors of high entropy and of words such as `password` are not used: hashes and passwords stand in exercises as test
data. Names of persons are not looked for (BigCode trained a model for them), nor handles such as `@name`, which are
decorators in code. A finding never holds the text that was found.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from ..schema import Problem

Kind = Literal["KEY", "EMAIL", "IP_ADDRESS", "USERNAME"]
"""The tags of BigCode (arXiv 2301.03988), without brackets."""

FIELDS = ("prompt", "reference", "tests", "test_setup", "test_imports", "signature", "meta")
"""What of a problem is read."""
CHECKED = ("tests", "test_setup")
"""Fields in which nothing can be replaced: the tests would ask for something else."""

WINDOW, OVERLAP = 4_000, 300
"""Longer lines are read in pieces: some patterns take quadratic time in a line."""


class Finding(NamedTuple):
    """Where something is, and what it seems to be."""

    start: int
    end: int
    kind: Kind
    detector: str


class Pattern(NamedTuple):
    """One form of a secret."""

    kind: Kind
    detector: str
    regex: re.Pattern[str]
    gates: tuple[str, ...] = ("",)
    """One of them must be in the text, in lower case: the slow patterns are tried on few."""
    holds: Callable[[re.Match[str]], bool] = lambda match: True


UNUSED = {"ArtifactoryDetector", "IPPublicDetector", "PrivateKeyDetector"}
"""The first also takes words that begin with AP; for the others there are our own, with the whole address or key."""
GATES = {
    "CloudantDetector": "cloudant",
    "IbmCloudIamDetector": "ibm",
    "IbmCosHmacDetector": "secret",
    "MailchimpDetector": "-us",
    "SoftlayerDetector": "softlayer",
    "StripeDetector": "k_live_",
    "SlackDetector": "xox",
}
"""Detector → what its secrets have in them, or close by."""
RESERVED = re.compile(r"(^|[@.])(example(\.\w+)?|test|invalid|localhost|local)$", re.IGNORECASE)
"""Domains that belong to nobody (RFC 2606)."""
SERVICES = {"git", "noreply", "no-reply", "hg", "svn"}
FOLDERS = {"user", "username", "users", "me", "you", "name", "root", "ubuntu", "shared", "public", "runner", "default"}
"""Home folders of nobody."""
RESOLVERS = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"}
"""Public name servers, which examples name."""


def _personal_address(match: re.Match[str]) -> bool:
    local, _, domain = match[0].rpartition("@")
    return local.lower() not in SERVICES and not RESERVED.search(domain)


def _public_address(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    before = match.string[max(0, match.start() - 12) : match.start()].lower()
    if address.version == 6 and len([group for group in match[0].split(":") if group]) < 3:
        # the slice in `a[::2]`
        return False
    return address.is_global and match[0] not in RESOLVERS and "version" not in before


OWN = (
    Pattern(
        "KEY",
        "Private Key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
            r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
        ("private key",),
    ),
    Pattern("KEY", "Google API Key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}"), ("aiza",)),
    Pattern("KEY", "Hugging Face Token", re.compile(r"\bhf_[A-Za-z]{34}\b"), ("hf_",)),
    Pattern("KEY", "Anthropic Key", re.compile(r"\bsk-ant-[A-Za-z0-9_-]{80,}"), ("sk-ant-",)),
    Pattern("KEY", "OpenAI Key", re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9]{48}\b"), ("sk-",)),
    Pattern("KEY", "GitHub Fine-grained Token", re.compile(r"\bgithub_pat_[0-9A-Za-z_]{82}"), ("github_pat_",)),
    Pattern("KEY", "npm Token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"), ("npm_",)),
    Pattern(
        "EMAIL",
        "e-mail address",
        # a call after it is a matrix product: `weights@x.mean()`
        re.compile(r"(?<![\w.+%-])[\w.+%-]{2,64}@(?>(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b(?!\()"),
        ("@",),
        _personal_address,
    ),
    Pattern(
        "IP_ADDRESS", "IP address", re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)"), holds=_public_address
    ),
    Pattern(
        "IP_ADDRESS",
        "IP address",
        re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:.]*\w)"),
        (":",),
        _public_address,
    ),
    Pattern(
        "USERNAME",
        "home folder",
        re.compile(r"(?<=/home/)[\w.-]{2,32}|(?<=/Users/)[\w.-]{2,32}|(?<=\\Users\\)[\w.-]{2,32}"),
        ("/home/", "/users/", "\\users\\"),
        holds=lambda match: match[0].lower() not in FOLDERS,
    ),
)


def find(text: str) -> list[Finding]:
    """What is in a text, in order, none inside another."""
    lower = text.lower()
    found = []
    patterns = [pattern for pattern in _patterns() if any(gate in lower for gate in pattern.gates)]
    for start, window in _windows(text):
        for pattern in patterns:
            found += [
                Finding(start + match.start(), start + match.end(), pattern.kind, pattern.detector)
                for match in pattern.regex.finditer(window)
                if pattern.holds(match)
            ]
    return _apart(found)


def replace(text: str) -> str:
    """The text with tags in the place of what is found: `<KEY>`, `<EMAIL>`, `<IP_ADDRESS>`, `<USERNAME>`."""
    parts, end = [], 0
    for finding in find(text):
        parts += [text[end : finding.start], f"<{finding.kind}>"]
        end = finding.end
    return "".join([*parts, text[end:]])


def search(problem: Problem) -> dict[str, str]:
    """Field of a problem → the first thing found in it, in words that do not repeat it."""
    found: dict[str, str] = {}
    if not find("\n\n".join(text for field in FIELDS for text in _texts(getattr(problem, field)))):
        # one search of all is cheaper than one of each
        return found
    for field in FIELDS:
        for text in _texts(getattr(problem, field)):
            if findings := find(text):
                line = text.count("\n", 0, findings[0].start) + 1
                found[field] = f"{findings[0].detector} in line {line} of {field}"
                break
    return found


def redacted(problem: Problem) -> Problem:
    """The problem with tags in all its fields; another prompt gives it another id."""
    record = problem.model_dump()
    changed = {field: _replaced(record[field]) for field in FIELDS}
    return Problem.model_validate({**record, **changed, "id": ""})


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, Mapping):
        return {key: _replaced(item) for key, item in value.items()}
    return [_replaced(item) for item in value] if isinstance(value, list) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(getattr(item, "content", item))


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """The text with its place, in pieces that overlap where a line is too long."""
    if len(text) <= WINDOW or max(map(len, text.split("\n"))) <= WINDOW:
        yield 0, text
        return
    for start in range(0, len(text), WINDOW - OVERLAP):
        yield start, text[start : start + WINDOW]


def _apart(found: list[Finding]) -> list[Finding]:
    """Ordered; what overlaps is one finding, under the name of the longest."""
    apart: list[Finding] = []
    for finding in sorted(found, key=lambda one: (one.start, -one.end)):
        if apart and finding.start < apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(apart[-1].end, finding.end))
        else:
            apart.append(finding)
    return apart


@cache
def _patterns() -> tuple[Pattern, ...]:
    # here and not above: it takes a seventh of a second to import
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    kinds: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    kept = [
        Pattern("KEY", str(kind.secret_type), regex, (GATES.get(kind.__name__, ""),))
        for kind in kinds
        if issubclass(kind, RegexBasedDetector) and kind.__name__ not in UNUSED
        for regex in kind().denylist
    ]
    return (*OWN, *kept)
