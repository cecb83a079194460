"""What models were trained on: read, carried from base to model, and known of published ones."""

import json
from pathlib import Path

import pytest

from align.errors import DataError
from align.io import write_json
from align.models.chain import write_base
from align.models.entry import Endpoint, Offline, Weights
from align.models.trained_on import (
    NOTHING,
    TrainedOn,
    benchmarks_of,
    contaminated,
    of_data,
    read_trained_on,
    trained_on,
    write_trained_on,
)
from align.train.save import save_policy


def entry(name: object) -> Weights:
    return Weights(model_name_or_path=str(name))


def whole(folder: Path, benchmarks: list[str], variant: str | None = None) -> Path:
    """A folder that looks like whole weights, and says this."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(folder.name.encode())
    write_trained_on(folder, TrainedOn(benchmarks=benchmarks, variant=variant))
    return folder


def adapter(folder: Path, below: object, benchmarks: list[str]) -> Path:
    """A folder that looks like an adapter on another one, which `base.json` names relative to it or not."""
    whole(folder, benchmarks)
    (folder / "adapter_config.json").write_text("{}")
    write_base(folder, entry(below), None)
    return folder


def test_a_chain_of_adapters_tells_all_that_any_link_was_trained_on(tmp_path):
    base = whole(tmp_path / "base", ["MBPP", "APPS"], "xP3")
    first = adapter(tmp_path / "runs" / "one" / "model", base, ["XCOPA"])
    (first.parent / "stage.json").write_text("{}")
    second = adapter(tmp_path / "runs" / "two" / "model", first, [])
    assert json.loads((second / "base.json").read_text())["model_name_or_path"].startswith("..")
    assert benchmarks_of(second) == ("MBPP", "APPS", "XCOPA")
    assert trained_on(entry(second)).variant == "xP3"
    assert benchmarks_of(str(base)) == ("MBPP", "APPS")


def test_an_adapter_on_a_published_model_tells_what_that_one_was_trained_on(tmp_path):
    assert benchmarks_of(adapter(tmp_path / "mine", "bigscience/bloomz-560m", [])) == ("MBPP", "APPS")


def test_a_base_that_is_gone_or_its_own_ends_the_chain(tmp_path):
    base = whole(tmp_path / "base", ["MBPP"])
    mine = adapter(tmp_path / "mine", base, ["APPS"])
    base.rename(tmp_path / "elsewhere")
    assert benchmarks_of(mine) == ("APPS",)
    said = json.loads((mine / "base.json").read_text())
    write_json(mine / "base.json", said | {"model_name_or_path": str(mine)})
    assert benchmarks_of(mine) == ("APPS",)


@pytest.mark.parametrize(
    ("name", "benchmarks", "variant"),
    [
        ("bigscience/bloomz", ("MBPP", "APPS"), "xP3"),
        ("bigscience/bloomz-7b1", ("MBPP", "APPS"), "xP3"),
        ("bigscience/bloomz-7b1-mt", ("MBPP", "APPS"), "xP3mt"),
        ("bigscience/mt0-xxl", ("MBPP", "APPS"), "xP3"),
        ("/hub/models--bigscience--bloomz-560m/snapshots/a1b2", ("MBPP", "APPS"), "xP3"),
        ("/models/bloomz-3b/", ("MBPP", "APPS"), "xP3"),
        ("bigscience/bloomz-p3", (), None),
        ("bigscience/bloomz-7b1-p3", (), None),
        ("bigscience/bloom-7b1", (), None),
        ("bigcode/starcoder2-3b", (), None),
        ("runs/bloomz/560m/sft-a1/model", (), None),
    ],
)
def test_what_published_models_were_trained_on_is_known_by_name(name, benchmarks, variant):
    assert benchmarks_of(entry(name)) == benchmarks_of(name) == benchmarks
    assert benchmarks_of(Endpoint(base_url="http://localhost:1", model=name)) == benchmarks
    assert trained_on(name).variant == variant


def test_a_stand_in_was_trained_on_nothing():
    assert benchmarks_of(Offline(offline="data/offline")) == ()


def test_a_mixture_beside_the_data_tells_what_it_holds(tmp_path):
    write_json(tmp_path / "mixture.json", {"sets": [], "benchmarks": ["XNLI"], "variant": "xP3all"})
    assert of_data(tmp_path / "rows.jsonl") == TrainedOn(benchmarks=["XNLI"], variant="xP3all")
    assert of_data(tmp_path / "other" / "rows.jsonl") == NOTHING
    assert of_data("hf://datasets/bigscience/xP3@main/train") == NOTHING


def test_what_the_base_was_trained_on_is_carried_on():
    base, own = TrainedOn(benchmarks=["MBPP", "APPS"], variant="xP3"), TrainedOn(benchmarks=["XNLI", "MBPP"])
    assert own.with_base(base) == TrainedOn(benchmarks=["MBPP", "APPS", "XNLI"], variant="xP3")
    assert NOTHING.with_base(base) == base
    assert own.with_base(NOTHING) == own


@pytest.mark.parametrize("text", ["", "{", "[]", '{"benchmarks": "MBPP"}', '{"benchmarks": [1]}', "\x00\x00", "null"])
def test_a_damaged_file_is_one_line(tmp_path, text):
    for name, look in (("trained_on.json", read_trained_on), ("mixture.json", lambda folder: of_data(folder / "r"))):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=name) as refused:
            look(tmp_path)
        assert "\n" not in str(refused.value)


def test_nothing_to_say_leaves_no_file(tmp_path):
    write_trained_on(tmp_path, NOTHING)
    assert list(tmp_path.iterdir()) == []
    assert read_trained_on(tmp_path) is None


def test_a_warning_names_the_model_and_the_benchmarks_it_shares(tmp_path):
    models = {
        "mine": entry(whole(tmp_path / "m", ["MBPP", "XNLI"])),
        "z": entry("bigscience/bloomz"),
        "b": entry("x/y"),
    }
    assert contaminated(models, ["MBPP", "APPS"], "score") == [
        "score: mine was trained on MBPP: its figure there measures nothing",
        "score: z was trained on MBPP, APPS (in xP3): its figure there measures nothing",
    ]
    assert contaminated(models, ["HumanEval"], "score") == []


def test_a_saved_model_says_what_its_base_was_trained_on(tiny_bloom, tmp_path):
    from align.models.load import load_policy
    from align.models.lora import Lora

    base = tmp_path / "base"
    save_policy(*load_policy(entry(tiny_bloom), None), None, base)
    assert not (base / "trained_on.json").exists()
    write_trained_on(base, TrainedOn(benchmarks=["MBPP"], variant="xP3"))
    for name, lora in (("whole", None), ("adapter", Lora(r=2))):
        save_policy(*load_policy(entry(base), lora), entry(base), tmp_path / name)
        assert read_trained_on(tmp_path / name) == TrainedOn(benchmarks=["MBPP"], variant="xP3")
