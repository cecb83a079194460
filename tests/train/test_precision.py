"""PITFALLS 11b: weights under training are float32, so that a small update is not rounded away."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from align.errors import ConfigError
from align.models.entry import Weights
from align.models.load import load_policy
from align.models.lora import Lora
from align.train.config import AlignConfig
from align.train.trainer import AlignTrainer

from .conftest import GRADIENT, SFT

TINY_STEP = GRADIENT | {"optim": "adamw_torch", "learning_rate": 1e-7, "weight_decay": 0.0, "bf16": True}


@pytest.mark.parametrize("lora", [None, Lora(r=4)])
def test_an_update_of_1e_7_survives_a_step_under_bf16(run, tiny, lora):
    """Adam's first step is ± the learning rate whatever the gradient; norms start at 1, so their change is relative."""
    out, counts = run(SFT, args=TINY_STEP, lora=lora)
    assert counts["trainable_dtype"] == "float32"
    if lora is None:
        before, after = load_file(tiny() / "model.safetensors"), load_file(out / "model" / "model.safetensors")
        moved = [after[name] != before[name] for name in after if "ln_" in name and name.endswith("weight")]
    else:
        moved = [v != 0 for n, v in load_file(out / "model" / "adapter_model.safetensors").items() if "lora_B" in n]
    assert torch.cat([each.flatten() for each in moved]).float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_without_a_master_copy_is_refused(tiny, tmp_path, dtype):
    model = AutoModelForCausalLM.from_pretrained(tiny(), dtype=dtype)
    config = AlignConfig(str(tmp_path), max_steps=1, use_cpu=True)
    with pytest.raises(ConfigError, match=f"would be trained in {str(dtype)[6:]}.*float32"):
        AlignTrainer(model, config, SFT, processing_class=AutoTokenizer.from_pretrained(tiny()))


def test_an_entry_in_float16_is_refused(tiny):
    with pytest.raises(ConfigError, match="float16 overflows"):
        load_policy(Weights(model_name_or_path=str(tiny()), dtype="float16"), None)
