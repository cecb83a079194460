"""Answering resumes after an interruption, and never mixes up requests."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from align.errors import BackendError
from align.generate import Reply, Request, generator
from align.generate.answer import answer
from align.models.entry import Endpoint


class Echo:
    """Answers in batches of two from the end; dies before batch number `dies_at`."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at, self.answered = dies_at, 0

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Iterator[dict[int, Reply]]:
        order = list(reversed(range(len(requests))))
        for number, start in enumerate(range(0, len(order), 2)):
            batch = order[start : start + 2]
            if all(index in done for index in batch):
                continue
            if number == self.dies_at:
                raise KeyboardInterrupt
            self.answered += len(batch)
            yield {index: Reply(text=f"re: {requests[index].prompt}", finish="length") for index in batch}


def requests(count: int, word: str = "q") -> list[Request]:
    return [Request(prompt=f"{word}{index}") for index in range(count)]


def test_replies_come_in_request_order(tmp_path: Path) -> None:
    replies = answer(Echo(), requests(5), tmp_path / "journal.jsonl", "")
    assert [reply.text for reply in replies] == [f"re: q{index}" for index in range(5)]
    assert replies[0].finish == "length"


def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with pytest.raises(KeyboardInterrupt):
        answer(Echo(dies_at=2), requests(7), journal, "")
    with journal.open("a") as file:
        file.write('{"replies": {"0": {"te')
    second = Echo()
    resumed = answer(second, requests(7), journal, "")
    assert second.answered == 3
    assert resumed == answer(Echo(), requests(7), tmp_path / "other.jsonl", "")


def test_a_finished_journal_asks_nothing(tmp_path: Path) -> None:
    first = answer(Echo(), requests(4), tmp_path / "journal.jsonl", "")
    second = Echo()
    assert answer(second, requests(4), tmp_path / "journal.jsonl", "") == first
    assert second.answered == 0


def test_a_journal_of_other_requests_is_not_believed(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    answer(Echo(), requests(4), journal, "")
    assert answer(Echo(), requests(4, "p"), journal, "")[0].text == "re: p0"


def test_an_endpoint_is_refused_in_one_line() -> None:
    with pytest.raises(BackendError, match=r"^model 'm': endpoints are not run by this version yet"):
        generator(Endpoint(base_url="http://localhost/v1", model="m"))
