"""FlexAttention over a packed row: one compiled kernel for all its groups, on CUDA. Knows no model, and no ALiBi.

Which tokens see which is told block by block, from the group, response and position of each; no (T × T) mask exists.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ..text.collate import Layout

PROMPT = -1
"""In place of a response's number."""


class FlexLayout:
    """The layout of a packed row in the form FlexAttention reads; made once a micro-batch, used by every layer.

    Args:
        layout: lengths of the prompts and responses in the row.
        device: where attention will run.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        tokens = [
            (group, number, position)
            for group, (prompt, responses) in enumerate(layout)
            for number, start, length in [(PROMPT, 0, prompt), *((i, prompt, n) for i, n in enumerate(responses))]
            for position in range(start, start + length)
        ]
        self.group_T, self.response_T, self.position_T = torch.tensor(tokens, device=device).T.contiguous()
        self._masks: dict[int | None, BlockMask] = {}

    def mask(self, window: int | None) -> BlockMask:
        """Which blocks of tokens see which; `window` is the positions that a token sees, itself included."""
        if window not in self._masks:
            self._masks[window] = self._block_mask(window)
        return self._masks[window]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, window: int | None) -> Tensor:
        """(1, heads, T, D) attention, as `grouped_attention` gives it."""
        output: Tensor = _kernel(query.device.type)(
            query,
            key,
            value,
            block_mask=self.mask(window),
            scale=scaling,
            enable_gqa=key.shape[1] != query.shape[1],
        )
        return output

    def _block_mask(self, window: int | None) -> BlockMask:
        group_T, response_T, position_T = self.group_T, self.response_T, self.position_T
        total = len(group_T)

        def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            same = (response_T[key] == PROMPT) | (response_T[key] == response_T[query])
            ahead = position_T[query] - position_T[key]
            visible: Tensor = (group_T[query] == group_T[key]) & same & (ahead >= 0) & (ahead < (window or total))
            return visible

        return create_block_mask(sees, None, None, total, total, device=str(group_T.device))


@cache
def _kernel(device: str) -> Any:
    """Compiled where there is a GPU; elsewhere PyTorch's own slow form of it, which is the one that tests run."""
    return torch.compile(flex_attention) if device == "cuda" else flex_attention
