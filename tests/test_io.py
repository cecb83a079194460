import gzip
import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.errors import DataError
from align.io import Journal, read, rows, write
from align.schema import PreferencePair, Problem, RankedGroup, SftRow


def test_records_survive_writing_and_reading_plain_and_gzipped(tmp_path):
    problems = [Problem(prompt=f"Größe {n}\u2028", tests=["assert f() == 1"]) for n in range(3)]
    for name in ("p.jsonl", "p.jsonl.gz"):
        assert write(tmp_path / name, problems) == 3
        assert read(tmp_path / name, Problem) == problems


def test_gzipped_output_has_the_same_bytes_each_time(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write(tmp_path / name, [{"x": 1}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@given(st.text())
def test_any_text_a_model_may_write_can_be_written(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("io") / "x.jsonl"
    write(path, [{"text": text}])
    assert [row["text"] for _, row in rows(path)] == [text]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "a"}\n{"prompt": \n', r"p.jsonl:2: not JSON"),
        ('{"prompt": "a"}\n\n{"prompt": 3}\n', r"p.jsonl:3: prompt"),
        ('{"prompt": "a"}\n[1]\n', r"p.jsonl:2: expected a JSON object, found list"),
        ('{"prompt": "a", "entry_pont": "f"}\n', r"entry_pont: unknown field, did you mean 'entry_point'"),
        ('{"promt": "a"}\n', r"p.jsonl:1: prompt: missing"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path, content, message):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(path, Problem)


def test_files_that_are_cut_or_not_text_or_missing_give_one_line(tmp_path):
    whole = gzip.compress(b'{"prompt": "a"}\n' * 999)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "Größe"}\n'.encode("latin-1"))
    for name, message in [("cut.jsonl.gz", "cut"), ("latin.jsonl", "not UTF-8"), ("none.jsonl", "cannot be read")]:
        with pytest.raises(DataError, match=message) as caught:
            read(tmp_path / name, Problem)
        assert "\n" not in str(caught.value)


def test_columns_rename_and_a_missing_column_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "q", "answer": "a"}\n')
    found = read(path, Problem, {"prompt": "question"})
    assert found[0].prompt == "q"
    assert found[0].meta == {"answer": "a"}
    with pytest.raises(DataError, match=r"no column 'instruction' \(columns: question, answer\)"):
        read(path, Problem, {"prompt": "instruction"})


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [{"x": 1}])

    def broken():
        yield {"x": 2}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(path, broken())
    assert path.read_text() == '{"x": 1}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_foreign_forms_are_read_as_they_are(tmp_path, shared):
    humaneval = read(shared / "data/eval/HumanEval.jsonl.gz", Problem)
    mbpp = read(shared / "data/eval/mbpp.jsonl", Problem)
    assert (len(humaneval), len(mbpp)) == (164, 974)
    assert humaneval[0].meta == {"task_id": "HumanEval/0"}
    assert mbpp[0].entry_point == "min_cost"
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"instruction": "Sort.", "input": "3 1", "output": "1 3"}]))
    assert read(path, Problem)[0].prompt == "Sort.\n\n3 1"
    path.write_text(json.dumps([{"query": "q", "responses": ["a", "b"], "scores": [1, 2.5]}]))
    assert read(path, RankedGroup)[0].scores == [1.0, 2.5]
    path.write_text(json.dumps([{"prompt": "q", "chosen": "a", "rejected": "b"}]))
    assert read(path, PreferencePair)[0].chosen == "a"


def test_outputs_load_with_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "sft.jsonl", [SftRow(prompt="p", completion="c")])
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "sft.jsonl"), cache_dir=str(tmp_path), split="train"
    )
    assert loaded[0] == {"prompt": "p", "completion": "c"}


def test_a_journal_keeps_what_was_appended_before_kill_9_and_drops_a_torn_line(tmp_path):
    path = tmp_path / "j.jsonl"
    script = """
import sys, time
from pathlib import Path
from align.io import Journal
journal = Journal(Path(sys.argv[1]))
for n in range(5):
    journal.append({"n": n})
print("ready", flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with open(path, "ab") as file:
        file.write(b'{"n": 5')
    with Journal(path) as journal:
        assert [entry["n"] for entry in journal.entries] == list(range(5))
        journal.append({"n": 9})
    assert [row["n"] for _, row in rows(path)] == [0, 1, 2, 3, 4, 9]
