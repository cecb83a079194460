"""Load a model and its tokenizer: for inference, or as a policy to train, whole or with LoRA. Saves nothing.

Only safetensors are read, and Python that comes with weights only where the entry trusts it. Every dropout is set
to 0 in the configuration before the model is built: three of our classes drop out by function calls that no later
pass over the modules can find. Trainable weights are float32: in bfloat16 a small update is rounded away.
"""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    BloomForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ..errors import BackendError, ConfigError, DataError
from ..text.template import CHAT_TEMPLATES
from .bloom import fuse
from .chain import base_entry, check_folder, read_base
from .denormals import flushed
from .entry import Weights
from .lora import Lora

# a bar for every load and save of a small file hides the run's own
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

Model = PreTrainedModel | PeftModel


@flushed()
def load_model(entry: Weights) -> tuple[Model, PreTrainedTokenizerBase]:
    """A model for inference, on the GPU where there is one, and its tokenizer, which pads on the left.

    Adapters below the last one are merged in memory, in order; the last one stays an adapter, so that logits are
    exactly those of the policy that was saved.

    Raises:
        DataError: the folder lacks something, or its chain of adapters is broken.
        BackendError: a hub id cannot be reached, or a library is missing.
    """
    model = _chain(entry, merge_last=False, disable_dropout=True).eval()
    if torch.cuda.is_available() and not entry.load_in_4bit:
        model.to("cuda")
    tokenizer = load_tokenizer(entry)
    tokenizer.padding_side = "left"
    return model, tokenizer


@flushed()
def load_policy(
    entry: Weights, lora: Lora | None, *, disable_dropout: bool = True
) -> tuple[Model, PreTrainedTokenizerBase]:
    """A model to train and its tokenizer: every weight, or new adapters on frozen weights.

    Adapters that the entry already has are merged into its weights first.

    Raises:
        ConfigError: options that exclude each other.
        DataError, BackendError: as `load_model`.
    """
    name = entry.model_name_or_path
    if entry.dtype == "float16":
        raise ConfigError(f"{name}: dtype float16 overflows in training: write bfloat16 or float32")
    if entry.load_in_4bit and lora is None:
        raise ConfigError(f"{name}: weights in 4 bits cannot be trained: add a `lora:` section")
    if lora and lora.lora_dropout and disable_dropout:
        raise ConfigError("lora_dropout: needs `disable_dropout: false`")
    if lora is None:
        entry = entry.model_copy(update={"dtype": "float32"})
    model = _chain(entry, merge_last=True, disable_dropout=disable_dropout)
    # merging adapters leaves the weights below them frozen
    model = model.requires_grad_(True) if lora is None else _with_adapters(model, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model.train(), load_tokenizer(entry)


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


def _chain(entry: Weights, *, merge_last: bool, disable_dropout: bool) -> Model:
    """The entry's weights, with the adapters on the way merged."""
    folder = Path(entry.model_name_or_path)
    base = read_base(folder) if entry.is_local else None
    if base is None:
        return _whole(entry, disable_dropout=disable_dropout)
    below = base_entry(folder, base, entry)
    if merge_last and below.load_in_4bit:
        raise BackendError(f"{folder}: an adapter cannot be merged into 4-bit weights exactly: merge it into its base")
    model = _chain(below, merge_last=True, disable_dropout=disable_dropout)
    adapted = PeftModel.from_pretrained(model, str(folder))
    return adapted.merge_and_unload() if merge_last else adapted


def _whole(entry: Weights, *, disable_dropout: bool) -> PreTrainedModel:
    if entry.is_local:
        check_folder(Path(entry.model_name_or_path))
    config = fetch(AutoConfig, entry)
    if disable_dropout:
        zero_dropouts(config)
    options: dict[str, Any] = {}
    if entry.load_in_4bit:
        compute = torch.float32 if entry.dtype == "float32" else torch.bfloat16
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute
        )
    model = fetch_weights(AutoModelForCausalLM, entry, config, **options)
    if isinstance(model, BloomForCausalLM) and entry.attn_implementation == "auto":
        fuse(model)
    return model  # type: ignore[no-any-return]


def _with_adapters(model: Model, lora: Lora) -> PeftModel:
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.targets(model.config.model_type),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"lora.target_modules: {str(error).splitlines()[0]}") from None


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
