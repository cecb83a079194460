"""Reference log-probabilities from a file: the starting weights', computed once and kept by token.

Full fine-tuning needs them, since it changes the reference's own weights; with adapters they save a forward a step.
`reference.jsonl`: the first line says of what (hash of the weights below any adapters, state of the adapters, type),
every other one holds a response's log-probabilities under the hash of its token ids. Ranks compute their shares and
meet through files, not in a collective, so that a long computation trips no watchdog.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor

from ..errors import ConfigError, StageError
from ..io import rows, write
from ..models.load import continued
from ..progress import progress
from ..schema import content_id
from ..text.collate import Group, on_device
from .data import MicroBatches, Place
from .options import Reference
from .policy import Policy
from .settings import Loss

FILE = "reference.jsonl"
POLL_SECONDS = 0.2

Header = dict[str, Any]
Entry = dict[str, Any]


class Run(NamedTuple):
    """Where and how log-probabilities are computed: as training will compute them."""

    device: torch.device
    autocast: AbstractContextManager[Any]
    """The precision that training runs in."""
    dtype: str
    """Its name."""
    rank: int
    world_size: int


def reference_source(loss: Loss | None, asked: Reference, *, adapters: bool) -> Literal["adapter_off", "file"] | None:
    """Where a loss gets its reference from; None where it has none.

    Args:
        loss: its section; None is supervised training.
        asked: the stage's key.
        adapters: whether new adapters are trained; one that is trained further is part of the reference.

    Raises:
        ConfigError: adapters off, and there are none.
    """
    if loss is None or not loss.needs_reference:
        return None
    if asked == "adapter_off" and not adapters:
        raise ConfigError("reference: adapter_off needs lora with a new adapter: write file")
    return "adapter_off" if adapters and asked != "file" else "file"


def reference_logprobs(policy: Policy, data: Sequence[MicroBatches], path: Path, run: Run) -> list[dict[Place, Tensor]]:
    """Of each data set, the log-probabilities of every place's response tokens, (tokens of all its responses,).

    Args:
        policy: still with its starting weights.
        data: planned micro-batches: a group is computed in the one that first trains it, so that at step 1 policy and
            reference have gone through the same arithmetic.
        path: `reference.jsonl`; computed if it is not there, otherwise read.
        run: device, precision and ranks.

    Raises:
        StageError: the file was made from other weights, tokens or types.
    """
    header = {
        "weights": weights_hash(policy),
        "adapters": "off" if _has_new_adapters(policy) else "on" if isinstance(policy.model, PeftModel) else "none",
        "dtype": run.dtype,
    }
    if not path.is_file():
        # a killed run may have shared the micro-batches out otherwise
        own = header | {"cut": content_id([groups for batches in data for _, groups in batches.plan.micro_batches])}
        part = _part(path, run.rank, run.world_size)
        if not part.is_file() or _read(part, own, check=False) is None:
            write(part, [own, *_compute(policy, data, run)])
        if run.rank == 0:
            _merge(path, header, own, run.world_size)
        else:
            _wait(path)
    known = _read(path, header, check=True)
    assert known is not None
    return [{place: _of_group(batches.group(place), known, path) for place in _places(batches)} for batches in data]


def weights_hash(policy: Policy) -> str:
    """sha256 over names and bytes of the weights below new adapters, quantisation states included."""
    found, new = hashlib.sha256(), _has_new_adapters(policy)
    for name, value in policy.state_dict().items():
        if isinstance(value, Tensor) and not (new and "lora_" in name):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _has_new_adapters(policy: Policy) -> bool:
    """Whether the reference is the model without its adapters; one that is trained further was there at the start."""
    return isinstance(policy.model, PeftModel) and continued(policy.model) is None


@torch.no_grad()
def _compute(policy: Policy, data: Sequence[MicroBatches], run: Run) -> Iterator[Entry]:
    policy.to(run.device).eval()
    off: AbstractContextManager[Any] = contextlib.nullcontext()
    if isinstance(policy.model, PeftModel) and _has_new_adapters(policy):
        off = policy.model.disable_adapter()
    with progress("reference", sum(map(len, data))) as bar, run.autocast, off:
        for batches in data:
            seen: set[Place] = set()
            for item in range(len(batches)):
                for places in batches.places(item):
                    fresh = set(places) - seen
                    seen |= fresh
                    if fresh and item % run.world_size == run.rank:
                        yield from _entries(policy, batches, item, places, fresh, run.device)
                bar.advance()
    policy.train()


def _entries(
    policy: Policy, batches: MicroBatches, item: int, places: list[Place], fresh: set[Place], device: torch.device
) -> Iterator[Entry]:
    """What the file says of the places that are new, computed in the micro-batch with all of them."""
    batch = on_device(batches.lay_out(item, places), device)
    token_N, start = policy(batch).logp.token.float().tolist(), 0
    for place in places:
        group = batches.group(place)
        for number, response in enumerate(group.responses):
            if place in fresh:
                yield _entry(group, number, token_N[start : start + len(response)])
            start += len(response)


def _entry(group: Group, number: int, logps: list[float]) -> Entry:
    # nine digits give a float32 back exactly
    digits = [float(f"{value:.9g}") for value in logps]
    return {"problem_id": group.problem_id, "response": number, "key": _key(group, number), "logps": digits}


def _key(group: Group, number: int) -> str:
    return content_id([group.prompt, group.responses[number]])


def _places(batches: MicroBatches) -> set[Place]:
    return {place for item in range(len(batches)) for places in batches.places(item) for place in places}


def _part(path: Path, rank: int, world_size: int) -> Path:
    return path.with_name(f".reference-{rank}-of-{world_size}.jsonl")


def _merge(path: Path, header: Header, of_parts: Header, world_size: int) -> None:
    parts = [_part(path, rank, world_size) for rank in range(world_size)]
    entries: dict[str, Entry] = {}
    for part in parts:
        _wait(part)
        while (found := _read(part, of_parts, check=False)) is None:
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
