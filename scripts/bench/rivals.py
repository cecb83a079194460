"""One training step, forward and backward, as we do it and as others do: trl, RRHF, eager attention. Measures nothing.

Every contender has adapters of its own on the same frozen weights, and the same token ids. `trl` is trl's own
`training_step`; `trl_compact` the same with the switch on that trl turns on for CUDA alone, so that only completion
tokens reach the head. `rrhf` repeats the prompt and makes all logits, as RRHF's trainer does; the loss on top is ours.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

import datasets
import torch
import trl
from huggingface_hub import constants
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from transformers import BloomForCausalLM
from trl.trainer import utils
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from align.loss import ResponseLogprobs
from align.loss.logprob import sum_by
from align.models.bloom import fuse
from align.models.tiny import train_tokenizer
from align.text.collate import Group, Totals, collate, on_device
from align.text.plan import LayoutName
from align.train.objective import objective
from align.train.policy import Output, Policy
from align.train.settings import Dpo, Rrtf

# trl reports every trainer that is made
constants.HF_HUB_DISABLE_TELEMETRY = True
datasets.disable_progress_bars()

Loss = Literal["sft", "dpo", "rrtf"]
OBJECTIVES = {
    "sft": objective(None),
    "dpo": objective(Dpo(name="dpo")),
    "rrtf": objective(Rrtf(name="rrtf")),
}
IGNORED, PAD = -100, 0


@dataclass
class Contender:
    """One way to take the step."""

    model: PeftModel
    """With gradients of the adapters after `step`."""
    forward_backward: Callable[[], Tensor]
    """Returns the loss."""

    def step(self) -> Tensor:
        """Take the step on cleared gradients."""
        self.model.zero_grad(set_to_none=True)
        return self.forward_backward().detach()

    def gradients(self) -> dict[str, Tensor]:
        """Of the adapters, by name."""
        named = self.model.named_parameters()
        return {name: value.grad.clone() for name, value in named if value.grad is not None}


def ours(
    model: PeftModel,
    groups: Sequence[Group],
    loss: Loss,
    layout: LayoutName,
    *,
    reference_file: bool = False,
    fused: bool = True,
) -> Contender:
    """Our policy, loss and gradient of one micro-batch.

    Args:
        model: a twin of its own.
        groups: the step's.
        loss: what it is trained for.
        layout: how the groups are laid out.
        reference_file: the reference's log-probabilities are known beforehand.
        fused: a BLOOM has our attention, as `align.models.load` gives it.
    """
    causal = model.get_base_model()
    if fused and isinstance(causal, BloomForCausalLM):
        fuse(causal)
    policy = Policy(model, adapter_off_reference=loss == "dpo", backend=layout)
    batch = on_device(collate(groups, Totals.of(groups), pad_id=PAD, layout=layout), model.device)
    if reference_file:
        with torch.no_grad(), _autocast(model):
            batch["reference_N"] = policy(batch).reference_N
        policy.adapter_off_reference = False

    def forward_backward() -> Tensor:
        with _autocast(model):
            found = OBJECTIVES[loss](policy(batch), batch).loss
        found.backward()
        return found

    return Contender(model, forward_backward)


def rrhf(model: PeftModel, groups: Sequence[Group], loss: Loss, *, all_positions: bool = True) -> Contender:
    """The prompt before each response, logits of every position, log-softmax, a copy, gather.

    Args:
        model: a twin of its own.
        groups: the step's.
        loss: `rrtf` or `sft`.
        all_positions: False makes logits of response tokens only, where those of all positions do not fit in memory.
    """
    batch = on_device(collate(groups, Totals.of(groups), pad_id=PAD, layout="plain"), model.device)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    causal = model.get_base_model()

    def forward_backward() -> Tensor:
        with _autocast(model):
            if all_positions:
                logps = functional.log_softmax(model(**inputs, use_cache=False).logits, dim=-1).clone()
                token_N = logps.flatten(0, 1)[batch["predict_N"], batch["targets_N"]]
            else:
                hidden = causal.base_model(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)
                logits = causal.get_output_embeddings()(hidden[batch["predict_N"]])
                token_N = functional.log_softmax(logits, dim=-1).gather(1, batch["targets_N"][:, None]).squeeze(1)
            length_R = torch.bincount(batch["response_N"])
            logp = ResponseLogprobs(sum_by(token_N, batch["response_N"], len(length_R)), length_R, token_N)
            found = OBJECTIVES[loss](Output(logp, None), batch).loss
        found.backward()
        return found

    return Contender(model, forward_backward)


def of_trl(model: PeftModel, groups: Sequence[Group], loss: Loss, *, compact: bool) -> Contender:
    """trl's step on one batch of the same rows.

    Args:
        model: a twin of its own; trl changes its forward.
        groups: the step's.
        loss: `sft` or `dpo`.
        compact: only completion tokens reach the head, as on CUDA.
    """
    trainer, batch = _dpo(model, groups) if loss == "dpo" else _sft(model, groups)
    trainer.current_gradient_accumulation_steps = 1

    def forward_backward() -> Tensor:
        switch: AbstractContextManager[Any] = (
            patch.object(utils, "_use_triton", lambda device: True) if compact else nullcontext()
        )
        with switch:
            found: Tensor = trainer.training_step(model, dict(batch))
        return found

    return Contender(model, forward_backward)


def _dpo(model: PeftModel, groups: Sequence[Group]) -> tuple[Any, dict[str, Tensor]]:
    examples = [
        {"prompt_ids": group.prompt, "chosen_ids": group.responses[0], "rejected_ids": group.responses[1]}
        for group in groups
    ]
    # its data set is not used
    unread = datasets.Dataset.from_dict({name: [""] for name in ("prompt", "chosen", "rejected")})
    trainer = trl.DPOTrainer(
        model, args=trl.DPOConfig(**_arguments(model)), train_dataset=unread, processing_class=_tokenizer()
    )
    # a copy of the adapters as they are: our reference is the model without any, as trl has it for new ones
    model.delete_adapter("ref")
    return trainer, DataCollatorForPreference(pad_token_id=PAD)(examples)


def _sft(model: PeftModel, groups: Sequence[Group]) -> tuple[Any, dict[str, Tensor]]:
    examples = [
        {
            "input_ids": group.prompt + group.responses[0],
            "labels": [IGNORED] * len(group.prompt) + group.responses[0],
        }
        for group in groups
    ]
    trainer = trl.SFTTrainer(
        model,
        args=trl.SFTConfig(**_arguments(model)),
        train_dataset=datasets.Dataset.from_list(examples),
        processing_class=_tokenizer(),
    )
    return trainer, DataCollatorForLanguageModeling(pad_token_id=PAD)(examples)


def _arguments(model: PeftModel) -> dict[str, Any]:
    """Without activation checkpointing, which nobody here uses."""
    on_gpu = model.device.type == "cuda"
    return {
        # it must be there; nothing is written
        "output_dir": tempfile.gettempdir(),
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        "activation_checkpointing": False,
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _tokenizer() -> Any:
    """Some tokenizer whose pad is 0 and whose end is 1."""
    return train_tokenizer(["a"], 258)


def _autocast(model: PeftModel) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if model.device.type == "cuda" else nullcontext()
