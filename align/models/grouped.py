"""Causal attention over a packed row: each prompt on itself, each response on its prompt and itself. No model here.

No (T × T) mask and no padding: a token costs what it sees. Shapes: query (1, heads, T, D); key and value
(1, key heads, T, D), where fewer key heads than heads are shared as in grouped-query and multi-query attention.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ..text.collate import Layout


def grouped_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    window: int | None = None,
) -> Tensor:
    """(1, heads, T, D) attention of every token over what stands before it in its own response and prompt.

    Args:
        query: at the tokens of the packed row.
        key: likewise.
        value: likewise.
        layout: lengths of the prompts and responses in the row.
        scaling: of the scores; None: 1/√D.
        dropout: of the attention weights.
        window: positions that a token sees, itself included; None: all.
    """
    attend = partial(_attend, scaling=scaling, dropout=dropout, window=window)
    # a single response goes on where its prompt ends: the two are one causal run
    runs = [(prompt + own[0], ()) if len(own) == 1 else (prompt, own) for prompt, own in layout]
    sizes = [length for prompt, responses in runs for length in (prompt, *responses)]
    # one split: its gradient is one concatenation, while that of each slice would be a row of its own
    queries, keys, values = (iter(torch.split(whole, sizes, dim=2)) for whole in (query, key, value))
    outputs: list[Tensor] = []
    for _, responses in runs:
        prompt_key, prompt_value = next(keys), next(values)
        outputs.append(attend(next(queries), prompt_key, prompt_value))
        for _ in responses:
            own_key, own_value = next(keys), next(values)
            seen = torch.cat([prompt_key, own_key], dim=2), torch.cat([prompt_value, own_value], dim=2)
            outputs.append(attend(next(queries), *seen))
    return torch.cat(outputs, dim=2)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, dropout: float, window: int | None
) -> Tensor:
    """Causal attention of the last n of m positions."""
    n = query.shape[2]
    if not n:
        return query
    attend = partial(_attend, scaling=scaling, dropout=dropout, window=window)
    if window is not None and n > window:
        # block by block, so that a mask is never longer than two windows
        before = attend(query[:, :, :-window], key[:, :, :-window], value[:, :, :-window])
        return torch.cat([before, attend(query[:, :, -window:], key, value)], dim=2)
    if window is not None:
        key, value = key[:, :, -(n + window - 1) :], value[:, :, -(n + window - 1) :]
    m = key.shape[2]
    square = n == m and (window is None or m <= window)
    if not square and not _shares_under_mask(query.device):
        key, value = _repeated(key, query.shape[1]), _repeated(value, query.shape[1])
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if square else _visible(n, m, window, query.device),
        dropout_p=dropout,
        # the kernels' own causal mask is aligned at the first key, so it serves only where n = m
        is_causal=square,
        scale=scaling,
        enable_gqa=key.shape[1] != query.shape[1],
    )


def _shares_under_mask(device: torch.device) -> bool:
    """Whether heads share keys in a kernel that takes a mask: on CUDA only in the one that keeps every score."""
    return device.type != "cuda"


def _repeated(shared: Tensor, heads: int) -> Tensor:
    """(1, heads, m, D) of fewer key heads, each for the heads that share it."""
    return shared.repeat_interleave(heads // shared.shape[1], dim=1) if shared.shape[1] != heads else shared


def _visible(n: int, m: int, window: int | None, device: torch.device) -> Tensor:
    """(n, m) which of m positions each of the last n sees."""
    mask = torch.ones(n, m, dtype=torch.bool, device=device).tril(m - n)
    return mask if window is None else mask.triu(m - n - window + 1)
