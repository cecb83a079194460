"""The interpreter's code in huge pages: the same code, at the same place, and only where there are such pages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import align.execute
from align.execute.sandbox import huge
from align.execute.sandbox.huge import Mapping

SANDBOX = Path(align.execute.__file__).parent
MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SCRIPT = """
import ctypes, json, os, sys
sys.path.insert(0, sys.argv[1])
from sandbox import huge

if sys.argv[2] == "none":
    huge._huge_bytes = lambda start: 0
    huge._MADV_HUGEPAGE = 15
before = huge.mappings()
first, last = huge.constant(before, ctypes.cast(ctypes.pythonapi.PyObject_Malloc, ctypes.c_void_p).value)
code = ctypes.string_at(first, last - first)
moved = huge.move_code()
child = os.fork()
if not child:
    os._exit(sum(int(digit) for digit in str(sum(range(1000)))))
after = huge.mappings()
print(json.dumps({
    "moved": moved,
    "same": ctypes.string_at(first, last - first) == code,
    "left": [each for each in after if each not in before] == [] and len(after) == len(before),
    "child": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
}))
"""


def moved(mode: str) -> dict[str, object]:
    command = [sys.executable, "-s", "-P", "-S", "-c", SCRIPT, str(SANDBOX), mode]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_moved_code_is_the_same_code_and_runs_in_forked_processes():
    found = moved("as they are")
    assert found["same"], "the interpreter's code or constants have changed"
    assert found["child"] == 27
    assert found["moved"] % huge_page() == 0


def test_it_is_moved_where_there_are_huge_pages():
    if "[never]" in MODES.read_text() or not huge_page():
        pytest.skip("no huge pages")
    # an interpreter has some megabytes of code; where it begins is the loader's choice
    assert moved("as they are")["moved"] > 0


def test_without_huge_pages_everything_stays_as_it_is():
    assert moved("none") == {"moved": 0, "same": True, "left": True, "child": 27}


def huge_page() -> int:
    size = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
    return int(size.read_text()) if size.exists() else 1


@pytest.mark.parametrize(
    ("maps", "address", "expected"),
    [
        pytest.param([Mapping(0, 10, True, "a"), Mapping(10, 20, True, "a")], 12, (0, 20), id="neighbours of one file"),
        pytest.param([Mapping(0, 10, True, "a"), Mapping(10, 20, False, "a")], 5, (0, 10), id="data that is written"),
        pytest.param([Mapping(0, 10, True, "a"), Mapping(10, 20, True, "b")], 15, (10, 20), id="another file"),
        pytest.param([Mapping(0, 10, True, "a"), Mapping(12, 20, True, "a")], 15, (12, 20), id="a gap"),
        pytest.param([Mapping(0, 10, True, "a")], 10, (0, 0), id="outside"),
        pytest.param([Mapping(0, 10, False, "a")], 5, (0, 0), id="in data"),
        pytest.param([], 5, (0, 0), id="nothing from files"),
    ],
)
def test_what_is_constant_around_an_address(maps, address, expected):
    assert huge.constant(maps, address) == expected
