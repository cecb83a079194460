"""The recipes of BLOOM and BLOOMZ, end to end at their own settings but for size: tiny weights, made-up data."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from align.io import write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe import Recipe
from align.recipe.summary import summary

RECIPES = Path(__file__).parents[1] / "recipes"
SIZES = ["560m", "1b1", "1b7", "3b", "7b1"]
HUMANEVAL = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def add_{n}(x):\n    """Add {n} to x."""\n',
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
        "entry_point": f"add_{n}",
    }
    for n in range(3)
]
CHOICE = """
dataset: {name}
templates:
  one: !Template
    answer_choices: '{choices}'
    id: one
    jinja: '{input} ||| {{{{ answer_choices[{label}] }}}}'
    metadata: !TemplateMetadata
      choices_in_prompt: false
      languages: [en]
      metrics: [Accuracy]
      original_task: true
    name: one
    reference: ''
"""
TEMPLATES = {
    "xcopa/id": ("{{ choice1 }} ||| {{ choice2 }}", "{{ premise }}", "label"),
    "winogrande/winogrande_xl": ("{{ option1 }} ||| {{ option2 }}", "{{ sentence }}", "answer | int - 1"),
    "story_cloze/2016": (
        "{{ sentence_quiz1 }} ||| {{ sentence_quiz2 }}",
        "{{ input_sentence_1 }}",
        "answer_right_ending - 1",
    ),
}
PRONOUN = [["the cat", [0, 2], ["the", "cat"], True], ["a dog", [3, 5], ["a", "dog"], False]]


@pytest.fixture
def tiny(tmp_path):
    """A folder with a tiny BLOOM, whose end of text is BLOOM's."""
    tokenizer = train_tokenizer(["def add(x):\n    return x + 1\n"] * 9, 280)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 256}
    save_tiny(random_model("bloom", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with made-up data in the published forms, which the recipes' variables point to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    for name in ("XP3", "EVAL_DATA", "PROMPTSOURCE"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    write(tmp_path / "humaneval.jsonl", HUMANEVAL)
    _xp3(tmp_path / "xp3")
    _evaluation(tmp_path / "eval_data")
    for name, (choices, text, label) in TEMPLATES.items():
        path = tmp_path / "promptsource" / name / "templates.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(CHOICE.format(name=name, choices=choices, input=text, label=label))
    return tmp_path


def _xp3(folder):
    """A folder a language, as many as xP3 has; more rows in English, which weighs most."""
    written = YAML(typ="safe").load((RECIPES / "bloomz" / "560m.yaml").read_text())
    weights = written["stages"]["mix"]["weights"]
    assert len(weights) == 46
    for code in weights:
        (folder / code).mkdir(parents=True)
        rows = [{"inputs": f"{code}: {n} + 1", "targets": f"{n + 1}"} for n in range(300 if code == "en" else 60)]
        write(folder / code / f"xp3_{code}_{'mbpp' if code == 'code' else 'sums'}.jsonl", rows)


def _evaluation(folder):
    """XCOPA, XWinograd and XStoryCloze, a few examples each."""
    copa = {"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "idx": 0, "changed": False}
    for code in ("id", "sw", "ta", "vi", "zh"):
        write(folder / "xcopa" / f"test.{code}.jsonl", [copa | {"label": n % 2} for n in range(2)])
    story = {f"input_sentence_{n}": "s" for n in range(1, 5)} | {"sentence_quiz1": "x", "sentence_quiz2": "y"}
    for code in ("ar", "es", "eu", "hi", "id", "sw", "te", "zh"):
        rows = [story | {"answer_right_ending": 1 + n % 2} for n in range(2)]
        write(folder / "xstory_cloze" / f"eval.{code}.jsonl", rows)
    cells = [
        json.dumps(["the", "cat", "saw", "a", "dog", "it", "ran"]),
        json.dumps(["it", [5, 6], ["it"]]),
        json.dumps(PRONOUN),
    ]
    line = "\t".join(["en", "original", "?", "the cat saw a dog it ran", *cells])
    (folder / "xwinograd_dataset.tsv").write_text(f"{line}\n{line}\n")


def small(tiny, score, *models):
    """Overrides that leave methods as they are, and make everything small."""
    return [
        *(f"models.{name}.model_name_or_path={tiny}" for name in models),
        f"benchmarks.humaneval={tiny.parent / 'humaneval.jsonl'}",
        f"stages.{score}.n=2",
        f"stages.{score}.k=[1, 2]",
        f"stages.{score}.max_new_tokens=8",
        f'stages.{score}.prefix={{bloom: "<eos>"}}',
    ]


def training(steps):
    """Overrides of the stages that mix and train."""
    return [
        "stages.mix.size=200",
        "stages.mix.max_length=64",
        "stages.mix.validation=0.05",
        "stages.sft.max_length=64",
        "stages.sft.launch=null",
        "stages.sft.global_batch_size=100",
        f"stages.sft.args.max_steps={steps}",
        "stages.sft.args.save_steps=1",
        "stages.sft.args.eval_steps=1",
        "stages.sft.args.bf16=false",
        "stages.sft.args.logging_steps=1",
    ]


def test_bloomz_is_tuned_and_measured_as_published_at_a_tiny_size(elsewhere, tiny):
    overrides = [*small(tiny, "humaneval", "bloom"), *training(2)]
    folder = Recipe.load(RECIPES / "bloomz" / "560m.yaml", overrides).run()
    assert json.loads((folder / "sft" / "stage.json").read_text())["counts"]["steps"] == 2
    held = json.loads((folder / "mix" / "mixture.json").read_text())
    assert (held["benchmarks"], held["variant"]) == (["MBPP"], "xP3")
    found = json.loads((folder / "humaneval" / "score.json").read_text())
    assert set(found["models"]) == {"bloom", "bloomz"}
    assert set(found["models"]["bloom"]["temperatures"]) == {"0.2", "0.6", "0.8"}
    assert "warnings" not in found
    assert json.loads((folder / "languages" / "score.json").read_text())


@pytest.mark.parametrize("size", [*(pytest.param(size, marks=pytest.mark.slow) for size in SIZES[1:-1]), SIZES[-1]])
def test_the_other_sizes_of_bloomz_train(size, elsewhere, tiny):
    recipe = RECIPES / "bloomz" / f"{size}.yaml"
    folder = Recipe.load(recipe, [*small(tiny, "humaneval", "bloom"), *training(1)]).run(only=["mix", "sft"])
    assert summary(folder)["stages"][1]["counts"]["steps"] == 1


@pytest.mark.parametrize("size", SIZES)
def test_a_mixture_is_as_long_as_the_training_that_reads_it(size, elsewhere):
    recipe = Recipe.load(RECIPES / "bloomz" / f"{size}.yaml")
    mix, sft = (stage.config for stage in recipe.stages[:2])
    assert mix.size == sft.global_batch_size * sft.args["max_steps"]
    assert recipe.models["bloom"].model_name_or_path == f"bigscience/bloom-{size}"
    assert sum(mix.weights.values()) == pytest.approx(1.0136844, abs=1e-7)


def test_the_articles_humaneval_run_takes_the_best_temperature_of_each_k(elsewhere, tiny):
    overrides = small(tiny, "score", "bloom", "bloomz")
    folder = Recipe.load(RECIPES / "bloom" / "humaneval.yaml", overrides).run()
    found = json.loads((folder / "score" / "score.json").read_text())
    for name in ("bloom", "bloomz"):
        summary_of = found["models"][name]
        assert set(summary_of["best_temperature"]) == {"pass@1", "pass@2"}
        assert summary_of["sampling"]["stop"] == ["\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif"]
    rows = (folder / "score" / "results.jsonl").read_text().splitlines()
    assert len(rows) == 2 * 3 * 3 * 2


def test_the_tiny_recipe_runs_from_text_to_figures(elsewhere):
    tasks = {
        "templates": ("copa", "job", "favourite", "fruit", "opposite", "kind", "translate"),
        "tasks": ("city", "pet", "cloze"),
    }
    measured = [(stage, task, which) for stage, names in tasks.items() for task in names for which in ("en", "others")]
    overrides = [
        *(f"stages.init.{name}=2" for name in ("num_layers", "num_heads")),
        "stages.init.hidden_size=16",
        *(f"stages.{name}.args.max_steps=1" for name in ("pretrain", "tune", "tune-en")),
        *(f"stages.{name}.args.eval_steps=1" for name in ("tune", "tune-en")),
        *(f"stages.{name}.{setting}=16" for name in ("mix", "mix-en") for setting in ("size", "cap")),
        *(f"stages.{stage}.tasks.{task}-{which}.limit=2" for stage, task, which in measured),
    ]
    folder = Recipe.load(RECIPES / "bloomz" / "tiny.yaml", overrides).run()
    mixed = json.loads((folder / "mix" / "mixture.json").read_text())
    assert {one["set"] for one in mixed["sets"]} == {"en", "es", "zh"}
    assert [one["set"] for one in json.loads((folder / "mix-en" / "mixture.json").read_text())["sets"]] == ["en"]
    for stage, names in tasks.items():
        found = json.loads((folder / stage / "score.json").read_text())
        assert set(found["models"]) == {"base", "tuned", "tuned-en"}
        for model in found["models"].values():
            assert set(model["tasks"]) == {f"{task}-{which}" for task in names for which in ("en", "others")}
        for task in names:
            assert found["tasks"][f"{task}-en"]["examples"] == {"en": 2}
            assert found["tasks"][f"{task}-others"]["examples"] == {"es": 2, "zh": 2}
