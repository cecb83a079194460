"""Shapes of models: what counts their weights and what a token leaves behind in a layer. Torch-free; loads no weights.

Read from a `config.json`, of a folder or of the hub's cache, or from a table of the BLOOM and StarCoder sizes.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Family = Literal["bloom", "gpt_bigcode", "starcoder2", "llama"]
"""How a block is built; `llama` has RMSNorm and a gate."""

LIKE_LLAMA = ("llama", "mistral", "qwen2")


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder."""

    family: Family
    hidden: int
    layers: int
    heads: int
    vocab: int
    kv_heads: int = 0
    """0: as many as heads."""
    head_dim: int = 0
    """0: hidden / heads."""
    intermediate: int = 0
    """0: 4 × hidden."""
    positions: int = 0
    """Longest row; 0: any."""
    tied: bool = True
    """Whether the head is the embedding."""
    biased: bool = True
    """Whether linear layers have a bias."""

    @property
    def query_width(self) -> int:
        """Of all heads together."""
        return self.heads * (self.head_dim or self.hidden // self.heads)

    @property
    def kv_width(self) -> int:
        """Of the keys of all heads together."""
        return self.query_width * (self.kv_heads or self.heads) // self.heads

    @property
    def inner(self) -> int:
        """Of the feed-forward part."""
        return self.intermediate or 4 * self.hidden

    @property
    def linear(self) -> list[tuple[str, int, int]]:
        """(name, in, out) of a block's linear layers; the names are those of LoRA's targets."""
        hidden, query, kv, inner = self.hidden, self.query_width, self.kv_width, self.inner
        if self.family == "bloom":
            return [
                ("query_key_value", hidden, 3 * hidden),
                ("dense", hidden, hidden),
                ("dense_h_to_4h", hidden, inner),
                ("dense_4h_to_h", inner, hidden),
            ]
        if self.family == "gpt_bigcode":
            return [
                ("c_attn", hidden, query + 2 * kv),
                ("attn.c_proj", query, hidden),
                ("c_fc", hidden, inner),
                ("mlp.c_proj", inner, hidden),
            ]
        attention = [
            ("q_proj", hidden, query),
            ("k_proj", hidden, kv),
            ("v_proj", hidden, kv),
            ("o_proj", query, hidden),
        ]
        if self.family == "starcoder2":
            return [*attention, ("c_fc", hidden, inner), ("c_proj", inner, hidden)]
        return [*attention, ("gate_proj", hidden, inner), ("up_proj", hidden, inner), ("down_proj", inner, hidden)]

    @property
    def matrices(self) -> int:
        """Weights of a block's linear layers, without biases."""
        return sum(width * out for _, width, out in self.linear)

    @property
    def block(self) -> int:
        """Parameters of a block."""
        biases = sum(out for _, _, out in self.linear) if self.biased else 0
        return self.matrices + biases + (2 if self.family == "llama" else 4) * self.hidden

    @property
    def embedding(self) -> int:
        """Parameters of the table of tokens."""
        return self.vocab * self.hidden

    @property
    def outside(self) -> int:
        """Parameters outside the blocks, the head among them."""
        norm = (1 if self.family == "llama" else 2) * self.hidden
        learned = self.positions * self.hidden if self.family == "gpt_bigcode" else 0
        first = norm if self.family == "bloom" else 0
        return self.embedding * (1 if self.tied else 2) + learned + first + norm

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.block + self.outside

    @property
    def tables(self) -> int:
        """Bytes of what a model keeps beside its parameters: GPTBigCode's causal mask of all its positions."""
        return self.positions**2 if self.family == "gpt_bigcode" else 0

    def adapters(self, rank: int, targets: list[str] | str) -> int:
        """Parameters of LoRA on some of the linear layers of every block."""
        return self.layers * sum(rank * (width + out) for _, width, out in self.adapted(targets))

    def adapted(self, targets: list[str] | str) -> list[tuple[str, int, int]]:
        """The linear layers of a block that LoRA's targets name; a text is `all-linear`."""
        if isinstance(targets, str):
            return self.linear
        return [entry for entry in self.linear if any(_is_named(entry[0], target) for target in targets)]


def _is_named(name: str, target: str) -> bool:
    return name == target or name.rpartition(".")[2] == target


def _bloom(hidden: int, layers: int, heads: int) -> Shape:
    return Shape("bloom", hidden, layers, heads, 250_880)


def _starcoder(hidden: int, layers: int, heads: int) -> Shape:
    return Shape("gpt_bigcode", hidden, layers, heads, 49_152, kv_heads=1, positions=8192)


def _starcoder2(hidden: int, layers: int, heads: int, kv_heads: int, *, tied: bool = True) -> Shape:
    return Shape("starcoder2", hidden, layers, heads, 49_152, kv_heads, positions=16_384, tied=tied)


_BLOOM = {
    "560m": _bloom(1024, 24, 16),
    "1b1": _bloom(1536, 24, 16),
    "1b7": _bloom(2048, 24, 16),
    "3b": _bloom(2560, 30, 32),
    "7b1": _bloom(4096, 30, 32),
    "": _bloom(14_336, 70, 112),
}
KNOWN: dict[str, Shape] = {
    **{f"bigscience/bloom{f'-{size}' if size else ''}": shape for size, shape in _BLOOM.items()},
    **{f"bigscience/bloomz{f'-{size}' if size else ''}": shape for size, shape in _BLOOM.items()},
    "bigcode/starcoderbase-1b": _starcoder(2048, 24, 16),
    "bigcode/starcoderbase-3b": _starcoder(2816, 36, 22),
    "bigcode/starcoderbase-7b": _starcoder(4096, 42, 32),
    "bigcode/starcoderbase": _starcoder(6144, 40, 48),
    "bigcode/starcoder": _starcoder(6144, 40, 48),
    "bigcode/starcoder2-3b": _starcoder2(3072, 30, 24, 2),
    "bigcode/starcoder2-7b": _starcoder2(4608, 32, 36, 4),
    "bigcode/starcoder2-15b": _starcoder2(6144, 40, 48, 4, tied=False),
    "mistralai/Mistral-7B-v0.1": Shape(
        "llama", 4096, 32, 32, 32_000, 8, intermediate=14_336, positions=32_768, tied=False, biased=False
    ),
}
"""Hub id → shape. `bloom` without a size is the one of 176 thousand million parameters."""


def shape_of(name: str) -> Shape | None:
    """The shape of a model by folder or hub id: what its `config.json` says, where one is here, else the table's.

    Args:
        name: a folder, or a hub id. A folder of an adapter is not followed to its base.

    Returns:
        None where neither is known, or the class is none of those that are counted.
    """
    folder = Path(name)
    for path in [folder / "config.json"] if folder.is_dir() else _cached(name):
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict) and (shape := of_config(config)) is not None:
            return shape
    return KNOWN.get(name)


def of_config(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a `config.json` tells; None of another class, or where a size is missing."""
    kind = config.get("model_type")
    try:
        if kind == "bloom":
            hidden = config["hidden_size"] if "hidden_size" in config else config["n_embed"]
            return Shape(
                "bloom",
                int(hidden),
                _first(config, "n_layer", "num_hidden_layers"),
                _first(config, "n_head", "num_attention_heads"),
                int(config["vocab_size"]),
            )
        if kind == "gpt_bigcode":
            return Shape(
                "gpt_bigcode",
                _first(config, "n_embd", "hidden_size"),
                _first(config, "n_layer", "num_hidden_layers"),
                _first(config, "n_head", "num_attention_heads"),
                int(config["vocab_size"]),
                kv_heads=1 if config.get("multi_query", True) else 0,
                intermediate=int(config.get("n_inner") or 0),
                positions=_first(config, "n_positions", "max_position_embeddings"),
                tied=bool(config.get("tie_word_embeddings", True)),
            )
        if kind == "starcoder2" or kind in LIKE_LLAMA:
            return _of_rotary(config, "starcoder2" if kind == "starcoder2" else "llama")
    except (KeyError, TypeError, ValueError):
        return None
    return None


def _of_rotary(config: Mapping[str, Any], family: Family) -> Shape:
    return Shape(
        family,
        int(config["hidden_size"]),
        int(config["num_hidden_layers"]),
        int(config["num_attention_heads"]),
        int(config["vocab_size"]),
        kv_heads=int(config.get("num_key_value_heads") or 0),
        head_dim=int(config.get("head_dim") or 0),
        intermediate=int(config["intermediate_size"]),
        positions=int(config["max_position_embeddings"]),
        tied=bool(config.get("tie_word_embeddings", family == "starcoder2")),
        biased=bool(config.get("use_bias", True)) if family == "starcoder2" else False,
    )


def _first(config: Mapping[str, Any], *names: str) -> int:
    return int(next(config[name] for name in names if config.get(name) is not None))


def _cached(name: str) -> list[Path]:
    """The configurations of a hub id that the hub's cache holds, the newest first."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    if name.count("/") != 1:
        return []
    found = (hub / f"models--{name.replace('/', '--')}" / "snapshots").glob("*/config.json")
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
