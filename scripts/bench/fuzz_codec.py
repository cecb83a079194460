"""Feed the codec's readers what atheris comes up with; anything but a value or `CodecError` is a finding.

    python scripts/bench/fuzz_codec.py --seconds 60

Covers `loads` (with and without tokens), `rebuild_error`, and that what was read can be written and read again. Needs
`pip install atheris`. Does not cover the protocol around the codec.
"""

import argparse
import contextlib
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType

EXECUTE = Path(__file__).resolve().parents[2] / "align" / "execute"
MISSING = 2
SEEDS = [
    [1, -2.5, None, True, "é", "\ud800", {"a": [1]}, {1: (2,)}, 2**80],
    ({1, 2}, frozenset("a"), b"abc", bytearray(3), 1j, range(3), slice(1, 2), ..., int),
    (deque([1], 2), iter([1]), {}.keys(), {1: 2}.items(), {1: 2}.values()),
    (datetime(2026, 1, 2, tzinfo=UTC), timedelta(1), Decimal("1.5"), Fraction(1, 3)),
]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; atheris ends the process itself, with 0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="fuzz_codec", description="Fuzz the reader of what candidates send.")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    seconds = parser.parse_args(argv).seconds
    try:
        import atheris
    except ImportError:
        print("fuzz_codec: atheris is not installed: pip install atheris", file=sys.stderr)
        return MISSING
    # the package is read as the sandbox reads it: without the rest of align
    sys.path.insert(0, str(EXECUTE))
    with atheris.instrument_imports(include=["sandbox", "json"]):
        from sandbox import codec
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(Path(folder), codec)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=5"]
        atheris.Setup([sys.argv[0], *options, folder], lambda data: once(codec, data))
        atheris.Fuzz()
    return 0


def write_seeds(folder: Path, codec: ModuleType) -> None:
    """Encodings to start from, one a file."""
    described = codec.describe_error(OSError(2, "no", "file"))
    for number, seed in enumerate([*SEEDS, described]):
        (folder / str(number)).write_bytes(codec.dumps(seed))
    (folder / "array").write_bytes(b'{"$nd":["<i8","AAAAAAAAAAE=",1]}')
    (folder / "token").write_bytes(b'[{"$r":["x",1]},{"$ns":["<f4","AAAAAA=="]}]')


def once(codec: ModuleType, data: bytes) -> None:
    """One input: whatever gets out of here is a finding."""
    with contextlib.suppress(codec.CodecError):
        codec.loads(data)
    try:
        value = codec.loads(data, lambda token: codec.Opaque("token"))
    except codec.CodecError:
        return
    # it may have grown beyond the cap, as tokens and base64 do
    with contextlib.suppress(codec.CodecError):
        codec.loads(codec.dumps(value))
    with contextlib.suppress(codec.CodecError):
        error = codec.rebuild_error(value)
        show(error)


def show(error: Exception) -> None:
    """Print it, as the tester does; an int too long for decimal text is the one thing that may not be printed."""
    with contextlib.suppress(ValueError):
        repr(error), str(error)


if __name__ == "__main__":
    sys.exit(main())
