import json

import pytest

from align.models.entry import Endpoint, Offline, Weights
from align.models.family import FAMILIES, families, real_name, same_family


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen2.5-Coder-32B-Instruct", {"qwen"}),
        ("qwq-32b", {"qwen"}),
        ("gpt-4o-mini", {"openai"}),
        ("openai/gpt-oss-120b", {"openai"}),
        ("o3-mini", {"openai"}),
        ("claude-sonnet-4", {"claude"}),
        ("bigcode/starcoder2-15b", {"starcoder"}),
        ("gpt_bigcode", {"starcoder"}),
        ("bigscience/bloomz-560m", {"bloom"}),
        ("codellama/CodeLlama-7b-hf", {"llama"}),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", {"deepseek", "qwen"}),
        ("microsoft/phi-4", {"phi"}),
        ("dolphin-mix", set()),
        ("01-ai/Yi-34B", {"yi"}),
        ("playing-models", set()),
        ("EleutherAI/gpt-neo-1.3B", set()),
        ("openai-community/gpt2", set()),
        ("my-model", set()),
        ("", set()),
    ],
)
def test_names_tell_families(name, expected):
    assert families(name) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_knows_its_own_name_or_a_model(family):
    known = {"openai": "gpt-5", "cohere": "command-r"}
    assert families(f"maker/{known.get(family, family)}-7b") == {family}


def test_candidates_of_the_judges_family_and_the_judge_itself_are_told():
    candidates = {"student": "bigcode/starcoder2-7b", "teacher": "Qwen/Qwen3", "own": "house-model"}
    assert same_family("qwen2.5-coder", candidates) == ["teacher"]
    assert same_family("house-model", candidates) == ["own"]
    assert same_family("claude", candidates) == []


def test_an_entry_tells_its_real_name(tmp_path):
    assert real_name(Endpoint(base_url="http://x", model="gpt-4o")) == "gpt-4o"
    assert real_name(Offline(offline="data/offline")) == "data/offline"
    assert real_name(Weights(model_name_or_path="bigcode/starcoder2-7b")) == "bigcode/starcoder2-7b"
    folder = tmp_path / "model"
    folder.mkdir()
    assert real_name(Weights(model_name_or_path=str(folder))) == "model"
    (folder / "config.json").write_text("no json")
    assert real_name(Weights(model_name_or_path=str(folder))) == "model"
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert real_name(Weights(model_name_or_path=str(folder))) == "qwen2"
    (folder / "base.json").write_text(json.dumps({"model_name_or_path": "bigcode/starcoder2-7b"}))
    assert real_name(Weights(model_name_or_path=str(folder))) == "bigcode/starcoder2-7b"
