"""The mix stage: from a recipe to rows in order, the same after a kill, and every mistake one line before it begins."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align.cli import main
from align.errors import AlignError, ConfigError, DataError
from align.io import read
from align.recipe import Recipe
from align.recipe.stage import Context
from align.schema import MultitaskRow
from align.stages import mix

TEMPLATES = """
- {name: ask, input: 'Plural of {{ word }}?', target: '{{ plural }}'}
- {name: say, input: 'One {{ word }}, two', target: '{{ [plural, plural] | choice }}.'}
"""
RECIPE = """
seed: 3
stages:
  mix:
    sources:
      - {xp3: xp3, languages: [en, zh]}
      - {data: [words.en.jsonl, words.sw.jsonl], templates: words.yaml}
    weights: {en: 5, zh: 3, sw: 2}
    size: 100
    validation: 0.1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with a folder in xP3's form and raw data in two languages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    for code in ("en", "zh", "fr"):
        rows = [{"inputs": f"{code} {n}?", "targets": f"{code}{n}"} for n in range(30)]
        write(tmp_path / "xp3" / code / f"xp3_demo_train_{code}.jsonl", rows)
        write(tmp_path / "xp3" / code / f"xp3_demo_validation_{code}.jsonl", rows)
    for code in ("en", "sw"):
        write(tmp_path / f"words.{code}.jsonl", [{"word": f"{code}{n}", "plural": f"{code}{n}s"} for n in range(40)])
    (tmp_path / "words.yaml").write_text(TEMPLATES)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(out, **config):
    out.mkdir(parents=True, exist_ok=True)
    given = mix.Config.model_validate({"workers": 1, **config})
    return mix.run(given, Context("mix", out, 0))


def left(out):
    return {name: (out / name).read_bytes() for name in mix.OUTPUTS}


def test_a_recipe_leaves_rows_in_their_order_and_what_they_are_of(folder, capsys):
    assert main(["check", "recipe.yaml"]) == 0
    capsys.readouterr()
    out = Recipe.load("recipe.yaml").run() / "mix"
    rows, held = (read(out / name, MultitaskRow) for name in mix.OUTPUTS[:2])
    assert [sum(row.language == code for row in rows) for code in ("en", "zh", "sw")] == [50, 30, 20]
    assert not {(row.inputs, row.targets) for row in rows} & {(row.inputs, row.targets) for row in held}
    facts = json.loads((out / "mixture.json").read_text())
    assert facts["benchmarks"] == []
    assert facts["variant"] == "xP3"
    assert facts["left_out"] == ["demo validation"]
    assert [one["set"] for one in facts["sets"]] == ["en", "sw", "zh"]
    assert {one["task"] for one in facts["tasks"]} == {"demo", "words"}
    assert str(folder) not in (out / "mixture.json").read_text()
    assert not (out / mix.POOL).exists()
    told = capsys.readouterr().out
    assert "100 examples of 3 sets" in told
    assert "rows 100, validation 22, sets 3" in told


def test_a_changed_file_in_the_folder_is_another_key(folder):
    out = (Recipe.load("recipe.yaml").run() / "mix").resolve()
    again = (Recipe.load("recipe.yaml").run() / "mix").resolve()
    assert again == out
    write(folder / "xp3" / "zh" / "xp3_demo_train_zh.jsonl", [{"inputs": f"{n}?", "targets": "x"} for n in range(30)])
    assert (Recipe.load("recipe.yaml").run() / "mix").resolve() != out


def test_the_same_bytes_with_any_number_of_processes(folder):
    config = {"sources": [{"data": ["words.en.jsonl", "words.sw.jsonl"], "templates": "words.yaml"}], "size": 90}
    run(folder / "one", **config)
    run(folder / "two", **config, workers=2)
    assert left(folder / "one") == left(folder / "two")


def test_a_killed_run_goes_on_and_leaves_the_same_bytes(folder):
    for code in ("en", "sw"):
        write(folder / f"words.{code}.jsonl", [{"word": f"{code}{n}", "plural": f"{n}s"} for n in range(2000)])
    command = [sys.executable, "-m", "align", "run", "recipe.yaml", "--run", "killed"]
    begun = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not (parts := finished(folder)) and begun.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.communicate()
    assert 0 < len(parts) < 6, "killed in the middle of rendering"
    kept = [path.stat().st_mtime_ns for path in parts]
    (killed,) = (folder / "runs" / "killed").glob("mix-*")
    assert not (killed / "rows.jsonl").exists()
    assert [path.stat().st_mtime_ns for path in parts] == kept
    resumed = Recipe.load("recipe.yaml").run(name="killed") / "mix"
    whole = Recipe.load("recipe.yaml").run(name="whole", runs=Path("others")) / "mix"
    assert left(resumed) == left(whole)


def finished(folder):
    return list(folder.glob(f"runs/killed/mix-*/{mix.POOL}/parts/*.json"))


def test_packed_rows_stand_together_and_their_ids_are_kept(folder, tmp_path):
    pytest.importorskip("transformers")
    from align.models.load import load_tokenizer
    from align.models.tiny import random_model, save_tiny, train_tokenizer
    from align.text.encode import Encoder
    from align.text.token_store import TokenStore, store_folder

    tokenizer = train_tokenizer([f"Plural of en{n}?" for n in range(99)], 300)
    shape = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "max_position": 128}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, folder / "model")
    text = RECIPE.replace("size: 100", "size: 20\n    unit: packed_row\n    model: m\n    max_length: 64")
    text = text.replace("seed: 3", "seed: 3\nmodels: {m: {model_name_or_path: model}}")
    (folder / "recipe.yaml").write_text(text)
    recipe = Recipe.load("recipe.yaml")
    out = recipe.run() / "mix"
    rows = read(out / "rows.jsonl", MultitaskRow)
    packs = [row.pack for row in rows]
    assert packs == sorted(packs)
    assert set(packs) == set(range(20))
    per_set = [len({row.pack for row in rows if row.language == code}) for code in ("en", "zh", "sw")]
    assert per_set == [10, 6, 4]
    encoder = Encoder(load_tokenizer(recipe.models["m"]))
    tokens = [len(encoder.prompt(row.inputs)) + len(encoder.response(f" {row.targets}")) for row in rows]
    assert max(sum(n for n, pack in zip(tokens, packs, strict=True) if pack == one) for one in range(20)) <= 64
    stores = store_folder((out / "rows.jsonl").resolve())
    before = {path.name for path in stores.iterdir() if path.is_dir()}
    store = TokenStore.of(out / "rows.jsonl", encoder, stores)
    assert {path.name for path in stores.iterdir() if path.is_dir()} == before
    assert (store.prompts + store.targets).tolist() == tokens
    assert store.packs.tolist() == packs
    facts = json.loads((out / "mixture.json").read_text())
    assert facts["packed_rows"] == 20
    assert facts["fill"] == pytest.approx(sum(tokens) / (20 * 64), abs=1e-5)
    assert facts["tokens"] == sum(tokens)


def test_benchmarks_are_named_and_warned_of(folder, capsys):
    write(folder / "mbpp.jsonl", [{"inputs": f"{n}", "targets": "x"} for n in range(9)])
    write(folder / "xcopa.en.jsonl", [{"inputs": f"{n}", "targets": "y"} for n in range(9)])
    run(folder / "out", sources=[{"data": "mbpp.jsonl", "language": "code"}, {"data": "xcopa.en.jsonl"}])
    facts = json.loads((folder / "out" / "mixture.json").read_text())
    assert facts["benchmarks"] == ["MBPP", "XCOPA"]
    assert facts["variant"] is None
    assert "align: warning: mix: it trains on MBPP, XCOPA" in capsys.readouterr().err


def test_xp3s_weights_keep_their_share_for_validation(folder):
    entries = ", ".join(f"{weight} 0:0.9 /data/xp3_{code}" for code, weight in (("en", 0.6), ("zh", 0.3), ("fr", 0.1)))
    (folder / "weights.txt").write_text(f'"train: {entries}"\n')
    counts = run(folder / "out", sources=[{"xp3": "xp3"}], weights="weights.txt", size=50)
    assert counts == {"rows": 50, "validation": 9, "sets": 3, "dropped": {}}


DATA = {"data": "words.en.jsonl", "templates": "words.yaml"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sources": [{}]}, "sources.0: give either xp3 or data"),
        ({"sources": [{"xp3": "xp3", "data": "words.en.jsonl"}]}, "sources.0: give either xp3 or data"),
        ({"sources": [{"xp3": "none"}]}, "sources.0.xp3: no folder 'none'"),
        ({"sources": [{"data": ["none.jsonl"]}]}, "sources.0.data.0: no file 'none.jsonl'"),
        ({"sources": [{"xp3": "xp3", "task": "a"}]}, "sources.0.task: is not for xp3"),
        ({"sources": [{**DATA, "merged": True}]}, "sources.0.merged: is not for data"),
        ({"sources": [{"data": "words.en.jsonl", "names": ["ask"]}]}, "sources.0.names: names templates"),
        ({"unit": "packed_row"}, "model: missing: packed rows need a tokenizer"),
        ({"unit": "row"}, "unit: must be 'example' or 'packed_row', found 'row'"),
        ({"max_length": 9}, "max_length: is in tokens, which need a tokenizer"),
        ({"temperature": 2.0}, "temperature: is for weights by size"),
        ({"weights": {"en": -1.0}}, "weights.en: must be a number from 0 on, found -1.0"),
        ({"weights": "none.txt"}, "weights: no file 'none.txt'"),
        ({"validation": 1.0}, "validation: must be less than 1"),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_place(folder, change, says):
    from ruamel.yaml import YAML

    base = {"sources": [DATA], "weights": {"en": 1}}
    with open("recipe.yaml", "w") as file:
        YAML(typ="safe").dump({"stages": {"mix": {**base, **change}}}, file)
    with pytest.raises(ConfigError) as caught:
        Recipe.load("recipe.yaml")
    assert f"stages.mix.{says}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{data: words.en.jsonl, templates: words.yaml, names: [aks]}", "templates: .*no template 'aks': did you mean"),
        ("{data: words.en.jsonl, templates: bad.yaml}", "templates: .*bad.yaml:1: unknown key 'inputt'"),
        ("{data: words.en.jsonl, language: klingon}", "data: .*unknown language 'klingon'"),
        ("{data: words.jsonl}", "data: .*the name does not tell the language"),
        ("{xp3: xp3, languages: [sw]}", "xp3: .*sw"),
        ("{data: words.en.jsonl, templates: field.yaml}", "data: .*template 'bad': no column 'wrod' in .*did you mean"),
        ("{data: words.en.jsonl}", "data: .*words.en.jsonl: no column 'inputs'"),
        ("{data: empty.en.jsonl, templates: words.yaml}", "data: .*empty.en.jsonl: no rows in it"),
        ("{data: torn.en.jsonl, templates: words.yaml}", "data: .*torn.en.jsonl:41: not JSON"),
        ("{data: words.en.jsonl, templates: words.yaml, columns: {word: wort}}", "data: .*no column 'wort'"),
    ],
)
def test_a_check_finds_a_source_that_cannot_serve(folder, source, says, capsys):
    (folder / "bad.yaml").write_text("- {name: bad, inputt: x, target: y}\n")
    (folder / "field.yaml").write_text("- {name: bad, input: '{{ wrod }}', target: y}\n")
    (folder / "words.jsonl").write_text((folder / "words.en.jsonl").read_text())
    (folder / "empty.en.jsonl").touch()
    (folder / "torn.en.jsonl").write_text((folder / "words.en.jsonl").read_text() + '{"word":\n')
    (folder / "recipe.yaml").write_text(f"stages: {{mix: {{sources: [{source}]}}}}\n")
    assert main(["check", "recipe.yaml"]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"recipe.yaml:1: stages.mix.sources.0.{says}", said)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("weights: {en: 1, eng: 1}", "weights: no set 'eng' in the sources: did you mean 'en'?"),
        ("weights: {en: 1}", "weights: set 'sw' has no weight: add it, or write 0 to leave it out"),
        ("weights: weights.txt", "weights: weights.txt: no set 'es' in the sources"),
        ("weights: torn.txt", "weights: {folder}/torn.txt: expected Megatron's form"),
        ("by: task, weights: {word: 1}", "weights: no set 'word' in the sources: did you mean 'words'?"),
        ("model: far", "model: 'far' has no weights here: name an entry with model_name_or_path"),
    ],
)
def test_a_check_finds_weights_of_other_sets_and_a_model_without_a_tokenizer(folder, more, says, capsys):
    (folder / "weights.txt").write_text('"train: 0.5 0:0.95 /data/xp3_en, 0.5 0:0.95 /data/xp3_es"')
    (folder / "torn.txt").write_text("train: en 0.5")
    sources = "[{data: [words.en.jsonl, words.sw.jsonl], templates: words.yaml}]"
    models = "models: {far: {base_url: 'http://localhost:9/v1', model: x}}\n"
    (folder / "recipe.yaml").write_text(f"{models}stages:\n  mix: {{sources: {sources}, {more}}}\n")
    assert main(["check", "recipe.yaml"]) == 2
    assert f"recipe.yaml:3: stages.mix.{says.format(folder=folder)}" in capsys.readouterr().err


def test_a_check_leaves_alone_what_earlier_stages_make(folder):
    (folder / "recipe.yaml").write_text(
        "stages:\n  mix: {sources: [{data: words.en.jsonl, templates: words.yaml}]}\n"
        "  again: {use: mix, sources: [{data: $mix/rows.jsonl, language: en}], weights: {en: 1}}\n"
    )
    assert main(["check", "recipe.yaml"]) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": {"en": 1, "eng": 1}}, "stages.mix.weights: no set 'eng' in the sources: did you mean 'en'?"),
        ({"weights": {}}, "stages.mix.weights: set 'en' has no weight: add it"),
        ({"weights": "weights.txt"}, "stages.mix.weights: weights.txt: no set 'es' (and 1 more) in the sources"),
        ({"sources": [{**DATA, "names": ["aks"]}]}, "words.yaml: no template 'aks': did you mean 'ask'?"),
        ({"sources": [{**DATA, "language": "klingon"}]}, "unknown language 'klingon'"),
        ({"sources": [{"data": "words.yaml"}]}, "the name does not tell the language"),
        ({"sources": [{**DATA, "data": "empty.en.jsonl"}]}, "empty.en.jsonl: no rows in it"),
        ({"sources": [{**DATA, "data": "mixed.en.jsonl"}]}, "mixed.en.jsonl:41: not UTF-8"),
        ({"sources": [{**DATA, "columns": {"word": "wort"}}]}, "no column 'wort'"),
        ({"sources": [{"data": "words.en.jsonl"}]}, "no column 'inputs'"),
        ({"sources": [{**DATA, "split": "test"}]}, "nothing to train on: words test"),
        ({"sources": [{**DATA, "templates": "field.yaml"}]}, "template 'bad': no column 'wrod'"),
        ({"sources": [{**DATA, "templates": "bars.yaml"}]}, "2 `|||`"),
        ({"sources": [{**DATA, "templates": "loop.yaml"}]}, "it takes over 1,000,000 steps for one row"),
        ({"sources": [{**DATA, "templates": "files.yaml"}]}, "it reads another file"),
    ],
)
def test_a_source_that_cannot_serve_is_one_line_before_anything_is_rendered(folder, change, says):
    entries = ", ".join(f"0.5 0:0.95 /data/xp3_{code}" for code in ("en", "es", "fr"))
    (folder / "weights.txt").write_text(f'"train: {entries}"')
    (folder / "empty.en.jsonl").touch()
    (folder / "mixed.en.jsonl").write_bytes((folder / "words.en.jsonl").read_bytes() + b'{"word": "\xe9"}\n')
    loop = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    for name, text in {"field": "{{ wrod }}", "loop": loop, "files": "{% include '/etc/passwd' %}"}.items():
        (folder / f"{name}.yaml").write_text(f'- {{name: bad, input: "x {text}", target: y}}\n')
    bars = "templates: {a: {name: bad, jinja: 'a ||| b ||| c'}}\n"
    (folder / "bars.yaml").write_text(f"dataset: words\n{bars}")
    with pytest.raises(AlignError) as caught:
        run(folder / "out", **{"sources": [DATA], **change})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((folder / "out").iterdir())


def test_too_large_a_mixture_says_what_would_fit(folder):
    with pytest.raises(DataError, match=r"set 'en': 13.1 passes over its 76 examples, at most 4: size: 304 would fit,"):
        run(folder / "out", sources=[DATA], size=999)
    assert run(folder / "out", sources=[DATA], size=304)["rows"] == 304


def test_a_language_folder_that_is_none_is_refused(folder):
    (folder / "xp3" / "klingon").mkdir()
    with pytest.raises(DataError, match="unknown language 'klingon'"):
        run(folder / "out", sources=[{"xp3": "xp3"}])
