"""What a recipe says of the model that a training starts from, before anything is loaded."""

import importlib.util
import json

import pytest

from align.errors import BackendError, ConfigError
from align.io import write
from align.models.chain import check_folder
from align.models.entry import Weights
from align.models.launcher import check_trainable
from align.models.lora import Lora
from align.recipe import Recipe
from align.train.start import start_faults

from .conftest import SFT

HEAD = """
models:
  m: {{model_name_or_path: {model}}}
  four: {{model_name_or_path: {model}, load_in_4bit: true}}
  half: {{model_name_or_path: {model}, dtype: float16}}
  hub: {{model_name_or_path: bigcode/starcoder}}
  server: {{base_url: "http://localhost:1", model: a}}
stages:
  init: {{architecture: bloom, texts: rows.jsonl}}
  whole: {{use: sft, model: m, data: rows.jsonl}}
  adapted: {{use: sft, model: m, data: rows.jsonl, lora: {{r: 4}}}}
"""


@pytest.fixture
def load(tiny, tmp_path):
    """Read a recipe whose last stage trains as the text says."""

    def read(stage):
        write(tmp_path / "rows.jsonl", SFT[:2])
        (tmp_path / "ddp.yaml").write_text("num_processes: 2\n")
        path = tmp_path / "recipe.yaml"
        path.write_text(f"{HEAD.format(model=tiny())}  last: {{data: rows.jsonl, {stage}}}\n")
        return Recipe.load(path)

    return read


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("use: sft, model: m, lora: {continue: true}", "lora.continue: .* holds no adapter"),
        ("use: sft, model: hub, lora: {continue: true}", "lora.continue: bigcode/starcoder holds no adapter"),
        ("use: sft, model: $init/model, lora: {continue: true}", "lora.continue: .init/model holds no adapter"),
        ("use: sft, model: $whole/model, lora: {continue: true}", "lora.continue: .whole/model holds no adapter"),
        ("use: sft, model: server", "model: 'server' has no weights here"),
        ("use: sft, model: four", "model: .*weights in 4 bits cannot be trained: add a `lora:` section"),
        ("use: sft, model: half", "model: .*float16 overflows"),
        ("use: sft, model: m, max_length: 129", "max_length: 129 is more than the model's 128 positions"),
        ("use: sft, model: hub, max_length: 8193", "max_length: 8193 is more than the model's 8192 positions"),
        ("use: sft, model: m, lora: {target_modules: [c_atn]}", "target_modules: no linear layer is called 'c_atn'"),
        ("use: sft, model: m, launch: {config_file: dp.yaml}", "launch.config_file: no file 'dp.yaml'"),
        ("use: sft, model: m, engine: trl, global_batch_size: 9, launch: {num_processes: 2}", "no multiple of the 2"),
        ("use: align, model: $adapted/model, engine: trl, loss: {name: dpo}, lora: {continue: true}", "its adapter"),
    ],
)  # fmt: skip
def test_what_loading_would_refuse_is_said_by_the_recipe(load, stage, message):
    with pytest.raises(ConfigError, match=r"recipe\.yaml:\d+: stages\.last\." + ".*" + message):
        load(stage)


@pytest.mark.parametrize(
    "stage",
    [
        "use: sft, model: $adapted/model, lora: {continue: true}",
        "use: sft, model: four, lora: {target_modules: [attn.c_proj, lm_head]}",
        "use: sft, model: m, max_length: 128, lora: {target_modules: all-linear}",
        "use: sft, model: hub, max_length: 8192",
        "use: sft, model: m, launch: {config_file: ddp.yaml, num_processes: 2}",
    ],
)
def test_what_can_be_loaded_passes(load, stage):
    assert load(stage).stages[-1].name == "last"


def test_an_adapters_folder_can_be_continued(tmp_path, tiny):
    folder = tmp_path / "adapter"
    folder.mkdir()
    base = {"model_name_or_path": str(tiny()), "revision": None, "dtype": "float32", "load_in_4bit": False}
    (folder / "base.json").write_text(json.dumps(base | {"weights": None}))
    assert list(start_faults(Weights(model_name_or_path=str(folder)), Lora(**{"continue": True}), None)) == []


@pytest.mark.parametrize("missing", ["gptqmodel", "optimum"])
def test_weights_of_gptq_need_their_library_and_adapters(tmp_path, monkeypatch, missing):
    config = {"model_type": "bloom", "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(
        BackendError, match=rf"of GPTQ, and {missing} is not installed: pip install 'align-rrtf\[gptq\]'"
    ):
        check_folder(tmp_path)
    entry = Weights(model_name_or_path=str(tmp_path))
    check_trainable(entry, adapters=True)
    with pytest.raises(ConfigError, match="weights of GPTQ cannot be trained: add a `lora:` section"):
        check_trainable(entry, adapters=False)
