import random

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from align.errors import BackendError
from align.models.layout import choose_backend, last_hidden
from align.models.tiny import random_model
from align.text.collate import Group, Totals, collate

SHAPE = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
WINDOWED = {"sliding_window": 5}
SERVED = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen2, a window in one layer": (
        Qwen2ForCausalLM,
        Qwen2Config,
        {"use_sliding_window": True, "max_window_layers": 1} | WINDOWED,
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 8}),
    "mistral": (MistralForCausalLM, MistralConfig, WINDOWED),
    "starcoder2": (Starcoder2ForCausalLM, Starcoder2Config, WINDOWED),
    "gemma, a class that is only tried": (GemmaForCausalLM, GemmaConfig, {"head_dim": 8}),
}


def make(name):
    torch.manual_seed(0)
    kind, config, options = SERVED[name]
    return kind(config(**(SHAPE | options))).eval()


def groups():
    draw = random.Random(0)

    def ids(count):
        return [draw.randrange(2, 100) for _ in range(count)]

    return [
        Group(str(number), ids(prompt), [ids(length) for length in lengths], *([[0.0] * len(lengths)] * 3))
        for number, (prompt, lengths) in enumerate([(9, (4, 7, 1)), (3, (12,)), (1, (2, 2))])
    ]


def hidden(model, layout):
    batch = collate(groups(), Totals(3, 1, 1), pad_id=0, layout=layout)
    return last_hidden(model, batch)[batch["predict_N"]]


@pytest.mark.parametrize("name", SERVED)
def test_any_model_on_the_attention_interface_says_the_same_of_packed_rows(name):
    with torch.no_grad():
        expected = hidden(make(name), "plain")
        model = make(name)
        assert choose_backend(model) == "grouped"
        for layout in ("plain", "grouped"):
            assert torch.allclose(hidden(model, layout), expected, atol=1e-5)


def test_the_windows_of_these_tests_hide_something():
    wide = make("starcoder2")
    wide.config.sliding_window = None
    with torch.no_grad():
        assert not torch.allclose(hidden(make("starcoder2"), "plain"), hidden(wide, "plain"), atol=1e-2)


def test_two_models_do_not_share_a_backend():
    first, second = make("llama"), make("llama")
    choose_backend(first)
    assert choose_backend(second, "plain") == "plain"
    with pytest.raises(BackendError, match="packed row"):
        hidden(second, "grouped")


EXPERTS = {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1}
TINY = {"hidden_size": 32, "num_layers": 1, "num_heads": 4, "vocab_size": 100, "max_position": 64, "seed": 0}
REFUSED = {
    "no interface": (lambda: random_model("bloom", **TINY), "attn_implementation"),
    "a state, no attention": (
        lambda: MambaForCausalLM(MambaConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1, state_size=4)),
        "interface",
    ),
    "a soft-cap": (
        lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8)),
        "attn_logit_softcapping",
    ),
    "an untested window": (
        lambda: GptOssForCausalLM(GptOssConfig(**SHAPE, **EXPERTS)),
        "window",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_packed_rows_cannot_serve_is_refused_with_the_reason_and_runs_plain(name):
    build, reason = REFUSED[name]
    model = build()
    with pytest.raises(BackendError, match=f"{type(model).__name__}: .*{reason}.*'plain'") as refusal:
        choose_backend(model, "grouped")
    assert "\n" not in str(refusal.value)
    assert choose_backend(model) == "plain"


@pytest.mark.parametrize("option", [{"s_aux": torch.zeros(2)}, {"softcap": 30.0}])
def test_sinks_and_soft_caps_are_never_dropped(option):
    choose_backend(make("llama"))
    states = torch.zeros(1, 2, 3, 4)
    with pytest.raises(BackendError, match="sinks"):
        ALL_ATTENTION_FUNCTIONS["align_grouped"](torch.nn.Module(), states, states, states, None, **option)


def test_a_class_that_ignores_positions_is_caught_by_trying():
    class Forgetful(LlamaForCausalLM):
        pass

    torch.manual_seed(0)
    model = Forgetful(LlamaConfig(**SHAPE)).eval()
    rotate = model.model.rotary_emb.forward
    model.model.rotary_emb.forward = lambda states, position_ids: rotate(
        states, torch.arange(states.shape[1])[None].expand(len(states), -1)
    )
    with pytest.raises(BackendError, match="something else"):
        choose_backend(model, "grouped")
    assert model.config._attn_implementation != "align_grouped"


def test_gpt2_is_served_or_refused_never_wrong():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=100, n_positions=64, n_embd=32, n_layer=2, n_head=4)).eval()
    with torch.no_grad():
        expected = hidden(model, "plain")
        backend = choose_backend(model)
        assert torch.allclose(hidden(model, backend), expected, atol=1e-5)


def test_flex_gives_the_states_of_padded_rows():
    """Uncompiled, as it runs without a GPU."""
    for name in ("llama", "mistral"):
        with torch.no_grad():
            model = make(name)
            expected = hidden(model, "plain")
            choose_backend(model)
            batch = collate(groups(), Totals(3, 1, 1), pad_id=0)
            found = last_hidden(model, batch, "flex")[batch["predict_N"]]
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_flex_without_a_gpu_is_refused():
    with pytest.raises(BackendError, match="no GPU: use 'grouped'"):
        choose_backend(make("llama"), "flex")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("backend", ["grouped", "flex"])
@pytest.mark.parametrize("name", ["llama", "mistral", "starcoder2"])
def test_backends_on_a_gpu_give_the_states_of_padded_rows(name, backend):
    model = make(name).cuda()
    batch = collate(groups(), Totals(3, 1, 1), pad_id=0)
    on_gpu = {key: value.cuda() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    with torch.no_grad():
        expected = hidden(make(name), "plain")
        assert choose_backend(model, backend) == backend
        found = last_hidden(model, on_gpu, backend)[on_gpu["predict_N"]].cpu()
    assert torch.allclose(found, expected, atol=1e-3)
