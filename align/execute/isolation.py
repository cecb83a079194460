"""Which isolation level programs get, and why. Levels A and B are named here and not built yet."""

import os
import sys
from typing import Literal

from ..errors import BackendError, ConfigError, suggest
from ..schema import Isolation

Requested = Literal["auto", "A", "B", "none"]
LEVELS: tuple[Requested, ...] = ("auto", "A", "B", "none")
VARIABLE = "ALIGN_ISOLATION"
CURE = f"say `none` (--isolation none, isolation: none, or {VARIABLE}=none)"

_warned = False


def isolation_level(requested: str = "auto") -> Isolation:
    """The level that programs run under; the environment's ALIGN_ISOLATION decides what `auto` means.

    Raises:
        ConfigError: no such level.
        BackendError: this machine, or this version, cannot give it.
    """
    wanted = _wanted(requested)
    if wanted in ("A", "B"):
        raise BackendError(f"isolation {wanted} is not built yet: to run programs under your own user, {CURE}")
    if lack := _lacking():
        raise BackendError(f"programs cannot be run here: {lack}; run them on Linux 5.4 or later")
    return "none"


def why() -> str:
    """Why the level is what it is, in one line."""
    return (
        f"programs run under your user, with resource limits only; the sandbox is not built yet; to accept that, {CURE}"
    )


def warn_once(requested: str) -> None:
    """Say once a process that nobody asked for so little isolation."""
    global _warned
    if _wanted(requested) == "auto" and not _warned:
        _warned = True
        print(f"align: warning: {why()}", file=sys.stderr, flush=True)


def _wanted(requested: str) -> str:
    wanted = os.environ.get(VARIABLE, "auto") if requested == "auto" else requested
    if wanted not in LEVELS:
        place = VARIABLE if requested == "auto" else "isolation"
        raise ConfigError(f"{place}: no level {wanted!r}: {suggest(wanted, LEVELS)}")
    return wanted


def _lacking() -> str | None:
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} is not Linux"
    for call in ("fork", "pidfd_open", "memfd_create"):
        if not hasattr(os, call):
            return f"this Python has no os.{call}"
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return "the kernel does not list a process's children under /proc"
    return None
