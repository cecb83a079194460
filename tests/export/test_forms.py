"""The forms of a model: each reloads as what was merged, appears whole or not at all, and says what it cannot do."""

import importlib.util
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from align.errors import BackendError, ConfigError, StageError
from align.export import forms
from align.export.forms import Calibration, check_forms, merged, model_type, quantised, said, size
from align.generate.batched import load
from align.generate.request import Request, Sampling
from align.models.entry import Weights
from align.models.load import load_model, load_policy
from align.models.lora import Lora
from align.models.quantise import is_quantised
from align.train.save import save_policy

PROMPTS = ["# add 3 to every item\ndef f(xs):\n", "def f", "# add 30 to"]


def entry(folder, **options):
    return Weights(model_name_or_path=str(folder), **options)


def greedy(folder, prompts=PROMPTS, batch_size=8, **sampling):
    how = Sampling(**{"temperature": 0.0, "max_new_tokens": 12} | sampling)
    asked = [Request(prompt=prompt, sampling=how, seed=n) for n, prompt in enumerate(prompts)]
    found = {}
    for replies in load(entry(folder), batch_size).generate(asked):
        found |= replies
    return [found[n] for n in range(len(prompts))]


def needs(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


@pytest.fixture(scope="module")
def wholes(make, tmp_path_factory):
    names = ("gpt_bigcode", "bloom", "starcoder2")
    return {name: make(name, tmp_path_factory.mktemp(name) / "model") for name in names}


def test_a_chain_is_merged_into_weights_that_say_the_same(make, tmp_path):
    base = make("starcoder2", tmp_path / "base")
    model, tokenizer = load_policy(entry(base), Lora(r=4))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2, generator=torch.Generator().manual_seed(1))
    save_policy(model, tokenizer, entry(base), tmp_path / "adapter")
    made = merged(entry(tmp_path / "adapter"), tmp_path / "model", "auto")
    assert made.difference < 1e-5
    assert made.bytes == size(tmp_path / "model") > 0
    assert greedy(tmp_path / "model") == greedy(tmp_path / "adapter") != greedy(base)


@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4"])
@pytest.mark.parametrize("architecture", ["gpt_bigcode", "bloom", "starcoder2"])
def test_bitsandbytes_forms_reload_as_what_was_quantised(wholes, tmp_path, name, architecture):
    made = quantised(name, wholes[architecture], tmp_path / name, Calibration())
    four = {"load_in_4bit": True} if name == "bnb-nf4" else {"load_in_8bit": True}
    expected, _ = load_model(entry(wholes[architecture], **four))
    found, _ = load_model(entry(tmp_path / name))
    ids = torch.arange(2, 40)[None]
    assert is_quantised(found)
    assert torch.allclose(found(input_ids=ids).logits, expected(input_ids=ids).logits, atol=1e-5)
    assert 0 < made.difference < made.largest
    assert made.bytes < size(wholes[architecture])


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "bloom"])
def test_ctranslate2_answers_as_transformers_does_with_the_same_ends(wholes, tmp_path, architecture):
    needs("ctranslate2")
    made = quantised("ctranslate2", wholes[architecture], tmp_path / "ct", Calibration())
    assert 0 < made.difference < 0.05 * made.largest
    plain = greedy(wholes[architecture])
    assert [reply.text for reply in greedy(tmp_path / "ct")] == [reply.text for reply in plain]
    assert [reply.finish for reply in greedy(tmp_path / "ct")] == [reply.finish for reply in plain]
    middle = plain[0].text[3:5]
    for sampling in ({"stop": [middle]}, {"stop": [middle], "min_new_tokens": 8}, {"max_new_tokens": 3}):
        assert greedy(tmp_path / "ct", **sampling) == greedy(wholes[architecture], **sampling)


def test_ctranslate2_draws_the_same_for_the_same_requests(wholes, tmp_path):
    needs("ctranslate2")
    quantised("ctranslate2", wholes["gpt_bigcode"], tmp_path / "ct", Calibration())
    first, again = (greedy(tmp_path / "ct", temperature=1.0, top_p=0.9) for _ in range(2))
    other = greedy(tmp_path / "ct", temperature=1.0, top_p=0.95)
    assert first == again != other


@pytest.mark.slow
def test_a_process_that_generated_with_ctranslate2_ends_well(wholes, tmp_path):
    needs("ctranslate2")
    quantised("ctranslate2", wholes["gpt_bigcode"], tmp_path / "ct", Calibration())
    program = (
        "from align.generate import generator, Request, Sampling; from align.models.entry import Weights\n"
        f"g = generator(Weights(model_name_or_path={str(tmp_path / 'ct')!r}))\n"
        "how = Sampling(temperature=0, max_new_tokens=8, stop=['zz'])\n"
        "print(next(g.generate([Request(prompt='def f', sampling=how)]))[0].text)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()


def test_a_class_that_a_library_does_not_know_is_refused_before_anything_is_made(wholes):
    needs("ctranslate2")
    assert model_type(entry(wholes["starcoder2"])) == "starcoder2"
    with pytest.raises(ConfigError, match=r"ctranslate2: its library does not convert starcoder2"):
        check_forms(["ctranslate2"], "starcoder2")
    check_forms(["safetensors", "ctranslate2", "bnb-int8", "bnb-nf4"], "bloom")


def test_a_library_that_is_missing_is_one_line_with_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"gptq-int4: gptqmodel is not installed: pip install 'align-rrtf\[gptq\]'"):
        check_forms(["gptq-int4"], "bloom")


def test_a_converted_folder_only_generates(wholes, tmp_path):
    needs("ctranslate2")
    quantised("ctranslate2", wholes["bloom"], tmp_path / "ct", Calibration())
    with pytest.raises(ConfigError, match="CTranslate2"):
        load_model(entry(tmp_path / "ct"))


def test_a_killed_export_leaves_no_folder_under_its_name(wholes, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(forms, "said", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        child = multiprocessing.get_context("fork").Process(
            target=quantised, args=("bnb-int8", wholes["bloom"], tmp_path / "int8", Calibration())
        )
        child.start()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".int8"]
    quantised("bnb-int8", wholes["bloom"], tmp_path / "int8", Calibration())
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(wholes, tmp_path):
    needs("ctranslate2")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        for name in ("bnb-int8", "ctranslate2"):
            with pytest.raises(StageError, match=r"cannot be written .*make room"):
                quantised(name, wholes["bloom"], tmp_path / name, Calibration())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handled)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gptq-int8", "gptq-int4"])
def test_gptq_forms_reload_close_to_the_whole_weights(wholes, tmp_path, name):
    needs("gptqmodel")
    needs("optimum")
    texts = [f"# add {n} to every item\ndef f(xs):\n    return [x + {n} for x in xs]\n" * 4 for n in range(16)]
    made = quantised(name, wholes["starcoder2"], tmp_path / name, Calibration(texts, 32))
    assert 0 < made.difference < 0.3 * made.largest
    assert not list((tmp_path / name).glob(".*"))
    assert torch.equal(said(tmp_path / name), said(tmp_path / name))


def test_what_gptq_says_at_its_end_is_the_message(wholes, tmp_path, monkeypatch):
    stand_in = tmp_path / "stand_in" / "gptqmodel"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text("raise RuntimeError('no card here')\n")
    path = os.pathsep.join([str(stand_in.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    with pytest.raises(BackendError, match=r"GPTQ in 4 bits: gptqmodel gave up \(RuntimeError: no card here\)"):
        forms.gptq.convert(wholes["bloom"], _empty(tmp_path / "out"), 4, 32, ["text"])


def _empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
