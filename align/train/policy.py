"""The one module that is trained: a micro-batch in, log-probabilities of its responses out. Knows no loss.

Either layout gives the same numbers: which one a micro-batch has decides how its tokens go through the model.

Its forward is called once a micro-batch, whatever the loss needs, so that the hooks of DDP and FSDP fire once; the
reference of LoRA training (the same weights, adapters off) is computed inside it.
"""

from typing import Any, Literal, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import BackendError
from ..loss import ResponseLogprobs, response_logprobs
from ..models.layout import Backend, choose_backend, last_hidden, layout_of
from ..models.load import Model
from ..text.collate import GroupBatch
from ..text.plan import LayoutName

SCALES = ("logit_scale", "logits_scaling", "final_logit_softcapping")
"""Settings of other classes that change logits after the head."""


class Output(NamedTuple):
    """What the policy says of a micro-batch."""

    logp: ResponseLogprobs
    reference_N: Tensor | None
    """Log-probabilities of the same tokens with the adapters off, where they were asked for."""


class Policy(nn.Module):
    """A causal language model under training.

    Args:
        model: with or without adapters.
        adapter_off_reference: also compute the log-probabilities with the adapters off.
        backend: how attention runs; `auto` is the fastest that can serve the model.

    Raises:
        BackendError: the backend cannot serve the model, or the head does more than multiply.
    """

    def __init__(
        self, model: Model, *, adapter_off_reference: bool = False, backend: Backend | Literal["auto"] = "auto"
    ) -> None:
        super().__init__()
        self.model = model
        self.adapter_off_reference = adapter_off_reference
        self.backend: Backend = choose_backend(self.causal, backend)
        # read by accelerate: which layers FSDP wraps
        self._no_split_modules = getattr(self.causal, "_no_split_modules", None)
        self._check_head()

    @property
    def causal(self) -> PreTrainedModel:
        """The transformers model, below any adapters."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model  # type: ignore[return-value]

    @property
    def layout(self) -> LayoutName:
        """How micro-batches should be laid out for it."""
        return layout_of(self.backend)

    @property
    def head(self) -> nn.Linear:
        """The output embedding."""
        found: nn.Linear = self.causal.get_output_embeddings()  # type: ignore[no-untyped-call]
        return found

    def forward(self, batch: GroupBatch) -> Output:
        """Log-probabilities of a micro-batch's responses."""
        reference_N = None
        if self.adapter_off_reference:
            assert isinstance(self.model, PeftModel)
            with torch.no_grad(), self.model.disable_adapter():
                reference_N = self._logprobs(batch).token
        return Output(self._logprobs(batch), reference_N)

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Recompute activations in the backward pass; Trainer calls it for `args.activation_checkpointing`."""
        self.causal.activation_checkpointing_enable(activation_checkpointing_kwargs, every_n_layers, offload)
        if isinstance(self.model, PeftModel):
            # the embeddings are frozen: without this no gradient reaches the checkpointed layers
            self.causal.enable_input_require_grads()  # type: ignore[no-untyped-call]

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters under training by name; tied ones once."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def _logprobs(self, batch: GroupBatch) -> ResponseLogprobs:
        return response_logprobs(
            last_hidden(self.causal, batch, self.backend)[batch["predict_N"]],
            self.head.weight,
            batch["targets_N"],
            batch["response_N"],
            responses=len(batch["scores_R"]),
        )

    def _check_head(self) -> None:
        name = type(self.causal).__name__
        if type(self.head) is not nn.Linear or self.head.bias is not None:
            found = type(self.head).__name__
            raise BackendError(
                f"{name}: its output head, a {found}, does more than multiply by a weight: not supported"
            )
        for setting in SCALES:
            if getattr(self.causal.config, setting, None) not in (None, 1, 1.0):
                raise BackendError(f"{name}: its logits are changed by {setting}: not supported")
