"""Answering resumes after an interruption, and never mixes up requests."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from align.generate import Reply, Request
from align.generate.answer import answer
from align.schema import Message


class Echo:
    """Answers in batches of two from the end; dies before batch number `dies_at`."""

    keeps = False

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
        file.write('{"done": {"0": {"te')
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


def chats(texts: list[str]) -> list[Request]:
    return [Request(prompt=[Message(role="user", content=text)]) for text in texts]


class Says(Echo):
    """Answers a chat with its own words."""

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Iterator[dict[int, Reply]]:
        for index in sorted(set(range(len(requests))) - set(done)):
            self.answered += 1
            prompt = requests[index].prompt
            yield {index: Reply(text=prompt if isinstance(prompt, str) else prompt[0].content)}


def test_a_chats_thinking_stands_apart_and_the_journal_holds_what_was_received(tmp_path: Path) -> None:
    journal, texts = tmp_path / "journal.jsonl", ["<think>x</think>yes", "<think>x", "yes"]
    replies = answer(Says(), chats(texts), journal, "")
    assert [reply.text for reply in replies] == ["yes", "", "yes"]
    assert [reply.reasoning for reply in replies] == ["x", "x", None]
    assert [reply.finish for reply in replies] == ["stop", "length", "stop"]
    assert all(text in journal.read_text() for text in texts)
    assert answer(Says(), chats(texts), journal, "") == replies


def test_a_completed_text_keeps_its_tags(tmp_path: Path) -> None:
    texts = [Request(prompt="<think>x</think>yes")]
    assert answer(Says(), texts, tmp_path / "journal.jsonl", "")[0].text == "<think>x</think>yes"


def test_replies_that_the_generator_keeps_are_not_kept_again(tmp_path: Path) -> None:
    class Keeps(Says):
        keeps = True

    texts = ["<think>x</think>yes", "no"]
    assert [reply.text for reply in answer(Keeps(), chats(texts), tmp_path / "journal.jsonl", "")] == ["yes", "no"]
    assert not list(tmp_path.iterdir())
