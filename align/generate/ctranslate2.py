"""Batched generation with CTranslate2, on weights that an export stage converted (extra `[ctranslate2]`).

Prompts become ids as `hf` makes them, and batches are the same. Greedy replies are those of the 8-bit weights, on any
number of threads. Sampled ones are drawn by the library itself, from a seed of the whole batch: the same requests in
the same batches get the same replies. Converts nothing: `align.export` does.
"""

import bisect
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BackendError
from ..models.chain import CONVERTED
from ..models.entry import Weights
from ..schema import Finish, content_id
from .batched import Batched, eos_ids, stop_places
from .request import Reply, Request, Sampling

CHUNK = 64
"""Tokens between two looks for stop strings. The library could call back at every token, but aborts now and then."""
POSITIONS = ("max_position_embeddings", "n_positions")
"""What classes call their longest row."""


def library() -> Any:
    """The library.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import ctranslate2  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise BackendError("ctranslate2 is not installed: pip install 'align-rrtf[ctranslate2]'") from None
    return ctranslate2


class Ctranslate2Generator(Batched):
    """Generates with a converted causal language model, on a GPU where there is one.

    Args:
        entry: its folder.
        batch_size: sequences generated at once.

    Raises:
        BackendError: the library is missing, or cannot load the folder.
        DataError: the folder's tokenizer cannot be loaded.
    """

    def __init__(self, entry: Weights, batch_size: int = 256) -> None:
        from ..models.load import load_tokenizer

        self._library, self._folder = library(), Path(entry.model_name_or_path)
        source = _read(self._folder / CONVERTED)
        positions = next((source[name] for name in POSITIONS if source.get(name)), None)
        tokenizer = load_tokenizer(entry)
        super().__init__(tokenizer, batch_size, name=entry.model_name_or_path, positions=positions)
        self.eos = eos_ids(tokenizer, _read(self._folder / "generation_config.json").get("eos_token_id"))
        self._engine: Any = None

    def complete(self, requests: Sequence[Request], prompts: Sequence[list[int]]) -> list[Reply]:
        """What the model writes after each prompt's ids; the requests have one sampling."""
        engine, sampling = self._loaded(requests), requests[0].sampling
        most, step = sampling.max_new_tokens, CHUNK if sampling.stop else sampling.max_new_tokens
        rows: list[list[int]] = [[] for _ in prompts]
        for places in _by_length(prompts):
            for done in range(0, most, step):
                asked = min(step, most - done)
                chunks = self._chunks(engine, [prompts[place] + rows[place] for place in places], done, asked, sampling)
                for place, chunk in zip(places, chunks, strict=True):
                    rows[place] += chunk
                # a row that is shorter has met its end
                places = [p for p in places if len(rows[p]) == done + asked and not self._stops(rows[p], sampling)]
                if not places:
                    break
        return [self._reply(row, len(ids), sampling) for ids, row in zip(prompts, rows, strict=True)]

    def _loaded(self, requests: Sequence[Request]) -> Any:
        """The engine. The library seeds a thread once: what is drawn again must be drawn by new ones."""
        drawn = requests[0].sampling.temperature > 0
        if drawn:
            self._engine = None
            self._library.set_random_seed(int(content_id([request.key for request in requests]), 16) % 2**31)
        if self._engine is None:
            gpus = self._library.get_cuda_device_count()
            try:
                self._engine = self._library.Generator(
                    str(self._folder),
                    device="cuda" if gpus else "cpu",
                    device_index=int(os.environ.get("LOCAL_RANK", "0")) % gpus if gpus else 0,
                )
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise BackendError(f"{self.name}: CTranslate2 cannot load it ({reason}): export it again") from None
        return self._engine

    def _chunks(
        self, engine: Any, known: list[list[int]], done: int, asked: int, sampling: Sampling
    ) -> list[list[int]]:
        """The next tokens of rows of one length, of which `done` are generated."""
        results = engine.generate_batch(
            [self.tokenizer.convert_ids_to_tokens(ids) for ids in known],
            max_length=asked,
            min_length=min(asked, max(0, sampling.min_new_tokens - done)),
            end_token=self.eos,
            include_prompt_in_result=False,
            **_drawn(sampling),
        )
        return [result.sequences_ids[0] for result in results]

    def _stops(self, row: list[int], sampling: Sampling) -> list[int]:
        """Where stop strings stand in a row's text, after the least number of tokens."""
        least = len(self.encoder.decode(row[: sampling.min_new_tokens]))
        return stop_places(self.encoder.decode(row), sampling.stop, least)

    def _reply(self, row: list[int], prompt_tokens: int, sampling: Sampling) -> Reply:
        """The text of one row, without what ended it."""
        finish: Finish = "stop" if len(row) < sampling.max_new_tokens else "length"
        text = self.encoder.decode(row)
        if cuts := self._stops(row, sampling):
            text, finish = text[: min(cuts)], "stop"
            # what was generated after the token that completed the stop string does not count
            lengths = range(len(row) + 1)
            row = row[: bisect.bisect_left(lengths, True, key=lambda n: bool(self._stops(row[:n], sampling)))]
        return Reply(text=text, finish=finish, usage={"prompt_tokens": prompt_tokens, "completion_tokens": len(row)})


def _by_length(prompts: Sequence[list[int]]) -> list[list[int]]:
    """Places of prompts, those of one length together: of others the library counts what it forces as generated."""
    places = range(len(prompts))
    return [[p for p in places if len(prompts[p]) == length] for length in sorted({len(ids) for ids in prompts})]


def _drawn(sampling: Sampling) -> dict[str, Any]:
    """How the library is asked to draw; by default it is greedy."""
    if sampling.temperature == 0:
        return {}
    return {"sampling_topk": 0, "sampling_topp": sampling.top_p, "sampling_temperature": sampling.temperature}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
