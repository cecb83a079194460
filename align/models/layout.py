"""Backends: how a model runs over each layout of a micro-batch. Chooses one, or says why it cannot serve.

`plain` is the model as it was loaded, on padded rows. `grouped` runs a packed row through `grouped.py`, and `flex`
through `flex.py`, on a GPU and where asked for by `attn_implementation: flex_attention`. The layout travels as an
argument of the decoder's forward, down to the attention function that transformers looks up by name: nothing is
global, and activation checkpointing, which runs a layer again in the backward pass, captures it.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, BloomForCausalLM, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ..errors import BackendError
from ..text.collate import Group, GroupBatch, Layout, Totals, collate, on_device
from ..text.plan import LayoutName
from .bloom import FusedBloomModel
from .flex import FlexLayout
from .grouped import grouped_attention

Backend = Literal["plain", "grouped", "flex"]

INTERFACE = "align_grouped"
"""Our attention function's name in transformers' registry."""
TESTED = (
    "GPTBigCodeForCausalLM",
    "Starcoder2ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)
"""Classes whose equality of both layouts is held by tests; any other is tried on a few tokens first."""
PATTERNS = {"full_attention", "sliding_attention"}
"""Kinds of layers, by `config.layer_types`, that see what `grouped` shows them."""
SETTINGS = ("attn_logit_softcapping", "attention_chunk_size", "use_bidirectional_attention")
"""Settings of other classes that change which scores attention weighs, or how."""


def choose_backend(model: PreTrainedModel, asked: Backend | Literal["auto"] = "auto") -> Backend:
    """Prepare a model for a backend; from then on it serves packed rows as well as padded ones.

    Args:
        model: without adapters around it.
        asked: a backend, or `auto`: `flex` where the model was loaded with `flex_attention`, else `grouped` where it
            can be served by it, else `plain`.

    Returns:
        The backend.

    Raises:
        BackendError: the model cannot be served by the one that was asked for.
    """
    if asked == "plain":
        return "plain"
    if asked == "auto":
        wanted: Backend = "flex" if model.config._attn_implementation == "flex_attention" else "grouped"
    else:
        wanted = asked
    if wanted == "flex" and (cause := _no_flex(model)):
        raise BackendError(f"{type(model).__name__}: the backend 'flex' cannot serve it, {cause}: use 'grouped'")
    fault = _attach(model)
    if fault is None:
        return wanted
    if asked == "auto":
        return "plain"
    raise BackendError(f"{type(model).__name__}: the backend {asked!r} cannot serve it, {fault}: use 'plain'")


def layout_of(backend: Backend) -> LayoutName:
    """The layout that a backend is fastest on."""
    return "plain" if backend == "plain" else "grouped"


def last_hidden(model: PreTrainedModel, batch: GroupBatch, backend: Backend = "grouped") -> Tensor:
    """(R·T, H), or (T, H) for a packed row: the decoder's last hidden states of a micro-batch.

    Args:
        model: prepared by `choose_backend`.
        batch: in either layout.
        backend: what a packed row goes through; a padded one goes through transformers' own attention.

    Raises:
        BackendError: a packed row for a model that was not prepared for it.
    """
    decoder = model.base_model
    if "layout" not in batch:
        states = decoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    else:
        if not is_attached(model):
            raise BackendError(f"{type(model).__name__}: a packed row needs the backend 'grouped'")
        device = batch["input_ids"].device
        states = decoder(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=_no_mask(device),
            use_cache=False,
            layout=FlexLayout(batch["layout"], device) if backend == "flex" else batch["layout"],
        )
    hidden: Tensor = states.last_hidden_state
    return hidden.flatten(0, 1)


def is_attached(model: PreTrainedModel) -> bool:
    """Whether a model serves packed rows."""
    return model.config._attn_implementation == INTERFACE or isinstance(model.base_model, FusedBloomModel)


def _no_flex(model: PreTrainedModel) -> str | None:
    """What keeps a model from FlexAttention."""
    if isinstance(model, BloomForCausalLM):
        return "its ALiBi is folded for other kernels"
    return None if torch.cuda.is_available() else "there is no GPU"


def _no_mask(device: torch.device) -> Tensor:
    """Four dimensions tell transformers that the mask is made already: it builds none of (T × T) tokens."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def _attach(model: PreTrainedModel) -> str | None:
    """Switch a model's attention to ours; or say why not, and leave it as it was."""
    fault = _fault(model)
    if fault is not None or is_attached(model):
        return fault
    own = model.config._attn_implementation
    expected = None if _is_tested(model) else _states(model, "plain")
    model.config._attn_implementation = INTERFACE
    if expected is not None and (fault := _trial(model, expected)):
        model.config._attn_implementation = own
    return fault


def _fault(model: PreTrainedModel) -> str | None:
    """What about a model's class or configuration keeps it from packed rows."""
    config = model.config
    if isinstance(model, BloomForCausalLM):
        fused = isinstance(model.base_model, FusedBloomModel)
        return None if fused else "it has transformers' own attention (`attn_implementation: auto` gives it ours)"
    if not model._supports_attention_backend:
        return "it does not call transformers' attention interface"
    for setting in SETTINGS:
        if getattr(config, setting, None):
            return f"its attention is changed by {setting}"
    others = set(getattr(config, "layer_types", None) or ()) - PATTERNS
    if others:
        return f"it has layers of the kind {min(others)}"
    if not _is_tested(model):
        if getattr(config, "sliding_window", None):
            return "its sliding window was never tested"
        if any(parameter.is_meta or not parameter.numel() for parameter in model.parameters()):
            return "its class was never tested, and its weights are not here to try it"
    return None


def _is_tested(model: PreTrainedModel) -> bool:
    return type(model).__name__ in TESTED


def _trial(model: PreTrainedModel, expected: Tensor) -> str | None:
    """What is wrong with a model's states of a packed row, if they differ from those it had of padded rows."""
    try:
        found = _states(model, "grouped")
    except (BackendError, TypeError) as error:  # it changes its scores; its forward takes no layout
        return str(error)
    distance = (found - expected).norm(dim=1) / expected.norm(dim=1)
    tolerance = 1e-3 if expected.dtype == torch.float32 else 0.1
    return None if bool((distance <= tolerance).all()) else "it says something else of a packed row than of padded ones"


@torch.no_grad()
def _states(model: PreTrainedModel, layout: LayoutName) -> Tensor:
    """(N, H) states that predict the responses of two small groups."""
    ids = [(37 * i + 11) % model.config.vocab_size for i in range(24)]
    groups = [
        Group("", prompt, responses, [0.0] * 2, [False] * 2, [0.0] * 2)
        for prompt, responses in ((ids[:5], [ids[5:9], ids[9:12]]), (ids[12:15], [ids[15:21], ids[21:]]))
    ]
    batch = collate(groups, Totals.of(groups), pad_id=0, layout=layout)
    batch = on_device(batch, model.device)
    training = model.training
    try:
        return last_hidden(model.train(False), batch)[batch["predict_N"]]
    finally:
        model.train(training)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: Layout | FlexLayout | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **ignored: Any,  # transformers hands every attention function what any of them may need
) -> tuple[Tensor, None]:
    """The attention function that transformers calls; its signature is transformers' own.

    Without a layout it is transformers' `sdpa`.

    Raises:
        BackendError: the model changes its scores, or did not hand the layout down.
    """
    name = type(module).__name__
    if softcap is not None or s_aux is not None:
        raise BackendError(f"{name} caps its scores or has attention sinks")
    if layout is None:
        if attention_mask is not None and attention_mask.shape == (1, 1, 1, 1) and query.shape[2] > 1:
            raise BackendError(f"{name} does not receive the layout")
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **ignored
        )
    if isinstance(layout, FlexLayout):
        if dropout:
            raise BackendError("the backend 'flex' has no dropout: use 'grouped', or `disable_dropout: true`")
        packed = layout.attend(query, key, value, scaling=scaling, window=sliding_window)
    else:
        packed = grouped_attention(query, key, value, layout, scaling=scaling, dropout=dropout, window=sliding_window)
    return packed.transpose(1, 2).contiguous(), None


AttentionInterface.register(INTERFACE, _attention)
AttentionMaskInterface.register(INTERFACE, sdpa_mask)
