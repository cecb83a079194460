"""Log-probabilities of responses under a model's last hidden states. Knows nothing of padding, pairs or losses.

Only the positions that predict a response token reach the head, in chunks: the (tokens × vocabulary) matrix never
exists as a whole, neither forward nor backward. Shape suffixes: N response tokens, n those of a chunk, R responses,
H hidden size, V vocabulary.

∂log P(y)/∂hidden = W[y] − Σ_v P(v)·W[v] does not depend on the loss. Where the head is frozen it is built in the
forward pass, two products a chunk, and the backward pass only scales it; where the head is trained the logits are
computed again, since its gradient depends on the loss.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_TOKENS, GPU_CHUNK_TOKENS = 128, 1024
"""Tokens whose logits exist at once. On a CPU fewer make the products slow, and more only take memory; a GPU reads the
whole head for every chunk, and with few tokens it would wait for its memory."""
HEAD_ROWS = 2**14
"""Rows of the head whose gradient exists in half precision before it is added to the whole one, in float32."""


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

    Products are in the head's type, or autocast's where it is on; soft-max, log-sum-exp and the gradient's accumulation
    are float32, or float64 where the head is. Sums are accumulated in float64, so that they do not depend on the order
    of the tokens. There is no second derivative: asking for one is an error.

    Args:
        hidden_NH: hidden states that predict the targets: those of the position before.
        head_VH: the output embedding.
        targets_N: token ids.
        response_N: index, from 0, of the response that each token belongs to.
        chunk: tokens whose logits exist at once; by default `CHUNK_TOKENS`. Changes no result beyond rounding.
        responses: R; by default the largest index + 1.
    """
    device = hidden_NH.device.type
    if chunk is None:
        chunk = CHUNK_TOKENS if device == "cpu" else GPU_CHUNK_TOKENS
    half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    # a Function sees neither autocast nor no_grad as its caller does
    token_N: Tensor = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden_NH, head_VH, targets_N, chunk, half or head_VH.dtype, torch.is_grad_enabled()
    )
    if responses is None:
        responses = int(response_N.max()) + 1 if len(response_N) else 0
    length_R = torch.bincount(response_N, minlength=responses)
    return ResponseLogprobs(sum_by(token_N, response_N, responses), length_R, token_N)


def sum_by(values_N: Tensor, index_N: Tensor, count: int) -> Tensor:
    """(count,) sums of the values that share an index, accumulated in float64."""
    wide = torch.zeros(count, dtype=torch.float64, device=values_N.device)
    return wide.index_add(0, index_N, values_N.double()).to(values_N.dtype)


class _TokenLogprobs(torch.autograd.Function):
    """(N,) log P(target), in float32 or float64; the products are computed in `dtype`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        head_VH: Tensor,
        targets_N: Tensor,
        chunk: int,
        dtype: torch.dtype,
        differentiable: bool,
    ) -> Tensor:
        trained = differentiable and head_VH.requires_grad
        slope_NH = None
        if differentiable and hidden_NH.requires_grad and not trained:
            slope_NH = hidden_NH.new_empty(hidden_NH.shape, dtype=_wide(dtype))
        token_N, norm_N = _logprobs(hidden_NH, head_VH.to(dtype), targets_N, chunk, slope_NH)
        ctx.chunk, ctx.dtype, ctx.trained, ctx.hidden_dtype = chunk, dtype, trained, hidden_NH.dtype
        if trained:
            ctx.save_for_backward(hidden_NH, head_VH, targets_N, norm_N)
        else:
            ctx.save_for_backward(slope_NH)
        return token_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        if not ctx.trained:
            (slope_NH,) = ctx.saved_tensors
            return (slope_NH * grad_N[:, None]).to(ctx.hidden_dtype), None, None, None, None, None
        hidden_NH, head_VH, targets_N, norm_N = ctx.saved_tensors
        grad_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        grad_VH = torch.zeros_like(head_VH, dtype=_wide(ctx.dtype))
        _gradients(hidden_NH, head_VH.to(ctx.dtype), targets_N, norm_N, grad_N, ctx.chunk, grad_NH, grad_VH)
        return grad_NH, grad_VH.to(head_VH.dtype), None, None, None, None


def _logprobs(
    hidden_NH: Tensor, head_VH: Tensor, targets_N: Tensor, chunk: int, slope_NH: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(N,) log P(target) and (N,) log-sum-exp; `slope_NH`, if given, is filled with ∂log P/∂hidden."""
    norm_N = hidden_NH.new_empty(len(targets_N), dtype=_wide(head_VH.dtype))
    token_N = torch.empty_like(norm_N)
    for part, logits_nV in _chunks(hidden_NH, head_VH, chunk):
        targets_n = targets_N[part]
        label_n = logits_nV.gather(1, targets_n[:, None]).squeeze(1)
        top_n = logits_nV.amax(1)
        # not normalised: dividing (n, H) below is cheaper than (n, V) here
        total_n = logits_nV.sub_(top_n[:, None]).exp_().sum(1)
        norm_N[part] = top_n + total_n.log()
        token_N[part] = label_n - norm_N[part]
        if slope_NH is not None:
            mean_nH = _product(logits_nV.to(head_VH.dtype), head_VH, slope_NH[part])
            mean_nH.div_(-total_n[:, None]).add_(head_VH[targets_n])
    return token_N, norm_N


def _gradients(
    hidden_NH: Tensor,
    head_VH: Tensor,
    targets_N: Tensor,
    norm_N: Tensor,
    grad_N: Tensor,
    chunk: int,
    grad_NH: Tensor | None,
    grad_VH: Tensor,
) -> None:
    """Fill `grad_NH` and add to `grad_VH`, from the log-sum-exp of the forward pass."""
    for part, logits_nV in _chunks(hidden_NH, head_VH, chunk):
        grad_n = grad_N[part, None]
        slope_nV = logits_nV.sub_(norm_N[part, None]).exp_().mul_(-grad_n)
        slope_nV = slope_nV.scatter_add_(1, targets_N[part, None], grad_n).to(head_VH.dtype)
        if grad_NH is not None:
            _product(slope_nV, head_VH, grad_NH[part])
        hidden_nH = hidden_NH[part].to(head_VH.dtype)
        if grad_VH.dtype == slope_nV.dtype:
            grad_VH.addmm_(slope_nV.T, hidden_nH)
            continue
        for start in range(0, len(grad_VH), HEAD_ROWS):
            rows = slice(start, start + HEAD_ROWS)
            grad_VH[rows] += slope_nV[:, rows].T @ hidden_nH


def _chunks(hidden_NH: Tensor, head_VH: Tensor, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Places in N and the logits (n, V) there, in one buffer that every chunk overwrites."""
    count = len(hidden_NH)
    buffer_nV = hidden_NH.new_empty(min(chunk, count), len(head_VH), dtype=_wide(head_VH.dtype))
    for start in range(0, count, chunk):
        part = slice(start, min(start + chunk, count))
        yield part, _product(hidden_NH[part].to(head_VH.dtype), head_VH.T, buffer_nV[: part.stop - start])


def _product(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """left @ right in `out`, which may be of a wider type."""
    return torch.mm(left, right, out=out) if out.dtype == left.dtype else out.copy_(left @ right)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
