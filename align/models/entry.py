"""What stands under `models:` in a recipe: weights, an endpoint, or the offline stand-in. Torch-free."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..config import ENVIRONMENT, Section, bad_key
from ..errors import suggest
from ..text.template import CHAT_TEMPLATES

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
Engine = Literal["hf", "vllm"]
QuantType = Literal["nf4", "fp4"]
Compute = Literal["float32", "bfloat16", "float16"]
Storage = Literal["uint8", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]


class Entry(Section):
    """Base of the three kinds of model."""


class Weights(Entry):
    """A transformers model, by folder or hub id. Keys are transformers' own."""

    model_name_or_path: str
    """A folder or a hub id. A folder that a training stage left may hold an adapter and its `base.json`."""
    revision: str | None = None
    """Hub revision."""
    dtype: Dtype = "float32"
    """Type of the frozen weights; trainable ones are float32."""
    load_in_4bit: bool = False
    """Quantise the frozen weights to 4 bits (bitsandbytes); trained only with `lora`."""
    load_in_8bit: bool = False
    """Quantise them to 8 bits; trained only with `lora`."""
    bnb_4bit_quant_type: QuantType = "nf4"
    """The sixteen values of 4 bits."""
    bnb_4bit_use_double_quant: bool = True
    """Quantise the scales of the blocks too, as QLoRA does: 0.4 bits a weight less (transformers' default: false)."""
    bnb_4bit_compute_dtype: Compute | None = None
    """Type in which 4-bit layers multiply; None: float32 where `dtype` is, else bfloat16."""
    bnb_4bit_quant_storage: Storage = "uint8"
    """Type that 4-bit weights are kept as; changes no result. FSDP shards them only in the type of `dtype`."""
    attn_implementation: Attention = "auto"
    """How attention is computed, by transformers' names. `auto`: our fused one for BLOOM, of which transformers knows
    only `eager`; for other classes what is fastest here. Changes results by rounding only."""
    trust_remote_code: bool = False
    """Run Python that comes with the weights. Off unless you have read it."""
    engine: Engine = "hf"
    """What generates with it: `hf`, transformers in this process; `vllm`, vLLM's offline engine (extra `[vllm]`)."""
    chat_template: str | None = None
    """For bases that have none: a name (`zephyr`), or Jinja text."""

    @field_validator("chat_template")
    @classmethod
    def _template_is_one(cls, text: str | None) -> str | None:
        if text is not None and "{" not in text and text not in CHAT_TEMPLATES:
            raise bad_key("chat_template", f"no template {text!r} and no Jinja text: {suggest(text, CHAT_TEMPLATES)}")
        return text

    @model_validator(mode="after")
    def _bits_fit(self) -> "Weights":
        if self.load_in_4bit and self.load_in_8bit:
            raise bad_key("load_in_8bit", "excludes load_in_4bit: write one of them")
        for name, field in type(self).model_fields.items():
            if name.startswith("bnb_4bit") and not self.load_in_4bit and getattr(self, name) != field.default:
                raise bad_key(name, "means nothing without load_in_4bit: true")
        return self

    @property
    def is_quantised(self) -> bool:
        """Whether the entry itself asks for 4 or 8 bits."""
        return self.load_in_4bit or self.load_in_8bit

    @property
    def compute_dtype(self) -> Compute:
        """Type in which 4-bit layers multiply."""
        return self.bnb_4bit_compute_dtype or ("float32" if self.dtype == "float32" else "bfloat16")

    @property
    def is_local(self) -> bool:
        """Whether the weights are a folder here."""
        return Path(self.model_name_or_path).is_dir()


class Endpoint(Entry):
    """A model behind an OpenAI-compatible server."""

    base_url: str | list[str]
    """Address of the API, or of several replicas. `${NAME}` reads the environment."""
    model: str
    """The server's name for the model."""
    api_key: str | None = None
    """`${NAME}`: the environment variable that holds the key. A literal key is refused."""
    max_concurrency: int = Field(default=32, gt=0)
    """Most requests in flight at once, at each address; fewer while the server says that it is too many."""
    request_timeout: float = Field(default=600.0, gt=0)
    """Seconds that one try of a request may take."""
    total_timeout: float = Field(default=3600.0, gt=0)
    """Seconds that a request may take with all its tries and the waiting between them."""
    max_retries: int = Field(default=8, ge=0)
    """Further tries of a request that failed in a way that may pass: too many requests, server errors, resets,
    time-outs, answers that are damaged."""
    allowed_failures: float = Field(default=0.01, ge=0, le=1)
    """Share of the requests that may stay without an answer; they are counted. With more the run stops."""
    max_requests: int | None = Field(default=None, gt=0)
    """Hard limit on the tries sent in a run, over all its stages and restarts."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Hard limit on tokens in a run, those of prompts and of answers together."""
    max_cost: float | None = Field(default=None, gt=0)
    """Hard limit on cost in a run, in the currency of the prices; needs `price_per_million`."""
    price_per_million: dict[Literal["prompt", "completion"], float] | None = None
    """Price of a million tokens: `{prompt: 0.15, completion: 0.6}`."""
    token_limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the longest answer."""
    send_seed: bool = True
    """Send a seed with every request; some servers refuse it."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Sent with every request: `{top_k: 20}`, `{chat_template_kwargs: {enable_thinking: false}}`."""

    @field_validator("api_key")
    @classmethod
    def _from_environment(cls, key: str | None) -> str | None:
        if key is not None and not ENVIRONMENT.fullmatch(key):
            # the value is not repeated: an error message must not show a key
            raise bad_key("api_key", "a key is not written into a recipe: write ${NAME} and set the variable NAME")
        return key

    @model_validator(mode="after")
    def _costs_have_prices(self) -> "Endpoint":
        if self.max_cost is not None and (self.price_per_million or {}).keys() != {"prompt", "completion"}:
            raise bad_key("max_cost", "a limit on cost needs `price_per_million: {prompt: …, completion: …}`")
        return self

    @property
    def base_urls(self) -> list[str]:
        """The addresses, as written."""
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url


OPERATIONS = "operations.jsonl"


class Offline(Entry):
    """The rule-based stand-in teacher: answers from a folder of operations, with a stated error rate."""

    offline: str
    """Folder with `operations.jsonl`."""
    errors: dict[str, float] = Field(default_factory=dict)
    """Operation name → how often its typical bug is written; `default` is for the operations not named."""
    seed: int = 0
    """Seed of the errors."""


AnyEntry = Weights | Endpoint | Offline
KINDS: dict[str, type[Entry]] = {"model_name_or_path": Weights, "base_url": Endpoint, "offline": Offline}
"""The key that tells the kinds apart."""


def entry_class(section: dict[str, Any]) -> type[Entry] | None:
    """The class of a `models:` section, by the key that tells; None where no or several kinds fit."""
    found = [kind for key, kind in KINDS.items() if key in section]
    return found[0] if len(found) == 1 else None
