"""Reference log-probabilities for full fine-tuning: the starting weights', computed once, kept by token in a file.

`reference.jsonl`: the first line says of what (hash of the weights, adapters, type), every other one holds a response's
log-probabilities under the hash of its token ids. Ranks compute their shares and meet through files, not in a
collective, so that a long computation trips no watchdog.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import StageError
from ..io import rows, write
from ..progress import progress
from ..schema import content_id
from ..text.collate import Group
from .data import MicroBatches
from .policy import Policy

POLL_SECONDS = 0.2

Header = dict[str, Any]
Entry = dict[str, Any]


def reference_logprobs(
    policy: Policy,
    data: MicroBatches,
    path: Path,
    *,
    device: torch.device,
    autocast: AbstractContextManager[Any],
    dtype: str,
    rank: int,
    world_size: int,
) -> list[Tensor]:
    """(tokens of all responses,) of each group that the plan uses, in the order of the groups.

    Args:
        policy: still with its starting weights.
        data: the planned micro-batches: a group is computed in the one that first trains it, so that at step 1
            policy and reference have gone through the same arithmetic.
        path: `reference.jsonl`; computed if it is not there, otherwise read.
        device: where to compute.
        autocast: the precision that training runs in.
        dtype: its name.
        rank: this process's.
        world_size: of how many.

    Raises:
        StageError: the file was made from other weights, tokens or types.
    """
    header = {"weights": weights_hash(policy), "adapters": "none", "dtype": dtype}
    if not path.is_file():
        part = path.with_name(f".reference-{rank}-of-{world_size}.jsonl")
        if not part.is_file() or _read(part, header, check=False) is None:
            write(part, [header, *_compute(policy, data, device, autocast, rank, world_size)])
        if rank == 0:
            _merge(path, header, world_size)
        else:
            _wait(path)
    known = _read(path, header, check=True)
    assert known is not None
    used = {index for step in data.plan.steps for index in step}
    return [_of_group(group, known, path) if i in used else torch.empty(0) for i, group in enumerate(data.groups)]


def weights_hash(policy: Policy) -> str:
    """sha256 over names and bytes of all parameters."""
    found = hashlib.sha256()
    for name, parameter in policy.named_parameters():
        found.update(name.encode())
        found.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


@torch.no_grad()
def _compute(
    policy: Policy,
    data: MicroBatches,
    device: torch.device,
    autocast: AbstractContextManager[Any],
    rank: int,
    world_size: int,
) -> Iterator[Entry]:
    seen: set[int] = set()
    policy.to(device).eval()
    with progress("reference", len(data)) as bar, autocast:
        for item, (_, indices) in enumerate(data.plan.micro_batches):
            fresh = [i for i in indices if i not in seen]
            seen.update(fresh)
            if fresh and item % world_size == rank:
                batch = {name: value.to(device) for name, value in data[item].items()}
                token_N, place = policy(batch).logp.token.float().tolist(), 0
                for i in indices:
                    for number, response in enumerate(data.groups[i].responses):
                        if i in fresh:
                            yield _entry(data.groups[i], number, token_N[place : place + len(response)])
                        place += len(response)
            bar.advance()
    policy.train()


def _entry(group: Group, number: int, logps: list[float]) -> Entry:
    # nine digits give a float32 back exactly
    digits = [float(f"{value:.9g}") for value in logps]
    return {"problem_id": group.problem_id, "response": number, "key": _key(group, number), "logps": digits}


def _key(group: Group, number: int) -> str:
    return content_id([group.prompt, group.responses[number]])


def _merge(path: Path, header: Header, world_size: int) -> None:
    parts = [path.with_name(f".reference-{rank}-of-{world_size}.jsonl") for rank in range(world_size)]
    entries: dict[str, Entry] = {}
    for part in parts:
        _wait(part)
        while (found := _read(part, header, check=False)) is None:
            time.sleep(POLL_SECONDS)
        entries |= found
    write(
        path,
        [header, *sorted(entries.values(), key=lambda entry: (entry["problem_id"], entry["response"], entry["key"]))],
    )
    for part in parts:
        os.unlink(part)


def _read(path: Path, header: Header, *, check: bool) -> dict[str, Entry] | None:
    """Entries by key; None for those of another header, where that is not an error."""
    lines = [row for _, row in rows(path)]
    if lines and lines[0] == header:
        return {entry["key"]: entry for entry in lines[1:]}
    if check:
        other = [name for name, value in header.items() if not lines or lines[0].get(name) != value]
        raise StageError(f"{path}: made with other {' and '.join(other)} than this training: remove it and run again")
    return None


def _of_group(group: Group, known: dict[str, Entry], path: Path) -> Tensor:
    found: list[float] = []
    for number, response in enumerate(group.responses):
        entry = known.get(_key(group, number))
        if entry is None or len(entry["logps"]) != len(response):
            raise StageError(
                f"{path}: lacks response {number} of problem {group.problem_id} as it is tokenised now: "
                "remove it and run again"
            )
        found += entry["logps"]
    return torch.tensor(found)


def _wait(path: Path) -> None:
    # a rank that fails ends all the others through the launcher
    while not path.is_file():
        time.sleep(POLL_SECONDS)
