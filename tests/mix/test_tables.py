"""Raw data sets: each form gives the same rows, and what is wrong with a file is one line."""

import gzip
import json

import pytest

from align.errors import BackendError, DataError
from align.mix.tables import table

ROWS = [{"text": 'say "é", twice', "label": 1}, {"text": "two\nlines", "label": -1}]


def read(path):
    return [row for _, row in table(path)]


def test_every_form_gives_the_same_rows(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(lines)
    (tmp_path / "c.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "d.json").write_text(json.dumps({"version": 1, "data": ROWS}, indent=1))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    quoted = 'text{0}label\n"say ""é"", twice"{0}1\n"two\nlines"{0}-1\n'
    (tmp_path / "f.csv").write_text("\ufeff" + quoted.format(","))
    (tmp_path / "g.tsv").write_text(quoted.format("\t"))
    for path in sorted(tmp_path.iterdir()):
        assert read(path) == ROWS, path.name


def test_parquet_is_read(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == ROWS
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "no rows"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"text,label\n", "no rows"),
        ("a.json", b"[]", "no rows"),
        ("a.json", b'{"data": 3}', "without `data:` rows"),
        ("a.json", b'{"data": [{"paragraphs": [{}]}]}', "SQuAD"),
        ("a.csv", b"text,label\na,1\nb\n", "a.csv:3: 1 cells under 2 columns"),
        ("a.csv", b'text\n"open', "mend the line"),
        ("a.csv", "text\nfine\né\n".encode() + "é\n".encode("latin-1"), "a.csv:4: not UTF-8"),
        ("a.jsonl", b'{"a": "x"}\n{"a": "\xe9"}\n', "a.jsonl:2: not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2: not JSON"),
        ("mgsm_en.tsv", b"one\ttwo\tthree\n", "mgsm_en.tsv:1: 3 cells"),
        ("xwinograd.tsv", b"en\tx\n", "xwinograd.tsv:1: not in XWinograd's form"),
        ("a.txt", b"x", "unknown form '.txt'"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "a.csv")


def test_a_data_set_of_the_hub_is_streamed_and_its_absence_is_one_line(monkeypatch):
    datasets = pytest.importorskip("datasets")
    taken = []

    def streamed(name, subset, *, revision, split, streaming):
        assert (name, subset, revision, split, streaming) == ("owner/name", "zh", "abc", "train", True)
        for number in range(1000):
            taken.append(number)
            yield {"n": number}

    monkeypatch.setattr(datasets, "load_dataset", streamed)
    rows = table("hf://datasets/owner/name@abc/train", "zh")
    assert [next(rows)[1] for _ in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert len(taken) == 3

    def absent(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", absent)
    with pytest.raises(BackendError, match="cannot be loaded") as caught:
        read("hf://datasets/owner/name/train")
    assert "\n" not in str(caught.value)


def test_numbers_are_read_only_where_the_text_comes_back_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c,d,e\n007,-3,1.5,12345678901,٣\n")
    assert read(tmp_path / "a.csv") == [{"a": "007", "b": -3, "c": "1.5", "d": "12345678901", "e": "٣"}]


def test_xwinograd_has_one_blank_at_the_pronoun(shared):
    rows = read(shared / "data/multitask/xwinograd_dataset.tsv")
    assert len(rows) == 3961
    assert all(row["sentence"].count("_") == 1 and row["answer"] in ("1", "2") for row in rows)
    assert rows[0]["sentence"].startswith("The city councilmen refused the demonstrators a permit because _ feared")
    check = next(row for row in rows if row["sentence"].startswith('Tom said "Check"'))
    # "he moved his": the second pronoun, after quotation marks that the tokens write otherwise
    assert "as he moved _ bishop" in check["sentence"]


def test_mgsm_has_250_questions_a_language(shared):
    for path in sorted((shared / "data/multitask/mgsm").iterdir()):
        rows = read(path)
        assert len(rows) == 250
        assert all(row["question"] and float(row["answer_number"].replace(",", "")) for row in rows)


def test_squads_nesting_is_flattened(shared):
    rows = read(shared / "data/multitask/xquad/xquad.en.json")
    assert len(rows) == 1190
    assert all(row["answers"]["text"][0] in row["context"] for row in rows)
