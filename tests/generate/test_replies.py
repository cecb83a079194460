"""The file of replies: what is handed on is on disk, and what is on disk comes back."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from align.errors import DataError
from align.generate import Reply
from align.generate.budget import Spent
from align.generate.replies import Replies, file_name
from align.models.entry import Endpoint

ODD = Reply(
    text="a\ud800\0\u2028b", finish="length", reasoning="hm", usage={"prompt_tokens": 1, "completion_tokens": 2}
)


def kept(path: Path, *keys: str) -> Replies:
    found = Replies(path, keys)
    found.close()
    return found


def test_what_was_put_comes_back_and_is_told_after_it_is_on_disk(tmp_path: Path) -> None:
    path, told = tmp_path / "r" / "m.jsonl", []

    def check(tokens: list[Any]) -> None:
        told.extend(tokens)
        assert path.read_text().count('"key"') >= len(told)

    replies = Replies(path, kept=check)
    for number in range(100):
        replies.put(f"k{number}", ODD, Spent(1, 2, 3), number)
    replies.tried(Spent(1, 5, 5), "500")
    replies.close()
    assert told == list(range(100))
    again = kept(path, "k7", "k200")
    assert again.answers == {"k7": ODD}
    assert again.spent == Spent(101, 205, 305)


def test_a_torn_line_is_dropped_and_a_damaged_one_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for key in "abc":
        replies = Replies(path)
        replies.put(key, Reply(text=key), Spent(1), None)
        replies.close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\0\0\0\n"
    path.write_bytes(b"".join(lines) + lines[0][:20])
    found = kept(path, *"abc")
    assert {key: reply.text for key, reply in found.answers.items()} == {"a": "a", "c": "c"}
    assert found.damaged == 1
    assert kept(path, *"abc").answers == found.answers


def test_what_was_in_flight_when_it_was_killed_counts_as_spent_once(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    replies = Replies(path)
    for most in (Spent(1, 10, 10), Spent(2, 20, 20)):
        replies.reserving(most)
    copy = tmp_path / "killed.jsonl"
    copy.write_bytes(path.read_bytes())
    replies.close()
    assert kept(path).spent == Spent()
    assert kept(copy).spent == Spent(2, 20, 20)
    assert kept(copy).spent == Spent(2, 20, 20)


def test_one_at_a_time(tmp_path: Path) -> None:
    first = Replies(tmp_path / "m.jsonl")
    with pytest.raises(DataError, match=r"m.jsonl: another process asks this model"):
        Replies(tmp_path / "m.jsonl")
    first.close()
    kept(tmp_path / "m.jsonl")


def test_what_comes_in_after_the_disk_filled_still_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, faults, told = tmp_path / "m.jsonl", [], []
    replies = Replies(path, kept=told.extend, failed=faults.append)
    ballast = next(tmp_path.glob(".*.ballast"))
    write = os.write

    def full(file: int, data: Any) -> int:
        if ballast.exists():
            # half a line, as a disk takes it before it is full
            write(file, bytes(data[:10]))
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("align.generate.replies.os.write", full)
    replies.put("k", ODD, Spent(1), "token")
    with pytest.raises(DataError, match=r"No space left on device.*make room and run again"):
        replies.close()
    assert (len(faults), told) == (1, ["token"])
    monkeypatch.undo()
    assert kept(path, "k").answers == {"k": ODD}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        Replies(tmp_path / "file" / "m.jsonl")


def test_the_name_tells_models_apart_and_holds_no_odd_character() -> None:
    def name(**more: Any) -> str:
        return file_name(Endpoint(**{"base_url": "http://a/v1", "model": "Org/A Model:1", **more}))

    assert name().startswith("Org-A-Model-1-")
    assert name() == name(base_url="http://b/v1")
    assert len({name(), name(model="Org-A Model:1"), name(extra_body={"top_k": 2})}) == 3
    assert len(name(model="/" + "x" * 1000)) < 100
