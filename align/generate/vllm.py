"""Batched generation with vLLM's offline engine, `vllm.LLM`, in this process (extra `[vllm]`).

Prompts become ids as `hf` makes them, and batches are the same. Numbers are not: vLLM draws by a seed a request, and
rounds by what else runs on the GPU, so that equal requests get equal replies only as far as vLLM gives them
(`VLLM_BATCH_INVARIANT=1` asks it to). Written against vLLM 0.33's interface, and tested with a stand-in for it: it has
not been run on a GPU. Does not serve: for a server, give its address as `base_url`.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BackendError, ConfigError
from ..models.chain import base_entry, check_folder, read_base
from ..models.entry import Weights
from ..schema import Finish
from ..text.environment import environment
from .batched import Batched
from .request import Reply, Request

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for `max_lora_rank`."""
FINISH: dict[str, Finish] = {"stop": "stop", "length": "length"}


class VllmGenerator(Batched):
    """Generates with a causal language model, or with one adapter on it.

    Args:
        entry: the weights; vLLM loads them by itself.
        batch_size: sequences handed to the engine at once, which makes its own batches of them.

    Raises:
        BackendError: vLLM is not installed, or cannot run the model.
        ConfigError: the entry asks for what vLLM does not do.
        DataError: the weights' folder is not complete.
    """

    def __init__(self, entry: Weights, batch_size: int = 256) -> None:
        check_entry(entry)
        self._vllm = _import()
        base, lora = _chain(entry)
        from ..models.load import load_tokenizer

        tokenizer = load_tokenizer(entry)
        self._lora = _lora_request(entry) if lora else None
        self._engine = _engine(self._vllm, entry, base, lora)
        positions: int = self._engine.llm_engine.model_config.max_model_len
        super().__init__(tokenizer, batch_size, name=entry.model_name_or_path, positions=positions)

    def complete(self, requests: Sequence[Request], prompts: Sequence[list[int]]) -> list[Reply]:
        """What the model writes after each prompt's ids.

        Raises:
            BackendError: the engine gave a request up.
        """
        outputs = self._engine.generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            [self._sampling(request) for request in requests],
            use_tqdm=False,
            lora_request=self._lora,
        )
        return [self._reply(output.outputs[0], len(ids)) for output, ids in zip(outputs, prompts, strict=True)]

    def _sampling(self, request: Request) -> Any:
        how = request.sampling
        return self._vllm.SamplingParams(
            n=1,
            temperature=how.temperature,
            top_p=how.top_p,
            max_tokens=how.max_new_tokens,
            min_tokens=how.min_new_tokens,
            stop=how.stop or None,
            # a greedy request draws nothing; -1 would mean no seed
            seed=request.seed % 2**63 if how.temperature > 0 else None,
            skip_special_tokens=True,
            spaces_between_special_tokens=False,
        )

    def _reply(self, output: Any, prompt_tokens: int) -> Reply:
        if output.finish_reason not in FINISH:
            # a fault of the engine is no answer of the model: it must not be kept as one
            raise BackendError(f"{self.name}: vLLM gave a request up ({output.finish_reason}): run again")
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(output.token_ids)}
        return Reply(text=output.text, finish=FINISH[output.finish_reason], usage=usage)


def check_entry(entry: Weights) -> None:
    """Refuse what would silently be something else under vLLM.

    Raises:
        ConfigError: with the key.
    """
    name = entry.model_name_or_path
    if entry.is_quantised:
        raise ConfigError(
            f"{name}: load_in_4bit and load_in_8bit: not with `engine: vllm`, which quantises otherwise: use engine: hf"
        )
    if entry.attn_implementation != "auto":
        raise ConfigError(f"{name}: attn_implementation: vLLM chooses its own: leave it out, or use engine: hf")


def _import() -> Any:
    try:
        import vllm  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        if getattr(error, "name", None) not in (None, "vllm"):
            raise BackendError(f"engine: vllm: vLLM cannot be imported ({error}): install it anew") from None
        raise BackendError("engine: vllm: vLLM is not installed: pip install 'align-rrtf[vllm]'") from None
    return vllm


def _chain(entry: Weights) -> tuple[Weights, int | None]:
    """The whole weights, and the rank of the adapter on them, None without one.

    Raises:
        ConfigError: several adapters stand upon each other, or the frozen weights are quantised.
    """
    folder = Path(entry.model_name_or_path)
    if not entry.is_local:
        return entry, None
    check_folder(folder)
    base = read_base(folder)
    if base is None:
        return entry, None
    below = base_entry(folder, base, entry)
    if below.is_local and read_base(Path(below.model_name_or_path)) is not None:
        raise ConfigError(f"{folder}: an adapter on an adapter: vLLM runs one: merge the lower ones, or use engine: hf")
    check_entry(below)
    rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    if rank > LORA_RANKS[-1]:
        raise ConfigError(f"{folder}: LoRA rank {rank}: vLLM takes at most {LORA_RANKS[-1]}: use engine: hf")
    return below, rank


def _lora_request(entry: Weights) -> Any:
    from vllm.lora.request import LoRARequest  # type: ignore[import-not-found, unused-ignore]

    return LoRARequest("adapter", 1, str(Path(entry.model_name_or_path).resolve()))


def _engine(vllm: Any, entry: Weights, base: Weights, rank: int | None) -> Any:
    """vLLM's engine for the weights, ready for an adapter of the rank."""
    adapters: dict[str, Any] = {}
    if rank is not None:
        adapters = {"enable_lora": True, "max_loras": 1, "max_lora_rank": min(r for r in LORA_RANKS if r >= rank)}
    try:
        with _own_device():
            return vllm.LLM(
                model=base.model_name_or_path,
                revision=base.revision,
                tokenizer=entry.model_name_or_path,
                tokenizer_revision=entry.revision,
                trust_remote_code=entry.trust_remote_code,
                dtype=base.dtype,
                # a checkpoint's own sampling defaults would change what was asked for
                generation_config="vllm",
                seed=0,
                **adapters,
            )
    except (ValueError, RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackendError(f"{entry.model_name_or_path}: vLLM cannot run it ({reason}): use engine: hf") from None


def _own_device() -> contextlib.AbstractContextManager[None]:
    """Under a launcher, show the engine this rank's GPU alone: it starts a process of its own, on the first it sees."""
    rank, visible = os.environ.get("LOCAL_RANK"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if rank is None:
        return contextlib.nullcontext()
    devices = visible.split(",") if visible else None
    return environment("CUDA_VISIBLE_DEVICES", devices[int(rank) % len(devices)] if devices else rank)
