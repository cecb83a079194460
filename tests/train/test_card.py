"""The model card: base, licence, data and what not to evaluate on, the same bytes wherever the run stands."""

import json
import shutil

import pytest
from ruamel.yaml import YAML

from align.io import write, write_json
from align.models.entry import Weights
from align.models.load import load_model
from align.models.lora import Lora
from align.models.trained_on import benchmarks_of
from align.recipe.stage import Context
from align.schema import MultitaskRow
from align.stages import sft
from align.train.card import OPENRAIL, RAIL, Made, file_name, licence_of, write_cards

ARGS = {"max_steps": 2, "save_steps": 1, "use_cpu": True}


def head(folder):
    """The YAML head of a folder's card."""
    return YAML(typ="safe").load((folder / "README.md").read_text().split("---\n")[1])


@pytest.fixture
def trained(tiny, tmp_path):
    """Train on a mixture in a fresh folder, and leave the cards as the stage does."""

    def start(name, base=None, lora=None, said=None):
        mix, out = tmp_path / name / "mix", tmp_path / name / "sft"
        for folder in (mix, out):
            folder.mkdir(parents=True)
        write(mix / "rows.jsonl", [MultitaskRow(inputs=f"add {n}", targets=f"{n}") for n in range(4)])
        if said is not None:
            write_json(mix / "mixture.json", said)
        data = str(mix / "rows.jsonl")
        model = str(base or tiny("bloom"))
        config = sft.Config(model=model, data=data, lora=lora, args=ARGS, global_batch_size=2)
        context = Context("sft", out, 0, labels={data: "mix", model: "init"})
        sft.run(config, context)
        made = Made("sft", context.label(model), file_name(data, context.labels))
        write_cards(out, Weights(model_name_or_path=model), data, made)
        return out

    return start


XP3 = {"benchmarks": ["MBPP", "APPS"], "variant": "xP3"}


def test_every_model_of_the_stage_says_what_not_to_evaluate_on(trained, tmp_path):
    out = trained("one", said=XP3)
    folders = [out / "model", out / "checkpoints" / "checkpoint-1", out / "checkpoints" / "checkpoint-2"]
    for folder in folders:
        assert json.loads((folder / "trained_on.json").read_text()) == XP3
        text = (folder / "README.md").read_text()
        assert "Trained on: MBPP, APPS (in xP3): do not evaluate on them." in text
        assert "Data: `mix/rows.jsonl`" in text
        assert "Base: `init`" in text
        assert str(tmp_path) not in text
        load_model(Weights(model_name_or_path=str(folder)))


def test_the_next_stage_carries_it_on_with_and_without_adapters(trained):
    first = trained("first", said=XP3)
    second = trained("second", base=first / "model", lora=Lora(r=2), said={"benchmarks": ["XNLI"], "variant": None})
    third = trained("third", base=second / "model")
    for out in (second, third):
        assert benchmarks_of(out / "model") == ("MBPP", "APPS", "XNLI")
        assert "MBPP, APPS, XNLI (in xP3)" in (out / "model" / "README.md").read_text()
        assert head(out / "model")["license"] == head(first / "model")["license"] == RAIL


def test_the_same_run_elsewhere_leaves_the_same_bytes(trained, tmp_path):
    one, other = trained("one", said=XP3), trained("a longer name", said=XP3)
    for name in ("README.md", "trained_on.json"):
        assert (one / "model" / name).read_bytes() == (other / "model" / name).read_bytes()


def test_without_a_mixture_nothing_is_claimed(trained):
    out = trained("one")
    assert not (out / "model" / "trained_on.json").exists()
    assert "no benchmark that is known of" in (out / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("bigscience/bloom-560m", RAIL),
        ("bigscience/bloomz-7b1", RAIL),
        ("/hub/models--bigscience--bloom-3b/snapshots/a1", RAIL),
        ("bigcode/starcoder2-7b", OPENRAIL),
        ("bigcode/starcoderbase", OPENRAIL),
        ("Qwen/Qwen2.5-Coder-7B", None),
    ],
)
def test_a_licence_is_told_by_the_published_base(name, licence):
    assert licence_of(name) == licence


def test_a_licence_is_told_by_a_folders_card_then_by_its_class(tiny, tmp_path):
    folder = tmp_path / "stage" / "model"
    shutil.copytree(tiny("gpt_bigcode"), folder)
    assert licence_of(str(folder)) == OPENRAIL
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\nlicense: no\n")
    assert licence_of(str(folder)) == "mit"
    (folder / "README.md").write_text("# A card without a head\nlicense: no\n")
    assert licence_of(str(folder)) is None


def test_random_weights_of_our_own_are_nobodys(tiny, tmp_path):
    folder = tmp_path / "init" / "model"
    shutil.copytree(tiny("bloom"), folder)
    write_json(tmp_path / "init" / "stage.json", {"kind": "init"})
    assert licence_of(str(folder)) is None


def test_names_of_the_users_cannot_break_the_card(tmp_path):
    (tmp_path / "model").mkdir()
    made = Made("a\n# b", "c`d", "rows\n---\n.jsonl")
    write_cards(tmp_path, Weights(model_name_or_path="bigscience/bloom-560m", revision="a1"), "rows.jsonl", made)
    text = (tmp_path / "model" / "README.md").read_text()
    assert text.count("\n---\n") == 1
    assert "# a # b" in text
    assert "Base: `bigscience/bloom-560m at a1`" in text
    assert head(tmp_path / "model")["base_model"] == "bigscience/bloom-560m"
