import json
import shutil

import pytest
import torch

from align.errors import BackendError, ConfigError, DataError
from align.models.chain import copy_model
from align.models.entry import Weights
from align.models.load import load_model, load_policy
from align.models.lora import Lora
from align.train.save import save_policy

IDS = torch.arange(2, 42).view(2, 20)


def entry(folder, **options):
    return Weights(model_name_or_path=str(folder), **options)


def perturb(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def logits(model):
    return model.eval()(input_ids=IDS).logits


def train_on(source, folder, lora):
    """What a training stage does to a folder, without the training; returns the logits it must reload to."""
    model, tokenizer = load_policy(entry(source), lora)
    expected = logits(perturb(model))
    save_policy(model, tokenizer, entry(source), folder)
    return expected


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_a_saved_model_reloads_to_the_same_logits(tiny, tmp_path, lora):
    expected = train_on(tiny, tmp_path / "model", lora)
    assert not torch.allclose(expected, logits(load_model(entry(tiny))[0]), atol=1e-3)
    assert torch.equal(logits(load_model(entry(tmp_path / "model"))[0]), expected)


def test_adapters_on_adapters_reload_to_the_same_logits(tiny, tmp_path):
    for number, source in enumerate([tiny, tmp_path / "0", tmp_path / "1"]):
        expected = train_on(source, tmp_path / str(number), Lora(r=4))
    assert torch.equal(logits(load_model(entry(tmp_path / "2"))[0]), expected)


def test_training_on_top_of_an_adapter_starts_from_what_it_learnt(tiny, tmp_path):
    expected = train_on(tiny, tmp_path / "sft", Lora(r=4))
    for lora in (None, Lora(r=4)):
        start = logits(load_policy(entry(tmp_path / "sft"), lora)[0])
        assert torch.allclose(start, expected, atol=1e-5)


def test_full_fine_tuning_on_top_of_an_adapter_trains_every_weight(tiny, tmp_path):
    train_on(tiny, tmp_path / "sft", Lora(r=4))
    model, _ = load_policy(entry(tmp_path / "sft"), None)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_chain_moves_together_with_its_runs(tiny, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(tiny, runs / "init-1" / "model")
    (runs / "init-1" / "stage.json").write_text("{}")
    expected = train_on(runs / "init-1" / "model", runs / "sft-1" / "model", Lora(r=4))
    runs.rename(tmp_path / "moved")
    assert torch.equal(logits(load_model(entry(tmp_path / "moved" / "sft-1" / "model"))[0]), expected)


def test_a_copied_adapter_stands_on_the_same_base_and_moves_along(tiny, tmp_path):
    runs = tmp_path / "runs"
    for stage in ("init-1", "sft-1", "pick-1"):
        (runs / stage).mkdir(parents=True)
        (runs / stage / "stage.json").write_text("{}")
    shutil.copytree(tiny, runs / "init-1" / "checkpoints" / "checkpoint-5")
    source = runs / "sft-1" / "checkpoints" / "checkpoint-10"
    expected = train_on(runs / "init-1" / "checkpoints" / "checkpoint-5", source, Lora(r=4))
    copy_model(source, runs / "pick-1" / "model")
    runs.rename(tmp_path / "moved")
    assert torch.equal(logits(load_model(entry(tmp_path / "moved" / "pick-1" / "model"))[0]), expected)


def test_a_base_that_was_exchanged_is_refused(tiny, tmp_path):
    base = shutil.copytree(tiny, tmp_path / "base")
    train_on(base, tmp_path / "adapter", Lora(r=4))
    train_on(base, base, None)
    with pytest.raises(DataError, match="other weights"):
        load_model(entry(tmp_path / "adapter"))
    shutil.rmtree(base)
    with pytest.raises(DataError, match="is gone"):
        load_model(entry(tmp_path / "adapter"))


def test_every_dropout_of_the_configuration_is_off(tiny, tmp_path):
    source = with_dropout(tiny, tmp_path / "model")
    model, _ = load_policy(entry(source), None)
    assert torch.equal(model.train()(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits)
    model, _ = load_policy(entry(source), None, disable_dropout=False)
    assert not torch.equal(model.train()(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits)


def with_dropout(source, folder):
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {name: 0.3 for name in config if "drop" in name}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_trained_weights_are_float32_whatever_the_frozen_ones_are(tiny, lora):
    model, _ = load_policy(entry(tiny, dtype="bfloat16"), lora)
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    frozen = {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad}
    assert dtypes == {torch.float32}
    assert frozen == ({torch.bfloat16} if lora else set())


def test_an_update_of_a_ten_millionth_survives(tiny):
    model, _ = load_policy(entry(tiny, dtype="bfloat16"), None)
    weight = next(parameter for parameter in model.parameters() if parameter.requires_grad)
    before = weight.detach().clone()
    weight.grad = 2.5e-7 * before
    torch.optim.SGD([weight], lr=1.0).step()
    moved = before != 0
    assert (weight != before)[moved].float().mean() > 0.9


@pytest.mark.parametrize(
    ("missing", "message"),
    [("model.safetensors", "safetensors weights"), ("config.json", "configuration"), ("tokenizer*", "tokenizer")],
)
def test_a_folder_without_a_part_is_named(tiny, tmp_path, missing, message):
    folder = shutil.copytree(tiny, tmp_path / "model")
    for path in folder.glob(missing):
        path.unlink()
    with pytest.raises(DataError, match=message):
        load_model(entry(folder))


def test_weights_cut_off_are_one_line(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be loaded"):
        load_model(entry(folder))


def test_a_hub_id_without_a_network_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackendError, match="no folder here"):
        load_model(entry("nobody/no-such-model"))


@pytest.mark.parametrize(
    ("options", "lora", "message"),
    [
        ({"dtype": "float16"}, None, "overflows"),
        ({"load_in_4bit": True}, None, "lora"),
        ({}, Lora(lora_dropout=0.1), "disable_dropout"),
        ({}, Lora(target_modules=["no_such_layer"]), "target_modules"),
    ],
)
def test_options_that_exclude_each_other_are_refused(tiny, options, lora, message):
    with pytest.raises(ConfigError, match=message):
        load_policy(entry(tiny, **options), lora)


def test_a_class_without_default_layers_asks_for_them():
    with pytest.raises(ConfigError, match="give target_modules"):
        Lora().targets("opt")
