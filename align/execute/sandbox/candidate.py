"""The process that holds a program: load it, and give back what its calls return. It knows no tests and judges nothing.

Nothing here needs to be kept from the program: whatever it writes in our place is only what its calls returned. Every
page of memory that is touched here is paid for by every program, so that little is done, with few modules.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from . import codec, jail, limited, remote
from .memory import content, fill

PROGRAM = "<program>"
GIVEN, STDOUT, STDERR, ANSWERS, SOURCE, HANDOFF = range(6)
"""Descriptors that a candidate is born with: its calls, or its stdin; what it prints; a line an answer; its own text;
and the socket over which an interactive one gets the descriptor of its tester."""
BATCH, INTERACTIVE, MAIN = "batch", "interactive", "main"
"""How a program is run: on calls known beforehand, on one call after another, or as a whole with stdin and stdout."""
UNCOMPILABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
_FRAMES = 4
"""Of the program's own, that are shown where it raises."""

_REHEARSALS = 20
_REHEARSED = '''
from typing import Any, List
import math


class Pair:
    """Two things."""

    def __init__(self, first, second=0, *rest, **named):
        self.first, self.second = first, second


def f(values: List[Any], sign: float = 1.5) -> Any:
    """What it was given."""
    total, found = 0, {}
    for index, value in enumerate(values):
        if isinstance(value, (int, float)) and value != math.inf:
            total += abs(value) % 7 * sign
        elif value not in found:
            found[str(value)] = [item for item in sorted(range(index)) if item % 2 == 0]
    while total > 3:
        total -= 1
    try:
        text = f"{total:.3f}".split(".") + list(map(str, found))
    except (KeyError, ValueError):
        raise
    return values if (lambda pair: pair.first)(Pair(len(text))) is not None else None
'''

Say = Callable[[bytes], None]
_me = 0
"""This process."""


def command(mode: str, memory_bytes: int, cpu_seconds: float) -> bytes:
    """The order to run a program, which the kernel ends a while after it used up its CPU time."""
    return b"%s %d %d" % (mode.encode(), memory_bytes, math.ceil(cpu_seconds) + 1)


def source_file(before: str, source: str, after: str = "") -> bytes:
    """What SOURCE holds: a program, and what runs before and after it in its process."""
    first, second, third = (text.encode("utf-8", "surrogatepass") for text in (before, source, after))
    return b"%d %d\n%s%s%s" % (len(first), len(second), first, second, third)


def run(order: bytes) -> None:
    """Run the program in this process, which is to end then.

    Args:
        order: a `command`. Everything else lies at the descriptors above.
    """
    global _me
    _me = os.getpid()
    mode, memory_bytes, cpu_seconds = order.split()
    line = _handed() if mode == b"interactive" else None
    os.close(HANDOFF)
    jail.lock("candidate", int(memory_bytes), int(cpu_seconds))
    if line is not None:
        _converse(line)
    elif mode == b"main":
        _main()
    else:
        _batch()


def rehearsals() -> Iterator[None]:
    """Time and again, have a program to run in the files of a candidate, which are the zygote's own then."""
    fill(SOURCE, source_file("", _REHEARSED))
    calls = [codec.dumps(["f", [value], {}]) for value in ([1, 2.5], "text", {"key": [True, None]}, (1, 2), 3)]
    fill(GIVEN, b"\n".join(calls))
    for _ in range(_REHEARSALS):
        os.dup2(GIVEN, HANDOFF)
        yield
        del sys.modules["program"]


def _handed() -> remote.Line:
    import _socket

    handoff = _socket.socket(fileno=HANDOFF)
    _, messages, _, _ = handoff.recvmsg(1, _socket.CMSG_LEN(4))
    handoff.detach()
    return remote.Line(int.from_bytes(messages[0][2], sys.byteorder))


def _converse(line: remote.Line) -> None:
    if (space := _load(line.send)) is not None:
        remote.serve(line, space)


def _batch() -> None:
    # its stdin is the same file, and has been read then
    calls = content(GIVEN)
    space = _load(_write)
    if space is None:
        return
    lines = calls.splitlines()
    if calls.startswith(limited.WORD):
        limited.answer(lines, space, _write, _tell)
        return
    told = False
    for call in lines:
        try:
            name, args, keywords = codec.loads(call, lambda token: remote.resolve(space, token[1]))
            line = codec.dumps(["value", remote.resolve(space, name)(*args, **keywords)])
        except BaseException as error:
            line = codec.dumps(["error", codec.describe_error(error)])
            if not told:
                told = True
                _tell(error)
        _write(line)


def _main() -> None:
    try:
        if _load(_write, "__main__") is None:
            return
    finally:
        _finish()
    _write(b'["ended"]')


def _finish() -> None:
    """What the interpreter does at its end: programs may write their output in a thread or an exit function."""
    import atexit

    if threading := sys.modules.get("threading"):
        threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()


def _load(say: Say, name: str = "program") -> dict[str, Any] | None:
    """The program's namespace; None, and said why, where it does not load. Leaving with 0 is an end, as any other."""
    before, source, after = _texts()
    module = ModuleType(name)
    sys.modules[name] = module
    space = module.__dict__
    try:
        code = compile(source, PROGRAM, "exec", dont_inherit=True)
    except UNCOMPILABLE as error:
        # first: a tester that listens ends this process when it has heard
        _tell(error)
        say(codec.dumps(["compile_error", codec.describe_error(error)]))
        return None
    try:
        if before:
            exec(compile(before, "<before>", "exec", dont_inherit=True), space)
        exec(code, space)
        if after:
            exec(compile(after, "<after>", "exec", dont_inherit=True), space)
    except BaseException as error:
        if name != "__main__" or not (isinstance(error, SystemExit) and error.code in (None, 0)):
            _tell(error)
            say(codec.dumps(["load_error", codec.describe_error(error)]))
            return None
    say(b'["loaded"]')
    return space


def _texts() -> list[str]:
    """What runs before the program, the program, and what runs after it."""
    sizes, _, texts = content(SOURCE).partition(b"\n")
    first, second = map(int, sizes.split())
    parts = texts[:first], texts[first : first + second], texts[first + second :]
    return [part.decode("utf-8", "surrogatepass") for part in parts]


def _write(line: bytes) -> None:
    if os.getpid() != _me:
        # where programs may fork, a copy of one answers nothing
        os._exit(0)
    os.write(ANSWERS, line + b"\n")


def _tell(error: BaseException) -> None:
    """Show the first exception on stderr, with the program's own lines."""
    lines = _texts()[1].splitlines()
    shown = []
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == PROGRAM:
            number = step.tb_lineno
            text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
            shown.append(f"line {number}, in {step.tb_frame.f_code.co_name}: {text[:200]}\n")
        step = step.tb_next
    message = codec.describe_error(error)[1]
    text = "".join(shown[-_FRAMES:]) + f"{type(error).__name__}: {message}\n"
    try:
        os.write(STDERR, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # stderr is full or closed: the answer itself says what was raised
