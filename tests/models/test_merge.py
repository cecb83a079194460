import pytest
import torch
from pydantic import ValidationError

from align.errors import ConfigError, StageError
from align.models.chain import read_base, root
from align.models.load import load_model, load_policy
from align.models.lora import Lora
from align.models.merge import merge
from align.models.quantise import is_quantised
from align.train.save import save_policy

from .test_load import entry, logits, perturb

BITS = [
    {},
    {"dtype": "bfloat16"},
    {"load_in_4bit": True},
    {"load_in_4bit": True, "dtype": "bfloat16"},
    {"load_in_8bit": True},
]
CONTINUE = Lora.model_validate({"continue": True})


def train_on(below, folder, lora):
    """What a training stage does, without the training; returns the logits it must reload to."""
    model, tokenizer = load_policy(below, lora)
    expected = logits(perturb(model))
    save_policy(model, tokenizer, below, folder)
    return expected


@pytest.mark.parametrize("options", BITS)
def test_a_new_adapter_starts_bit_by_bit_from_the_policy_that_the_one_below_left(tiny, tmp_path, options):
    said = [
        train_on(entry(tiny, **options), tmp_path / "0", Lora(r=4)),
        train_on(entry(tmp_path / "0"), tmp_path / "1", Lora(r=4)),
    ]
    start, _ = load_policy(entry(tmp_path / "0"), Lora(r=4))
    with start.disable_adapter():
        # in float32 the adapter is summed into the weights
        assert torch.allclose(logits(start), said[0], atol=0 if options else 1e-5, rtol=0)
    for number in (0, 1):
        assert torch.equal(logits(load_model(entry(tmp_path / str(number)))[0]), said[number])
    assert is_quantised(start) == any(name.startswith("load_in") for name in options)


@pytest.mark.parametrize("options", [{}, {"load_in_4bit": True}])
def test_an_adapter_that_goes_on_stands_on_its_own_base(tiny, tmp_path, options):
    said = train_on(entry(tiny, **options), tmp_path / "sft", Lora(r=4, lora_alpha=4))
    model, _ = load_policy(entry(tmp_path / "sft"), CONTINUE)
    assert torch.equal(logits(model), said)
    expected = train_on(entry(tmp_path / "sft"), tmp_path / "dpo", CONTINUE)
    assert not torch.allclose(expected, said, atol=1e-3)
    assert torch.equal(logits(load_model(entry(tmp_path / "dpo"))[0]), expected)
    bases = [read_base(tmp_path / name) for name in ("sft", "dpo")]
    assert bases[0] == bases[1]


def test_continue_takes_rank_and_layers_from_the_adapter_and_needs_one(tiny_bloom):
    with pytest.raises(ConfigError, match=r"lora\.continue: .* holds no adapter"):
        load_policy(entry(tiny_bloom), CONTINUE)
    with pytest.raises(ValidationError, match="adapter's own"):
        Lora.model_validate({"continue": True, "r": 8})


def test_quantisation_can_be_asked_for_above_an_adapter_and_is_then_recorded(tiny, tmp_path):
    train_on(entry(tiny), tmp_path / "sft", Lora(r=4))
    four = entry(tmp_path / "sft", load_in_4bit=True)
    expected = train_on(four, tmp_path / "dpo", Lora(r=4))
    model, _ = load_model(entry(tmp_path / "dpo"))
    assert is_quantised(model)
    assert torch.equal(logits(model), expected)
    assert root(entry(tmp_path / "dpo")).load_in_4bit


@pytest.mark.parametrize(
    ("trained", "asked", "message"),
    [
        ({"load_in_4bit": True}, {"load_in_8bit": True}, "trained on True"),
        ({"load_in_8bit": True}, {"load_in_4bit": True}, "trained on False"),
        ({"load_in_4bit": True}, {"load_in_4bit": True, "bnb_4bit_use_double_quant": False}, "double_quant: False"),
    ],
)
def test_an_adapter_is_not_loaded_on_other_bits_than_it_was_trained_on(tiny_bloom, tmp_path, trained, asked, message):
    train_on(entry(tiny_bloom, **trained), tmp_path / "sft", Lora(r=4))
    with pytest.raises(ConfigError, match=message):
        load_model(entry(tmp_path / "sft", **asked))


@pytest.mark.parametrize("options", BITS)
def test_a_merged_chain_says_what_the_chain_says(tiny, tmp_path, options):
    train_on(entry(tiny, **options), tmp_path / "0", Lora(r=4))
    expected = train_on(entry(tmp_path / "0"), tmp_path / "1", Lora(r=4))
    merged = merge(entry(tmp_path / "1"), tmp_path / "whole", "float32")
    model, tokenizer = load_model(entry(tmp_path / "whole"))
    assert tokenizer.eos_token
    assert not is_quantised(model)
    assert [path.name for path in (tmp_path / "whole").glob("*.safetensors")] == ["model.safetensors"]
    distance = float((logits(model).float() - expected.float()).norm() / expected.float().norm())
    # what computes in bfloat16 is rounded there, and whole float32 weights are not
    in_half = "dtype" in options
    assert distance <= (0.04 if in_half else 1e-4)
    assert merged.difference <= merged.largest * (0.1 if in_half else 1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "whole"]


def test_an_update_smaller_than_a_step_of_bfloat16_is_not_lost_below_another_adapter(tiny_bloom, tmp_path):
    below = entry(tiny_bloom, dtype="bfloat16")
    model, tokenizer = load_policy(below, Lora(r=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(1e-6)
    save_policy(model, tokenizer, below, tmp_path / "sft")
    start, _ = load_policy(entry(tmp_path / "sft"), Lora(r=4))
    updates = [parameter for name, parameter in start.named_parameters() if name.endswith("below.0.up")]
    assert updates
    assert all(float(update.max()) == pytest.approx(1e-6) for update in updates)
    assert all(update.dtype == torch.float32 and not update.requires_grad for update in updates)


def test_every_weight_can_be_trained_from_a_chain_on_four_bits(tiny, tmp_path):
    expected = train_on(entry(tiny, load_in_4bit=True), tmp_path / "sft", Lora(r=4))
    model, _ = load_policy(entry(tmp_path / "sft"), None)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not is_quantised(model)
    assert torch.allclose(logits(model), expected, atol=1e-4)


def test_a_merge_never_writes_over_a_folder(tiny_bloom, tmp_path):
    with pytest.raises(StageError, match="is there already"):
        merge(entry(tiny_bloom), tmp_path)


def test_a_target_that_names_no_layer_is_refused_with_what_is_near(tiny_bloom):
    with pytest.raises(ConfigError, match="'query_key_valu': did you mean 'query_key_value'"):
        load_policy(entry(tiny_bloom), Lora(target_modules=["dense", "query_key_valu"]))
    model, _ = load_policy(entry(tiny_bloom), Lora(r=2, target_modules="all-linear"))
    preset, _ = load_policy(entry(tiny_bloom), Lora(r=2))
    assert set(dict(model.named_parameters())) == set(dict(preset.named_parameters()))
