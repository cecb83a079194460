"""The vLLM engine, against a stand-in that takes exactly the arguments that vLLM 0.33's own classes take."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from align.errors import BackendError, ConfigError
from align.generate import Sampling, generator
from align.generate.request import Reply, Request
from align.generate.vllm import VllmGenerator
from align.models.chain import write_base
from align.models.entry import Weights
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.schema import Message

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


class LLM:
    """Echoes: a prompt of n tokens is answered with the text `n`."""

    made: dict[str, Any]
    asked: list[tuple[Any, ...]]
    finish = "stop"
    fails: Exception | None = None

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        trust_remote_code: bool = False,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        seed: int = 0,
        generation_config: str = "auto",
        enable_lora: bool = False,
        max_loras: int = 1,
        max_lora_rank: int = 16,
    ) -> None:
        if LLM.fails is not None:
            raise LLM.fails
        LLM.made = {**locals(), "devices": os.environ.get("CUDA_VISIBLE_DEVICES")}
        LLM.asked = []
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=64))

    def generate(
        self, prompts: Any, sampling_params: Any = None, *, use_tqdm: bool = True, lora_request: Any = None
    ) -> list[Any]:
        LLM.asked.append((prompts, sampling_params, use_tqdm, lora_request))
        outputs = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            made = SimpleNamespace(text=str(len(ids)), token_ids=[1, 2], finish_reason=LLM.finish, stop_reason=None)
            outputs.append(SimpleNamespace(outputs=[made]))
        return outputs


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams, request.LoRARequest = LLM, SamplingParams, LoRARequest  # type: ignore[attr-defined]
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(LLM, "finish", "stop")
    monkeypatch.setattr(LLM, "fails", None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("weights") / "model"
    tokenizer = train_tokenizer(["to be"], 258)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, found)
    return found


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    """An adapter's folder as far as vLLM's caller looks at it."""
    found = tmp_path / "adapter"
    found.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (found / name).write_bytes((folder / name).read_bytes())
    (found / "adapter_config.json").write_text(json.dumps({"r": 24}))
    write_base(found, Weights(model_name_or_path=str(folder), dtype="bfloat16"), None)
    return found


def weights(folder: Path, **keys: Any) -> Weights:
    return Weights(model_name_or_path=str(folder), engine="vllm", **keys)


def ask(prompt: Any, seed: int = 0, **sampling: Any) -> Request:
    return Request(prompt=prompt, seed=seed, sampling=Sampling(**{"max_new_tokens": 12, **sampling}))


def replies(entry: Weights, requests: list[Request], batch_size: int = 2) -> dict[int, Reply]:
    made = generator(entry, batch_size=batch_size)
    return {index: reply for batch in made.generate(requests) for index, reply in batch.items()}


def test_text_is_asked_as_the_ids_that_training_uses_with_a_seed_of_its_own(folder: Path) -> None:
    how = {"temperature": 0.7, "top_p": 0.9, "stop": ["\n"]}
    found = replies(weights(folder), [ask("abc", 7, **how), ask("abcde", 2**63 + 9, **how)])
    assert {index: reply.text for index, reply in found.items()} == {0: "3", 1: "5"}
    assert found[0].usage == {"prompt_tokens": 3, "completion_tokens": 2}
    ((prompts, params, shows, lora),) = LLM.asked
    encoder = VllmGenerator(weights(folder)).encoder
    assert prompts == [{"prompt_token_ids": encoder.prompt(text)} for text in ("abc", "abcde")]
    assert params == [
        SamplingParams(1, 0.7, 0.9, seed, ["\n"], 12, spaces_between_special_tokens=False) for seed in (7, 9)
    ]
    assert (shows, lora) == (False, None)


def test_the_least_length_is_min_tokens(folder: Path) -> None:
    replies(weights(folder), [ask("abc", min_new_tokens=5)])
    ((_, params, *_),) = LLM.asked
    assert params[0].min_tokens == 5


def test_a_greedy_request_has_no_seed_and_no_stop(folder: Path) -> None:
    replies(weights(folder), [ask("abc", 7, temperature=0)])
    ((_, params, *_),) = LLM.asked
    assert (params[0].temperature, params[0].seed, params[0].stop) == (0, None, None)


def test_the_engine_is_made_of_the_entry_and_not_of_the_checkpoints_defaults(folder: Path) -> None:
    replies(weights(folder, dtype="bfloat16", revision="abc"), [ask("a")])
    expected = {"model": str(folder), "tokenizer": str(folder), "dtype": "bfloat16", "generation_config": "vllm"}
    assert LLM.made.items() >= {**expected, "revision": "abc", "enable_lora": False}.items()


def test_messages_go_through_the_chat_template(folder: Path) -> None:
    entry = weights(folder, chat_template=TEMPLATE)
    assert replies(entry, [ask([Message(role="user", content="hi")])])[0].text == str(len("<user>hi<a>"))
    with pytest.raises(ConfigError, match="no chat template"):
        replies(weights(folder), [ask([Message(role="user", content="hi")])])


def test_a_batch_is_the_unit_of_resume(folder: Path) -> None:
    made = VllmGenerator(weights(folder), 2)
    requests = [ask("x" * size) for size in (5, 1, 3, 2)]
    assert [sorted(batch) for batch in made.generate(requests, done={1, 3})] == [[0, 2]]
    assert len(LLM.asked) == 1


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_why_a_reply_ended_is_kept(reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLM, "finish", reason)
    assert replies(weights(folder), [ask("a")])[0].finish == reason


@pytest.mark.parametrize("reason", ["abort", "error", None])
def test_a_fault_of_the_engine_is_no_reply(reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLM, "finish", reason)
    with pytest.raises(BackendError, match=f"vLLM gave a request up \\({reason}\\)"):
        replies(weights(folder), [ask("a")])


def test_an_adapter_runs_on_its_base(adapter: Path, folder: Path) -> None:
    replies(weights(adapter), [ask("a")])
    expected = {"model": str(folder), "tokenizer": str(adapter), "dtype": "bfloat16"}
    assert LLM.made.items() >= {**expected, "enable_lora": True, "max_lora_rank": 32}.items()
    assert LLM.asked[0][3] == LoRARequest("adapter", 1, str(adapter))


def test_an_adapter_on_an_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "adapter_config.json").write_text('{"r": 8}')
    write_base(upper, Weights(model_name_or_path=str(adapter)), None)
    with pytest.raises(ConfigError, match="an adapter on an adapter: vLLM runs one"):
        generator(weights(upper))


@pytest.mark.parametrize("keys", [{"load_in_4bit": True}, {"attn_implementation": "eager"}])
def test_what_vllm_does_not_do_is_refused(keys: dict[str, Any], folder: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(keys))):
        generator(weights(folder, **keys))


def test_a_model_that_vllm_cannot_run_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLM, "fails", ValueError("no such architecture\nand a long tale"))
    with pytest.raises(BackendError, match=r"vLLM cannot run it \(no such architecture\): use engine: hf$"):
        generator(weights(folder))


def test_without_vllm_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BackendError, match=r"pip install 'align-rrtf\[vllm\]'"):
        generator(weights(folder))


@pytest.mark.parametrize(("visible", "seen"), [(None, "1"), ("4,6", "6"), ("5", "5")])
def test_a_rank_shows_the_engine_its_own_gpu_alone(
    visible: str | None, seen: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    generator(weights(folder))
    assert LLM.made["devices"] == seen
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible
