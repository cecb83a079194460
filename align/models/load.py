"""Load a model and its tokenizer: for inference, or as a policy to train, whole or with LoRA. Saves nothing.

Only safetensors are read, and Python that comes with weights only where the entry trusts it. Every dropout is set
to 0 in the configuration before the model is built: three of our classes drop out by function calls that no later
pass over the modules can find. Trainable weights are float32: in bfloat16 a small update is rounded away.
"""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ..errors import BackendError, ConfigError, DataError, suggest
from ..text.template import CHAT_TEMPLATES
from .bloom import fuse
from .chain import base_entry, check_folder, is_converted, read_base, root
from .denormals import flushed
from .entry import Weights
from .fold import melt, settle
from .gptq import loading, quantised_by
from .launcher import check_trainable, local_rank
from .lora import Lora
from .quantise import is_quantised, quantisation, steady

# a bar for every load and save of a small file hides the run's own
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

Model = PreTrainedModel | PeftModel

_CONTINUED = "_align_continued"


@flushed()
def load_model(entry: Weights) -> tuple[Model, PreTrainedTokenizerBase]:
    """A model for inference, on the GPU where there is one, and its tokenizer, which pads on the left.

    Adapters below the last one are settled in memory, in order; the last one stays an adapter, so that logits are
    exactly those of the policy that was saved.

    Raises:
        ConfigError: it is asked for in other bits than its adapter was trained on.
        DataError: the folder lacks something, or its chain of adapters is broken.
        BackendError: a hub id cannot be reached, or a library is missing.
    """
    model = _chain(entry, disable_dropout=True).eval()
    if torch.cuda.is_available() and not is_quantised(model):
        model.to("cuda")
    tokenizer = load_tokenizer(entry)
    tokenizer.padding_side = "left"
    return model, tokenizer


@flushed()
def load_policy(
    entry: Weights, lora: Lora | None, *, disable_dropout: bool = True
) -> tuple[Model, PreTrainedTokenizerBase]:
    """A model to train and its tokenizer: every weight, new adapters on frozen weights, or the entry's own adapter.

    Adapters that the entry already has are merged into its weights, or stay beside them where merging would round
    them; with `lora: {continue: true}` the last one is trained further. Every weight of a chain on quantised weights
    is trained from what the quantised ones stand for.

    Raises:
        ConfigError: options that exclude each other, or that the launcher excludes.
        DataError, BackendError: as `load_model`.
    """
    if lora and lora.lora_dropout and disable_dropout:
        raise ConfigError("lora_dropout: needs `disable_dropout: false`")
    check_trainable(entry if lora is None else root(entry), adapters=lora is not None)
    if lora is None:
        # whole weights are read as they are in the file; those of a chain as its adapters were trained on
        exact = entry.model_copy(update={"dtype": "float32"})
        model: Model = whole(exact, disable_dropout=disable_dropout).requires_grad_(True)
    elif lora.continues:
        model = _continued(entry, lora, disable_dropout=disable_dropout)
    else:
        below = _chain(entry, disable_dropout=disable_dropout)
        model = _with_adapters(settle(below) if isinstance(below, PeftModel) else below, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model.train(), load_tokenizer(entry)


def whole(
    entry: Weights, *, disable_dropout: bool = True, dtype: torch.dtype | None = torch.float32
) -> PreTrainedModel:
    """The entry's model with its adapters summed into whole weights, also where they stand on quantised ones.

    Args:
        entry: whole weights or a chain of adapters.
        disable_dropout: build it without any dropout.
        dtype: of the weights, rounded to once, after the sum; None: that of the frozen weights.

    Raises:
        DataError, BackendError: as `load_model`.
    """
    model = _chain(entry, disable_dropout=disable_dropout, keep=True)
    return melt(settle(model, keep=True) if isinstance(model, PeftModel) else model, dtype)


def continued(model: Model) -> Weights | None:
    """The weights that a policy's adapter stands on, where it was trained before; None for any other policy."""
    return getattr(model, _CONTINUED, None)


def load_tokenizer(entry: Weights) -> PreTrainedTokenizerBase:
    """The tokenizer of an entry; a missing pad token is filled with the EOS, which stays a target.

    Raises:
        DataError, BackendError: as `load_model`.
    """
    tokenizer = fetch(AutoTokenizer, entry)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if entry.chat_template is not None:
        tokenizer.chat_template = CHAT_TEMPLATES.get(entry.chat_template, entry.chat_template)
    return tokenizer  # type: ignore[no-any-return]


def zero_dropouts(config: PreTrainedConfig) -> None:
    """Set every dropout of a configuration, and of those inside it, to 0."""
    for name, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            zero_dropouts(value)
        elif "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, 0.0)


def _chain(entry: Weights, *, disable_dropout: bool, keep: bool = False) -> Model:
    """The entry's weights, with the adapters below its last one settled."""
    folder = Path(entry.model_name_or_path)
    base = read_base(folder) if entry.is_local else None
    if base is None:
        return _whole(entry, disable_dropout=disable_dropout)
    model = _chain(base_entry(folder, base, entry), disable_dropout=disable_dropout, keep=keep)
    below = settle(model, keep=keep) if isinstance(model, PeftModel) else model
    return PeftModel.from_pretrained(below, str(folder))


def _whole(entry: Weights, *, disable_dropout: bool) -> PreTrainedModel:
    if entry.is_local:
        check_folder(Path(entry.model_name_or_path))
    if is_converted(Path(entry.model_name_or_path)):
        raise ConfigError(f"{entry.model_name_or_path}: is converted for CTranslate2, which only generates")
    config = fetch(AutoConfig, entry)
    if disable_dropout:
        zero_dropouts(config)
    options: dict[str, Any] = {}
    if entry.is_quantised:
        if method := quantised_by(config):
            raise ConfigError(
                f"{entry.model_name_or_path}: its weights are quantised already ({method}): leave load_in_4bit and "
                "load_in_8bit out"
            )
        options["quantization_config"] = quantisation(entry)
        if torch.cuda.is_available():
            # without it every process of a machine would load onto the first GPU
            options["device_map"] = {"": local_rank()}
    with loading(config):
        model = fetch_weights(AutoModelForCausalLM, entry, config, **options)
    steady(model)
    if isinstance(model, BloomForCausalLM) and entry.attn_implementation == "auto":
        fuse(model)
    return model  # type: ignore[no-any-return]


def _with_adapters(model: PreTrainedModel, lora: Lora) -> PeftModel:
    targets = lora.targets(model.config.model_type)
    if not isinstance(targets, str):
        _check_targets(model, targets)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"lora.target_modules: {str(error).splitlines()[0]}") from None


def _check_targets(model: PreTrainedModel, targets: list[str]) -> None:
    """Refuse a name that no linear layer ends with; peft refuses only where all of them are such."""
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            known = {name.rpartition(".")[2] for name in layers}
            raise ConfigError(f"lora.target_modules: no linear layer is called {target!r}: {suggest(target, known)}")


def _continued(entry: Weights, lora: Lora, *, disable_dropout: bool) -> PeftModel:
    folder = Path(entry.model_name_or_path)
    base = read_base(folder) if entry.is_local else None
    if base is None:
        raise ConfigError(f"lora.continue: {folder} holds no adapter: leave `continue` out for a new one")
    below = base_entry(folder, base, entry)
    model = _chain(below, disable_dropout=disable_dropout)
    config = PeftConfig.from_pretrained(str(folder))
    config.lora_dropout, config.inference_mode = lora.lora_dropout, False
    adapted = PeftModel.from_pretrained(
        settle(model) if isinstance(model, PeftModel) else model, str(folder), is_trainable=True, config=config
    )
    setattr(adapted, _CONTINUED, below)
    return adapted


def fetch_weights(kind: Any, entry: Weights, config: Any, **options: Any) -> Any:
    """The model of an entry, of an auto class, with the entry's attention and type.

    Raises:
        DataError: weights of its class are missing, which would be drawn at random.
    """
    if entry.attn_implementation != "auto":
        options["attn_implementation"] = entry.attn_implementation
    elif not torch.cuda.is_available():
        # measured on a CPU: under bf16 autocast twice as fast as sdpa, in float32 as fast
        options["attn_implementation"] = "eager"
    dtype = entry.dtype if entry.dtype == "auto" else getattr(torch, entry.dtype)
    model, info = fetch(
        kind, entry, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
    )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise DataError(f"{entry.model_name_or_path}: lacks {len(missing)} weights of its class, such as {missing[0]}")
    return model


def fetch(kind: Any, entry: Weights, **options: Any) -> Any:
    """`kind.from_pretrained` of an entry, with one line for what can go wrong."""
    name = entry.model_name_or_path
    try:
        return kind.from_pretrained(name, revision=entry.revision, trust_remote_code=entry.trust_remote_code, **options)
    except ImportError as error:
        raise BackendError(f"{name}: {str(error).strip().splitlines()[0]}") from None
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if entry.is_local:
            raise DataError(f"{name}: cannot be loaded ({reason})") from None
        raise BackendError(
            f"{name}: no folder here, and cannot be loaded from the hub ({reason}): go online or give a folder"
        ) from None
