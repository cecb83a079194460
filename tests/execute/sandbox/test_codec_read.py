"""Whatever bytes a candidate sends give a value or `CodecError`, in bounded memory and time."""

import collections
import contextlib
import datetime
import json
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from align.execute.sandbox import codec_read
from align.execute.sandbox.codec import CodecError, Opaque, dumps, loads

SANDBOX = Path(codec_read.__file__).parent
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC)
SAMPLES = list(
    map(
        dumps,
        [
            [1, -2.5, None, True, "é", "\ud800", {"a": [1]}, {1: (2,)}, 2**80],
            ({1, 2}, frozenset("a"), b"abc", bytearray(3), 1j, range(3), slice(1, 2), ..., int),
            (
                collections.deque([1], 2),
                collections.OrderedDict(a=1),
                collections.Counter("aab"),
                Opaque("Foo"),
                iter([1]),
            ),
            (NOW, NOW.date(), NOW.timetz(), datetime.timedelta(1), Decimal("1.5"), Fraction(1, 3)),
            (np.arange(4).reshape(2, 2), np.float32(1.5), np.array(["a"])),
            ({}.keys(), {1: 2}.items(), {1: 2}.values()),
        ],
    )
)
TAGS = st.sampled_from([*codec_read._READERS, "$r", "$zz", "a"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TAGS, inner, max_size=1),
    max_leaves=10,
)


def reads_or_refuses(data):
    with contextlib.suppress(CodecError):
        loads(data)


@given(st.binary())
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_give_a_value_or_the_codecs_error(data):
    reads_or_refuses(data)


@given(JSON)
@settings(max_examples=100, deadline=None)
@example({"$nd": ["<f8", "", -1]})
@example({"$nd": ["|S0", "", 10**18]})
@example({"$nd": ["O", "AAAAAAAAAAA=", 1]})
@example({"$ns": ["<i8,<f8", "AAAAAAAAAAA="]})
@example({"$t": {"$it": [1]}})
def test_arbitrary_tags_give_a_value_or_the_codecs_error(value):
    reads_or_refuses(json.dumps(value).encode())


@given(st.sampled_from(SAMPLES), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_damaged_encodings_give_a_value_or_the_codecs_error(encoded, chance: random.Random):
    data = bytearray(encoded)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        data[place : place + chance.randint(0, 3)] = bytes(
            chance.choices(b'[]{},:"$0123456789-.eE\\utdsfrc\xff', k=chance.randint(0, 3))
        )
    reads_or_refuses(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1 2",
        b"[1,]",
        b'{"$zz":1}',
        b'{"$t":5}',
        b'{"$s":[[]]}',
        b'{"$d":[1]}',
        b'{"$d":[[],1]}',
        b'{"$fr":[1,0]}',
        b'{"$fr":[1.0,2]}',
        b'{"$fr":[true,2]}',
        b'{"$timedelta":[999999999999,0,0]}',
        b'{"$date":[0,1,1]}',
        b'{"$c":[1,2]}',
        b'{"$range":[0,1,0]}',
        b'{"$i":"zz"}',
        b'{"$b":"a"}',
        b'{"$u":"ff"}',
        b'{"$deque":[-1]}',
        b'{"$type":"eval"}',
        b'{"$x":"quit"}',
        b'{"$dec":"x"}',
        b'{"$nd":["|V8","AAAAAAAAAAA=",1]}',
        b'{"$nd":["<f8","AAAAAAAAAAA=",2]}',
        b'{"$nd":["<f8","",-1]}',
        b"9" * 5000,
        b"[" * 500 + b"]" * 500,
        b'"\xc3\xa9"',
    ],
)
def test_malformed_data_is_refused(data):
    with pytest.raises(CodecError):
        loads(data)


BOMBS = """
import resource, sys, time
from sandbox.codec import CodecError, dumps, loads
import numpy
M = 8 << 20
hashed = lambda tag: b'{"%s":[' % tag + b",".join(b"%d" % (k * (2**61 - 1)) for k in range(1, 40)) + b"]}"
bombs = {
    "deep lists, closed": b"[" * (M // 2) + b"]" * (M // 2),
    "deep objects": b'{"a":' * (M // 5),
    "deep tags": b'{"$t":[' * (M // 9) + b"]}" * (M // 9),
    "empty lists": b"[" + b"[]," * (M // 3 - 1) + b"[]]",
    "most objects": b"[" + b"{}," * 199_000 + b"{}]",
    "most deques": b"[" + b'{"$deque":[0]},' * 166_000 + b"0]",
    "most counters": b"[" + b'{"$counter":[1,1]},' * 142_000 + b"0]",
    "open string of quotes": b'[1,"' + b'\\\\"' * (M // 2 - 4),
    "brackets and quotes": b'[{"' * (M // 3),
    "digits": b"9" * M,
    "many long ints": b"[" + b",".join([b"9" * 4299] * 1900) + b"]",
    "exponent": b"1e" + b"9" * (M - 2),
    "hexadecimal": b'{"$i":"' + b"f" * (M - 20) + b'"}',
    "fraction": b'{"$fr":[{"$i":"' + b"f" * (M // 2 - 40) + b'"},{"$i":"' + b"e" * (M // 2 - 40) + b'"}]}',
    "fractions": b"[" + b",".join([b'{"$fr":[{"$i":"1%s"},{"$i":"1%s"}]}' % (b"7" * 8000, b"b" * 8000)] * 500) + b"]",
    "decimal": b'{"$s":[{"$dec":"' + b"7" * (M - 40) + b'"}]}',
    "decimal exponent": b'{"$s":[{"$dec":"1e999999999999999999"}]}',
    "colliding ints": b'{"$s":[' + b",".join(b"%d" % (k * (2**61 - 1)) for k in range(330_000)) + b"]}",
    "colliding keys": b'{"$d":[' + b",".join(b"%d,0" % (k * (2**61 - 1)) for k in range(300_000)) + b"]}",
    "huge shape": b'{"$nd":["<f8","",1000000000000,1000000000000]}',
    "empty huge shape": b'{"$nd":["<f8","",0,999999999999]}',
    "ranges": b"[" + b'{"$range":[0,{"$i":"%s"},1]},' % (b"f" * 30) * 100_000 + b"0]",
    "timedelta": b'{"$timedelta":[%s,0,0]}' % (b"9" * 4000),
    "deque length": b'{"$deque":[%d]}' % 10**17,
    "base64": b'{"$b":"' + b"=" * (M - 20) + b'"}',
    "escapes": b'"' + b"\\\\ud83d\\\\ude00" * (M // 12 - 1) + b'"',
    "spaces": b" " * M,
    "long tag": b'{"$' + b"x" * (M - 20) + b'":1}',
    "too long": b" " * (M + 1),
}
for name, bomb in bombs.items():
    before = time.process_time()
    try:
        loads(bomb)
    except CodecError:
        pass
    seconds = time.process_time() - before
    # ru_maxrss would begin with what the parent had when it forked
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(f"{name}\\t{seconds:.2f}\\t{peak >> 10}", flush=True)
"""


def test_no_message_takes_much_time_or_memory():
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n{BOMBS}"
    # the child is as bare as the sandbox, but for numpy
    path = f"{SANDBOX.parent}:{Path(np.__file__).parents[1]}"
    environment = {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-s", "-P", "-S", "-B", "-c", limited], env=environment, capture_output=True, text=True
    )
    rows = [line.split("\t") for line in found.stdout.splitlines()]
    assert found.returncode == 0, found.stderr
    assert len(rows) > 25
    assert {name: seconds for name, seconds, _ in rows if float(seconds) > 4} == {}
    # 240 MB are the messages and the interpreter with numpy
    assert max(int(megabytes) for *_, megabytes in rows) < 450
