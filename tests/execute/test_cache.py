"""The cache on disk: what it keeps through kills, two writers, damage and full disks."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from align.errors import DataError
from align.execute import Execution, program_for
from align.execute import cache as cache_module
from align.execute.cache import NAME, Cache, execution_key
from align.schema import Problem

PASSED = Execution("passed", None, 1, 1, None, "none", None, 0.25)
FAILED = Execution("wrong_answer", "IndexError", 0, 2, [0, 1], "A", "half a pair: \ud800", 1.5)

WRITES = """
import sys, time
from pathlib import Path
from align.execute import Execution
from align.execute.cache import Cache
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cache = Cache(path)
for number in range(count):
    cache.put(f"{name}{number}", Execution("passed", name, number, number, [number] * 50, "none", "x" * 500, 0.5))
    if number % 20 == 0:
        time.sleep(0.01)
    if number == 100:
        print("begun", flush=True)
cache.close()
print("ended", flush=True)
"""


def writer(path, name, count):
    command = [sys.executable, "-c", WRITES, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_all(path, count):
    with Cache(path) as cache:
        return [cache.get(f"{number:05}") for number in range(count)]


def keys(path):
    with sqlite3.connect(path) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM executions")]


def test_what_was_put_is_there_at_once_and_after_closing(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        assert cache.get("a") is None
        cache.put("a", FAILED)
        assert cache.get("a") == FAILED
    with Cache(tmp_path / "c.sqlite") as cache:
        assert cache.get("a") == FAILED


def test_a_folder_holds_it_under_a_name_of_ours_and_missing_folders_are_made(tmp_path):
    Cache(tmp_path).close()
    assert (tmp_path / NAME).is_file()
    Cache(tmp_path / "new" / "folder" / "c.sqlite").close()
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["c.sqlite"]


def test_the_first_result_of_a_key_stays(tmp_path):
    with Cache(tmp_path) as cache:
        cache.put("a", PASSED)
        cache.put("a", FAILED)
        assert cache.get("a") == PASSED
    with Cache(tmp_path) as cache:
        cache.put("a", FAILED)
    with Cache(tmp_path) as cache:
        assert cache.get("a") == PASSED


def test_a_fault_of_ours_is_never_kept(tmp_path):
    with Cache(tmp_path) as cache:
        cache.put("a", Execution("infra_error", "killed", 0, 0, None, "A", None, 0.0))
        assert cache.get("a") is None


def test_a_result_reaches_the_disk_within_a_second_without_being_closed(tmp_path):
    with Cache(tmp_path) as one, Cache(tmp_path) as other:
        one.put("a", PASSED)
        deadline = time.monotonic() + 1.0
        while other.get("a") is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert other.get("a") == PASSED


@pytest.mark.parametrize("moment", [0.0, 0.25])
def test_a_kill_tears_no_row_and_loses_less_than_a_second(tmp_path, moment):
    process = writer(tmp_path / NAME, "k", 100_000)
    assert process.stdout.readline() == "begun\n"
    time.sleep(moment + 0.7)
    before = len(keys(tmp_path / NAME))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Cache(tmp_path) as cache:
        found = sorted(int(key[1:]) for key in keys(cache.path))
        assert found == list(range(len(found)))
        assert len(found) >= before >= 100
        for number in found[-200:]:
            assert cache.get(f"k{number}").failed_tests == [number] * 50
    with sqlite3.connect(tmp_path / NAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_writers_that_begin_together_lose_nothing(tmp_path):
    processes = [writer(tmp_path / NAME, name, 600) for name in "abc"]
    assert [process.communicate()[0].split() for process in processes] == [["begun", "ended"]] * 3
    assert sorted(keys(tmp_path / NAME)) == sorted(f"{name}{number}" for name in "abc" for number in range(600))


def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path):
    (tmp_path / NAME).write_bytes(b"{}\n" * 1000)
    with pytest.raises(DataError, match=rf"{NAME}: is damaged, or no cache of executions \(.+\): remove it"):
        Cache(tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"{}\n" * 1000


def test_damage_in_the_middle_is_named_when_it_is_met(tmp_path):
    with Cache(tmp_path) as cache:
        for number in range(2000):
            cache.put(f"{number:05}", FAILED)
    size = os.path.getsize(tmp_path / NAME)
    with open(tmp_path / NAME, "r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    with pytest.raises(DataError, match="is damaged"):
        read_all(tmp_path, 2000)


def test_a_row_that_is_no_execution_is_named(tmp_path):
    Cache(tmp_path).close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("INSERT INTO executions VALUES ('a', '{\"outcome\": 1')")
    with Cache(tmp_path) as cache, pytest.raises(DataError, match="a row is damaged"):
        cache.get("a")


def test_a_database_of_somebody_else_is_not_written_to(tmp_path):
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(DataError, match="no cache of executions: name another file"):
        Cache(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/c\.sqlite: cannot be written"):
        Cache(tmp_path / "file" / "c.sqlite")


FILLS = """
import resource, sys
from pathlib import Path
from align.errors import DataError
from align.execute import Execution
from align.execute.cache import Cache
cache = Cache(Path(sys.argv[1]))
cache.put("first", Execution("passed", None, 1, 1, None, "none", None, 0.5))
import time
time.sleep(0.8)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    with cache:
        for number in range(1000):
            cache.put(str(number), Execution("passed", None, 1, 1, None, "none", "x" * 5000, 0.5))
except DataError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_and_earlier_results_stay(tmp_path):
    command = [sys.executable, "-c", FILLS, str(tmp_path / NAME)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{tmp_path / NAME}: cannot be written (")
    assert said.rstrip().endswith("make room and run again")
    with Cache(tmp_path) as cache:
        assert cache.get("first") is not None


def test_a_file_system_that_may_be_shared_gets_a_rollback_journal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache_module, "file_system", lambda path: "nfs4")
    with Cache(tmp_path) as cache:
        cache.put("a", PASSED)
    assert "on nfs4, which is not known to be local" in capsys.readouterr().err
    with sqlite3.connect(tmp_path / NAME) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with Cache(tmp_path) as cache:
        assert cache.get("a") == PASSED
    assert capsys.readouterr().err == ""


def test_the_key_changes_with_everything_that_the_outcome_depends_on():
    one, other = (
        program_for(Problem(prompt="Write f.", entry_point="f", tests=[test]), solution="def f(): return 1")
        for test in ("assert f()", "assert not f()")
    )
    asked = [
        (one, (3.0, 1024), "A", ["3.11", True]),
        (other, (3.0, 1024), "A", ["3.11", True]),
        (one, (3.5, 1024), "A", ["3.11", True]),
        (one, (3.0, 512), "A", ["3.11", True]),
        (one, (3.0, 1024), "B", ["3.11", True]),
        (one, (3.0, 1024), "A", ["3.12", True]),
    ]
    assert len({execution_key(*each) for each in asked}) == len(asked)
    assert execution_key(*asked[0]) == execution_key(*asked[0])
