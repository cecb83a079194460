"""Batched generation with transformers weights in this process.

Sampling is by inverse CDF, with one uniform number a token from a generator of the request's own: no global random
state, the same noise on every device and in every batch. Prompts and batches are `batched`'s, several processes
`ranks`'. Does not serve.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from ..models.denormals import flushed
from ..models.entry import Weights
from ..models.load import load_model
from ..schema import Finish
from .batched import Batched, eos_ids, stop_places
from .request import Reply, Request, Sampling


class HfGenerator(Batched):
    """Generates with a causal language model.

    Args:
        model: a transformers model for causal language modelling, in eval mode, on its device.
        tokenizer: its tokenizer.
        batch_size: sequences generated at once; it decides the padding, and with it the last bits of the logits.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 256) -> None:
        # ALiBi models have no such limit
        positions = getattr(model.config, "max_position_embeddings", None)
        super().__init__(tokenizer, batch_size, name=model.name_or_path or "the model", positions=positions)
        self.model = model
        self.eos = eos_ids(tokenizer, model.generation_config.eos_token_id)
        self.pad: int = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        # a checkpoint's own defaults, such as a repetition penalty, would change what was asked for
        own = GenerationConfig(eos_token_id=self.eos, pad_token_id=self.pad)  # type: ignore[no-untyped-call]
        model.generation_config = own

    def complete(self, requests: Sequence[Request], prompts: Sequence[list[int]]) -> list[Reply]:
        """What the model writes after each prompt's ids; the requests have one sampling."""
        sampling = requests[0].sampling
        width = max(len(ids) for ids in prompts)
        input_ids = torch.tensor([[self.pad] * (width - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        device = self.model.device
        with torch.inference_mode(), flushed():
            output_ids = self.model.generate(
                input_ids=input_ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=sampling.max_new_tokens,
                min_new_tokens=sampling.min_new_tokens or None,
                do_sample=False,
                use_cache=True,
                logits_processor=LogitsProcessorList(_samplers(requests, width, device)),
                stopping_criteria=StoppingCriteriaList(self._stoppers(sampling, width)),
            )
        rows = output_ids[:, width:].tolist()
        return [self._reply(row, len(ids), sampling) for ids, row in zip(prompts, rows, strict=True)]

    def _stoppers(self, sampling: Sampling, width: int) -> list[StoppingCriteria]:
        least = sampling.min_new_tokens
        return [StopStrings(sampling.stop, self.encoder.decode, width, least)] if sampling.stop else []

    def _reply(self, row: list[int], prompt_tokens: int, sampling: Sampling) -> Reply:
        """The text of one generated row, without what ended it."""
        end = next((place for place, token in enumerate(row) if token in self.eos), None)
        finish: Finish = "length" if end is None else "stop"
        ids = row[:end]
        text = self.encoder.decode(ids)
        cuts = stop_places(text, sampling.stop, len(self.encoder.decode(ids[: sampling.min_new_tokens])))
        if cuts:
            text, finish = text[: min(cuts)], "stop"
            # rows that a stop string ended are padded while the others go on
            while ids and ids[-1] == self.pad:
                ids.pop()
        return Reply(text=text, finish=finish, usage={"prompt_tokens": prompt_tokens, "completion_tokens": len(ids)})


class InverseCdf(LogitsProcessor):
    """Draws the next token: the first whose cumulative probability exceeds a given uniform number.

    Every other token's logit becomes −inf, so that the greedy choice that follows is the draw.

    Args:
        uniform_BT: a number in [0, 1) for each row and step, float64.
        temperature: divides the logits.
        top_p: the smallest set of likeliest tokens with this mass is drawn from.
        width: length of the padded prompts.
    """

    def __init__(self, uniform_BT: Tensor, temperature: float, top_p: float, width: int) -> None:
        self.uniform_BT, self.temperature, self.top_p, self.width = uniform_BT, temperature, top_p, width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits `[B, V]` with one finite entry a row."""
        # float64: in float32 the cumulative sum over a large vocabulary is off by more than a rare token's share
        probs_BV = (scores.double() / self.temperature).softmax(-1)
        if self.top_p < 1:
            probs_BV = nucleus(probs_BV, self.top_p)
        cdf_BV = probs_BV.cumsum(-1)
        drawn_B1 = self.uniform_BT[:, input_ids.shape[1] - self.width, None] * cdf_BV[:, -1:]
        token_B1 = torch.searchsorted(cdf_BV, drawn_B1, right=True).clamp_(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(-1, token_B1, 0.0)


def nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    """The probabilities, zero outside of the smallest set of likeliest tokens whose mass reaches `top_p`."""
    sorted_BV, order_BV = probs_BV.sort(stable=True, dim=-1, descending=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    return torch.zeros_like(probs_BV).scatter_(-1, order_BV, sorted_BV * (before_BV < top_p))


class StopStrings(StoppingCriteria):
    """Ends a row once its text has a stop string after `least` tokens. The text is cut afterwards."""

    def __init__(self, stops: Sequence[str], decode: Callable[[list[int]], str], width: int, least: int = 0) -> None:
        self.stops, self.decode, self.width, self.least = stops, decode, width, least
        # a token has at least one byte, so this many last tokens hold any stop string that the newest one completes
        self.reach = max(len(stop.encode()) for stop in stops) + 1

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Which rows are done, `[B]`."""
        begin = max(self.width, input_ids.shape[1] - self.reach)
        # of the tail, what may not end the row yet
        early = max(0, self.width + self.least - begin)
        tails = input_ids[:, begin:].tolist()
        done = [bool(stop_places(self.decode(ids), self.stops, len(self.decode(ids[:early])))) for ids in tails]
        return torch.tensor(done, device=input_ids.device)


def uniforms(request: Request) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One number in [0, 1) for each token of a request's reply, from the request's content and seed alone."""
    key = np.array([request.seed % 2**64, int(request.key, 16)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(request.sampling.max_new_tokens)


def load_hf(entry: Weights, batch_size: int) -> HfGenerator:
    """Weights on the GPU of this process's own, which a launcher numbers, or on the CPU.

    Raises:
        DataError, BackendError: as `align.models.load.load_model`.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return HfGenerator(*load_model(entry), batch_size)


def _samplers(requests: Sequence[Request], width: int, device: Any) -> list[LogitsProcessor]:
    sampling = requests[0].sampling
    if sampling.temperature == 0:
        return []
    uniform_BT = torch.from_numpy(np.stack([uniforms(request) for request in requests])).to(device)
    return [InverseCdf(uniform_BT, sampling.temperature, sampling.top_p, width)]
