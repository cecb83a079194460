"""Log-probabilities of responses under a model's last hidden states. Knows nothing of padding, pairs or losses.

Only the positions that predict a response token reach the head, in chunks: the (tokens × vocabulary) matrix never
exists as a whole. Shape suffixes: N response tokens, R responses, H hidden size, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_LOGITS = 2**24
"""Logits held at once by default: 64 MiB in float32."""


class ResponseLogprobs(NamedTuple):
    """What a model says of R responses."""

    sum: Tensor
    """(R,) Σ_t log P(y_t | x, y_<t), over response tokens only."""
    length: Tensor
    """(R,) response tokens, EOS included."""
    token: Tensor
    """(N,) the log-probabilities that were summed."""


def response_logprobs(
    hidden_NH: Tensor,
    head_VH: Tensor,
    targets_N: Tensor,
    response_N: Tensor,
    *,
    chunk: int | None = None,
    responses: int | None = None,
) -> ResponseLogprobs:
    """Log-probabilities of the target tokens, and their sums by response.

    The log-sum-exp is float32 whatever the type of the hidden states; sums are accumulated in float64, so that
    they do not depend on the order of the tokens. With several chunks each is recomputed in the backward pass.

    Args:
        hidden_NH: hidden states that predict the targets: those of the position before.
        head_VH: the output embedding.
        targets_N: token ids.
        response_N: index, from 0, of the response that each token belongs to.
        chunk: tokens whose logits exist at once; by default as many as `CHUNK_LOGITS` allows.
        responses: R; by default the largest index + 1.
    """
    count, size = len(targets_N), chunk or max(1, CHUNK_LOGITS // len(head_VH))
    if count <= size:
        token_N = _token_logprobs(hidden_NH, head_VH, targets_N)
    else:
        parts = [
            checkpoint(
                _token_logprobs,
                hidden_NH[start : start + size],
                head_VH,
                targets_N[start : start + size],
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for start in range(0, count, size)
        ]
        token_N = torch.cat(parts)
    if responses is None:
        responses = int(response_N.max()) + 1 if count else 0
    length_R = torch.bincount(response_N, minlength=responses)
    return ResponseLogprobs(sum_by(token_N, response_N, responses), length_R, token_N)


def sum_by(values_N: Tensor, index_N: Tensor, count: int) -> Tensor:
    """(count,) sums of the values that share an index, accumulated in float64."""
    wide = torch.zeros(count, dtype=torch.float64, device=values_N.device)
    return wide.index_add(0, index_N, values_N.double()).to(values_N.dtype)


def _token_logprobs(hidden_NH: Tensor, head_VH: Tensor, targets_N: Tensor) -> Tensor:
    logits_NV = hidden_NH.to(head_VH.dtype) @ head_VH.T
    if logits_NV.dtype in (torch.bfloat16, torch.float16):
        logits_NV = logits_NV.float()
    return logits_NV.gather(1, targets_N[:, None]).squeeze(1) - logits_NV.logsumexp(dim=1)
