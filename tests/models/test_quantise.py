import pytest
import torch
from pydantic import ValidationError
from transformers import BloomForCausalLM

from align.errors import ConfigError
from align.models.bloom import unfuse
from align.models.entry import Weights
from align.models.launcher import Launcher, check_trainable, launcher
from align.models.layout import choose_backend, last_hidden
from align.models.load import load_model, load_policy
from align.models.lora import Lora
from align.models.quantise import is_quantised
from align.text.collate import Group, Totals, collate

IDS = torch.arange(2, 42).view(2, 20)
BITS = [
    {"load_in_4bit": True},
    {"load_in_4bit": True, "bnb_4bit_use_double_quant": False, "bnb_4bit_compute_dtype": "bfloat16"},
    {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_quant_storage": "bfloat16", "dtype": "bfloat16"},
    {"load_in_8bit": True},
    {"load_in_8bit": True, "dtype": "bfloat16"},
]


def entry(folder, **options):
    return Weights(model_name_or_path=str(folder), **options)


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits


@pytest.mark.parametrize("bits", BITS)
def test_a_quantised_model_says_the_same_in_training_and_evaluation_again_and_again(tiny, bits):
    model, _ = load_policy(entry(tiny, **bits), Lora(r=4))
    assert is_quantised(model)
    first = logits(model)
    assert torch.equal(logits(model.eval()), first)
    assert torch.equal(logits(model.train()), first)
    whole = logits(load_model(entry(tiny))[0])
    assert not torch.equal(first.float(), whole)
    assert float((first.float() - whole).norm() / whole.norm()) < 0.35


@pytest.mark.parametrize("bits", BITS)
def test_adapters_on_a_few_layers_of_quantised_weights_learn(tiny, bits):
    targets = {"starcoder2": ["q_proj"], "gpt_bigcode": ["c_attn"], "bloom": ["query_key_value"]}
    kind = load_model(entry(tiny))[0].config.model_type
    model, _ = load_policy(entry(tiny, **bits), Lora(r=4, target_modules=targets[kind]))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(6):
        losses.append(model(input_ids=IDS, labels=IDS).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("bits", [{"load_in_4bit": True}, {"load_in_8bit": True}])
def test_fused_attention_of_bloom_on_quantised_weights_is_that_of_transformers(tiny_bloom, bits):
    model, _ = load_model(entry(tiny_bloom, **bits))
    assert isinstance(model, BloomForCausalLM)
    fused = logits(model)
    unfuse(model)
    assert torch.allclose(logits(model), fused, atol=2e-5)


@pytest.mark.parametrize("bits", [{"load_in_4bit": True}, {"load_in_8bit": True}])
def test_the_layouts_agree_on_quantised_weights(tiny, bits):
    model, _ = load_model(entry(tiny, **bits))
    choose_backend(model, "grouped")
    ids = [(37 * i + 11) % model.config.vocab_size for i in range(24)]
    groups = [
        Group("", prompt, responses, [0.0] * 2, [False] * 2, [0.0] * 2)
        for prompt, responses in ((ids[:5], [ids[5:9], ids[9:12]]), (ids[12:15], [ids[15:21], ids[21:]]))
    ]
    said = []
    for layout in ("plain", "grouped"):
        batch = collate(groups, Totals.of(groups), pad_id=0, layout=layout)
        with torch.no_grad():
            said.append(last_hidden(model, batch, layout)[batch["predict_N"]])
    assert torch.allclose(*said, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load_in_4bit": True, "load_in_8bit": True}, "excludes load_in_4bit"),
        ({"bnb_4bit_quant_type": "fp4"}, "means nothing without load_in_4bit"),
        ({"load_in_8bit": True, "bnb_4bit_quant_storage": "bfloat16"}, "means nothing without load_in_4bit"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "int4"}, "nf4"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        entry("nowhere", **options)


FOUR, EIGHT = {"load_in_4bit": True}, {"load_in_8bit": True}


@pytest.mark.parametrize(
    ("options", "adapters", "over", "message"),
    [
        (FOUR, False, Launcher(), "4 bits cannot be trained"),
        (EIGHT, False, Launcher(), "8 bits cannot be trained"),
        (FOUR, True, Launcher(zero_stage=3), "ZeRO-3"),
        (EIGHT, True, Launcher(zero_stage=3), "ZeRO-3"),
        (EIGHT, True, Launcher(fsdp=2), "not under FSDP"),
        (FOUR, True, Launcher(fsdp=2), "bnb_4bit_quant_storage: uint8"),
        (FOUR | {"dtype": "bfloat16", "bnb_4bit_quant_storage": "float32"}, True, Launcher(fsdp=2), "storage: float32"),
    ],
)
def test_what_a_launcher_excludes_is_one_line_before_anything_is_loaded(options, adapters, over, message):
    with pytest.raises(ConfigError, match=message):
        check_trainable(entry("nobody/no-such-model", **options), adapters=adapters, over=over)


@pytest.mark.parametrize(
    ("options", "over"),
    [
        (FOUR | {"dtype": "bfloat16", "bnb_4bit_quant_storage": "bfloat16"}, Launcher(fsdp=2)),
        (FOUR, Launcher(zero_stage=2)),
        (EIGHT, Launcher()),
        ({}, Launcher(zero_stage=3)),
    ],
)
def test_what_works_is_let_through(options, over):
    check_trainable(entry("nobody/no-such-model", **options), adapters=True, over=over)


def test_the_launcher_is_known_by_its_environment(tmp_path):
    path = tmp_path / "zero3.json"
    path.write_text('{"zero_optimization": {"stage": 3}}')
    deepspeed = {"ACCELERATE_USE_DEEPSPEED": "true"}
    assert launcher({}) == Launcher()
    assert launcher({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}) == Launcher(fsdp=2)
    assert launcher({"ACCELERATE_USE_FSDP": "false", "FSDP_VERSION": "2"}) == Launcher()
    assert launcher(deepspeed | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}) == Launcher(zero_stage=3)
    assert launcher(deepspeed | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(path)}) == Launcher(zero_stage=3)
    assert launcher(deepspeed) == Launcher(zero_stage=2)


def test_a_policy_is_refused_under_the_launcher_of_this_process(tiny_bloom, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    with pytest.raises(ConfigError, match="ZeRO-3"):
        load_policy(entry(tiny_bloom, load_in_4bit=True), Lora(r=4))
