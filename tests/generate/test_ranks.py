"""Generation divided over ranks gives the replies of one process, whoever is interrupted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from align.errors import DataError, StageError
from align.generate import Ranks, Reply, Request, Sampling, generator, ranks
from align.generate.answer import answer
from align.generate.batched import load
from align.generate.ranks import Divided, Follower, deal
from align.models.entry import Weights
from align.models.tiny import random_model, save_tiny, train_tokenizer

BATCH = 3


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    folder = tmp_path_factory.mktemp("weights") / "model"
    tokenizer = train_tokenizer(["to be"], 258)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, folder)
    return Weights(model_name_or_path=str(folder))


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    heats = (0.5, 1.0)
    return [
        Request(
            prompt="x" * (1 + number % 7) + "\ud800é", seed=number, sampling=Sampling(temperature=t, max_new_tokens=8)
        )
        for number in range(8)
        for t in heats
    ]


@pytest.fixture(scope="module")
def alone(entry: Weights, requests: list[Request], tmp_path_factory: pytest.TempPathFactory) -> list[Reply]:
    return answer(generator(entry, batch_size=BATCH), requests, tmp_path_factory.mktemp("alone") / "journal", "")


class Launch:
    """Ranks in this process: others do their share when it is announced, or, where they `lag`, when rank 0 waits."""

    def __init__(self, folder: Path, size: int, *, lag: bool = False) -> None:
        self.followers = [Follower(rank) for rank in range(1, size)]
        self.jobs: list[Path] = []
        self.lag = lag
        self.ranks = Ranks(size, folder / ".shares", self.announce)

    def announce(self, job: Path) -> None:
        self.jobs.append(job)
        if not self.lag:
            self.work()

    def work(self) -> None:
        for follower in self.followers:
            follower.work(self.jobs[-1])


def divided(entry: Weights, launch: Launch, requests: list[Request], folder: Path) -> list[Reply]:
    return answer(generator(entry, batch_size=BATCH, ranks=launch.ranks), requests, folder / "journal.jsonl", "")


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_any_number_of_ranks_gives_the_replies_of_one_process(
    size: int, entry: Weights, requests: list[Request], alone: list[Reply], tmp_path: Path
) -> None:
    launch = Launch(tmp_path, size)
    assert divided(entry, launch, requests, tmp_path) == alone
    assert len(launch.jobs) == (size > 1)
    assert not list((tmp_path / ".shares").glob("*"))


def test_ranks_that_are_slower_are_waited_for(
    entry: Weights, requests: list[Request], alone: list[Reply], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Launch(tmp_path, 3, lag=True)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if not slept:
            launch.work()
        slept.append(seconds)

    monkeypatch.setattr(ranks.time, "sleep", sleep)
    assert divided(entry, launch, requests, tmp_path) == alone
    assert len(slept) == 1


@pytest.mark.parametrize("size", [1, 4])
def test_what_was_finished_before_an_interruption_is_not_done_again(
    size: int,
    entry: Weights,
    requests: list[Request],
    alone: list[Reply],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = Launch(tmp_path, 3, lag=True)

    def killed(_: Path) -> None:
        """Rank 1 has finished, rank 2 stands in the middle of a line, rank 0 dies."""
        launch.followers[0].work(launch.jobs[-1])
        launch.followers[1].work(launch.jobs[-1])
        done = launch.jobs[-1] / "done-2.jsonl"
        lines = done.read_bytes().splitlines(keepends=True)
        done.write_bytes(lines[0] + lines[1][:20])
        raise KeyboardInterrupt

    ranks_then = Ranks(3, launch.ranks.folder, lambda job: (launch.announce(job), killed(job))[0])
    with pytest.raises(KeyboardInterrupt):
        answer(generator(entry, batch_size=BATCH, ranks=ranks_then), requests, tmp_path / "journal.jsonl", "")
    batches = len(load(entry, BATCH).plan(requests))
    finished = 1 + len(deal(load(entry, BATCH).plan(requests), 3)[1])
    answered: list[int] = []
    batch = ranks.Batched.batch
    monkeypatch.setattr(ranks.Batched, "batch", lambda self, asked: answered.append(len(asked)) or batch(self, asked))
    assert divided(entry, Launch(tmp_path, size), requests, tmp_path) == alone
    assert len(answered) == batches - finished


def test_a_failure_of_another_rank_ends_the_run_with_its_message(
    entry: Weights, requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise DataError("model: no *.safetensors")

    local = load(entry, BATCH)
    monkeypatch.setattr(ranks, "load", broken)
    with pytest.raises(StageError, match=r"^rank 1: model: no \*\.safetensors$"):
        list(Divided(local, entry, Launch(tmp_path, 2).ranks).generate(requests))


def test_a_fault_of_ours_on_another_rank_keeps_its_traceback_and_is_told(
    entry: Weights, requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    local, launch = load(entry, BATCH), Launch(tmp_path, 2, lag=True)
    replies: Iterator[Any] = Divided(local, entry, launch.ranks).generate(requests)
    next(replies)
    monkeypatch.setattr(ranks, "load", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        launch.work()
    with pytest.raises(StageError, match="rank 1: RuntimeError: out of memory"):
        list(replies)


def test_a_rank_loads_a_model_once_a_stage(
    entry: Weights, requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def counted(wanted: Weights, size: int) -> Any:
        loaded.append(wanted.model_name_or_path)
        return load(wanted, size)

    launch = Launch(tmp_path, 2)
    monkeypatch.setattr(ranks, "load", counted)
    for number in range(3):
        divided(entry, launch, requests[number : number + 8], tmp_path)
    assert len(loaded) == 1
    launch.followers[0].leave()
    divided(entry, launch, requests[4:12], tmp_path)
    assert len(loaded) == 2


def test_a_rank_that_does_not_see_the_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "SEE_SECONDS", 0.0)
    Follower(4).work(tmp_path / "job")
    assert "rank 4 does not see" in (tmp_path / "job" / "done-4.jsonl").read_text()


def test_shares_are_alike_in_number_and_length() -> None:
    batches = [[number] for number in range(23)]
    shares = deal(batches, 4)
    assert sorted(index for share in shares for (index,) in share) == list(range(23))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    sums = [sum(index for (index,) in share[:4]) for share in shares]
    assert max(sums) - min(sums) <= 4
