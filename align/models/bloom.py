"""Fused attention for BLOOM: ALiBi folded into the head dimension. Training and prefill; other classes need none.

ALiBi as transformers applies it adds slope × (position of the key) to a score. With that product as a further
dimension of the key, and 1 as that of the query, the score of plain causal attention is the biased one, and the
kernels that know no bias serve. Three dimensions hold the product exactly in any type: bfloat16 has 8 bits, so three
parts hold float32's 24. A fourth hides keys of padding.

What has nothing to fuse or needs the weights of attention is left to transformers' own forward: steps after the
prefill, caches of a fixed size, `output_attentions`, `output_hidden_states`.

Shape suffixes: B rows, A heads, T tokens, D head dimension.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BloomForCausalLM, DynamicCache
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.bloom.modeling_bloom import (
    BloomAttention,
    BloomModel,
    _get_alibi_slopes,
    dropout_add,
)

from ..text.collate import Layout
from .grouped import grouped_attention

PARTS = 3
"""bfloat16 numbers that together hold a float32."""
HIDDEN = -(2.0**14)
"""Added to the score of a padded key: its weight underflows to 0, in every type and for the longest rows."""
MULTIPLE = 8
"""What the kernels want a head dimension to be a multiple of."""


class Fold(NamedTuple):
    """What replaces the ALiBi tensor on its way through the layers."""

    query_W: Tensor
    """(W,) further dimensions of every query."""
    key_BATW: Tensor
    """(B, A, T, W) further dimensions of the keys, in bfloat16."""
    layout: Layout | None
    """Of a packed row; None for rows that are causal throughout."""


def fuse(model: BloomForCausalLM) -> None:
    """Give a model fused attention, in place: its parameters, their names and its own class stay."""
    model.transformer.__class__ = FusedBloomModel
    for block in model.transformer.h:
        block.self_attention.__class__ = FusedBloomAttention


def unfuse(model: BloomForCausalLM) -> None:
    """Give it transformers' own attention back."""
    model.transformer.__class__ = BloomModel
    for block in model.transformer.h:
        block.self_attention.__class__ = BloomAttention


def fold(positions_BT: Tensor, visible_BT: Tensor | None, heads: int, head_dim: int, layout: Layout | None) -> Fold:
    """The further dimensions of queries and keys.

    Args:
        positions_BT: of the tokens.
        visible_BT: False where there is padding; None: nowhere.
        heads: A.
        head_dim: D, which the further dimensions bring up to a multiple of 8.
        layout: of a packed row.
    """
    slopes_A = _get_alibi_slopes(heads, positions_BT.device)
    rest_BAT = slopes_A[None, :, None] * positions_BT[:, None, :]
    parts = []
    for _ in range(PARTS):
        parts.append(rest_BAT.bfloat16())
        rest_BAT = rest_BAT - parts[-1].float()
    hidden_BT = torch.zeros_like(positions_BT) if visible_BT is None else ~visible_BT
    parts.append((hidden_BT * HIDDEN)[:, None, :].expand_as(rest_BAT).bfloat16())
    width = -(head_dim + len(parts)) % MULTIPLE + len(parts)
    key_BATW = F.pad(torch.stack(parts, dim=-1), (0, width - len(parts)))
    query_W = (torch.arange(width, device=positions_BT.device) < len(parts)).to(key_BATW.dtype)
    return Fold(query_W, key_BATW, layout)


class FusedBloomModel(BloomModel):  # type: ignore[no-untyped-call]
    """BloomModel whose layers get a `Fold` in place of the ALiBi tensor, and no mask."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        position_ids: Tensor | None = None,
        layout: Layout | None = None,
        **ignored: Any,  # transformers' own forward takes and ignores them too
    ) -> tuple[Tensor, ...] | BaseModelOutputWithPastAndCrossAttentions:
        """transformers' forward, and with `layout` and `position_ids` one over a packed row."""
        cached = self.config.use_cache if use_cache is None else use_cache
        cached = cached and not (self.gradient_checkpointing and self.training)
        whole = past_key_values is None or (
            isinstance(past_key_values, DynamicCache) and not past_key_values.get_seq_length()
        )
        plain = (return_dict is None or return_dict) and self.config.return_dict
        if layout is None and (not whole or not plain or output_attentions or output_hidden_states):
            return super().forward(  # type: ignore[no-any-return]
                input_ids,
                past_key_values=past_key_values,
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                use_cache=use_cache,
                output_attentions=output_attentions,
                output_hidden_states=output_hidden_states,
                return_dict=return_dict,
            )
        embedded = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        cache = (past_key_values or DynamicCache(config=self.config)) if cached else None
        hidden = self.word_embeddings_layernorm(embedded)
        folded = self._fold(hidden, attention_mask, position_ids, layout)
        for block in self.h:
            hidden, _ = block(hidden, layer_past=cache, attention_mask=None, use_cache=cached, alibi=folded)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=self.ln_f(hidden), past_key_values=cache)

    def _fold(self, hidden: Tensor, mask: Tensor | None, position_ids: Tensor | None, layout: Layout | None) -> Fold:
        rows, length, size = hidden.shape
        visible_BT = None
        if layout is not None and position_ids is not None:
            positions_BT = position_ids
        elif mask is None:
            positions_BT = torch.arange(length, device=hidden.device).expand(rows, length)
        else:
            visible_BT = mask.to(hidden.device).bool()
            positions_BT = (visible_BT.cumsum(dim=-1) - 1) * visible_BT
        return fold(positions_BT, visible_BT, self.num_heads, size // self.num_heads, layout)


class FusedBloomAttention(BloomAttention):
    """BloomAttention over a `Fold`; given an ALiBi tensor it is transformers' own."""

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        residual: Tensor,
        alibi: Tensor | Fold,
        attention_mask: Tensor | None,
        layer_past: Cache | None = None,
        use_cache: bool = False,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """transformers' signature; the second output, the weights of attention, is None where they are not made."""
        if isinstance(alibi, Tensor):
            return super().forward(  # type: ignore[no-any-return]
                hidden_states,
                residual,
                alibi,
                attention_mask,  # type: ignore[arg-type]
                layer_past,
                use_cache,
                output_attentions,
            )
        query, key, value = self._reshape(self.query_key_value(hidden_states))
        if layer_past is not None:
            layer_past.update(key, value, self.layer_idx)  # type: ignore[arg-type]
        attended = _folded_attention(
            query * self.inv_norm_factor, key, value, alibi, self.attention_dropout.p if self.training else 0.0
        )
        output = self.dense(attended.transpose(1, 2).flatten(2))
        return dropout_add(output, residual, self.hidden_dropout, self.training), None


def _folded_attention(query: Tensor, key: Tensor, value: Tensor, folded: Fold, dropout: float) -> Tensor:
    """(B, A, T, D) causal attention, of queries that are scaled already."""
    head_dim, width = query.shape[-1], len(folded.query_W)
    query = torch.cat([query, folded.query_W.to(query).expand(*query.shape[:-1], width)], dim=-1)
    key = torch.cat([key, folded.key_BATW.to(key)], dim=-1)
    # values are widened too: the fused kernels want all three of one size
    value = F.pad(value, (0, width))
    if folded.layout is None:
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, scale=1.0)
    else:
        attended = grouped_attention(query, key, value, folded.layout, scaling=1.0, dropout=dropout)
    return attended[..., :head_dim]
