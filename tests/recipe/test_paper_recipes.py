"""The recipes of the papers, end to end at their own settings but for size: tiny weights, made-up data, and answers
that are written here."""

import json
import re
from pathlib import Path

import pytest

from align.errors import ConfigError
from align.generate.hf import HfGenerator
from align.generate.request import Reply
from align.io import rows, write
from align.models.tiny import random_model, save_tiny, train_tokenizer
from align.recipe import Recipe
from align.recipe.summary import summary
from align.schema import PreferencePair

RECIPES = Path(__file__).parents[2] / "recipes"
PANGU = RECIPES / "pangu-coder2"
ALPACA = [{"instruction": f"Write a function add_{n} that adds {n} to its number x.", "input": ""} for n in range(4)]
MBPP = [
    {
        "task_id": 601 + n,
        "text": f"Write a function to add {n} to a number.",
        "code": f"def add_{n}(x):\n    return x + {n}",
        "test_list": [f"assert add_{n}({x}) == {x + n}" for x in (1, 2, 3)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    for n in range(1, 5)
]
HUMANEVAL = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def sub_{n}(x):\n    """Take {n} from x."""\n',
        "canonical_solution": f"    return x - {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {1 - n}\n",
        "entry_point": f"sub_{n}",
    }
    for n in (7, 8)
]
NAME = re.compile(r"(add|sub)_(\d+)")
PLAN = "How to solve:\nStep 1. Take the number.\nStep 2. Change it and return it."


def answered(self, requests, done=()):
    """What good models would say, whatever their weights; of the answers drawn hot, every other one is wrong."""
    for index, request in enumerate(requests):
        text = request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content
        yield {index: Reply(text=said(request, text, index, Path(self.name).name))}


def said(request, text, index, name):
    if request.purpose.startswith("judge"):
        return f"Some program.\nScore: {1 + index % 9}"
    if request.purpose == "plan":
        return PLAN
    if request.purpose == "evolve":
        return f"{request.fields['problem']}\nThe function must also take negative numbers, and {index} is one bound."
    verb, number = NAME.findall(text)[-1]
    sign = "+" if verb == "add" else "-"
    if request.purpose == "write_tests":
        return "\n".join(f"assert {verb}_{number}({x}) == {eval(f'{x} {sign} {number}')}" for x in range(10))
    body = f"    # {name}\n    return x {sign} {number}"
    if request.sampling.temperature >= 0.5 and index % 2:
        body += f" {sign} 1"
    if text.rstrip().endswith('"""') and f"def {verb}_{number}" in text:
        return body
    return f"def {verb}_{number}(x):\n{body}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with tiny models, and data in the published forms; weights answer as written above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.setattr(HfGenerator, "generate", answered)
    for name, kind in (("tiny", "gpt_bigcode"), ("bloom", "bloom"), ("two", "starcoder2")):
        tokenizer = train_tokenizer(["def add_1(x):\n    return x + 1\n", PLAN] * 9, 300)
        shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 2048}
        save_tiny(random_model(kind, vocab_size=len(tokenizer), seed=0, **shape), tokenizer, tmp_path / name)
    write(tmp_path / "alpaca.jsonl", ALPACA)
    write(tmp_path / "mbpp.jsonl", MBPP)
    write(tmp_path / "humaneval.jsonl", HUMANEVAL)
    return tmp_path


def models(tiny, *names):
    """Overrides that put a tiny model in the place of each, whatever it was."""
    return [f"models.{name}={{model_name_or_path: {tiny}}}" for name in names]


def short(*stages, **changes):
    """Overrides that make training stages small; what they train by stays."""
    found = []
    for stage in stages:
        own = {"launch": "null", "args.bf16": "false", "args.logging_steps": 1, "global_batch_size": 2, **changes}
        found += [f"stages.{stage}.{name}={value}" for name, value in own.items()]
    return found


def counts(folder):
    return {stage["name"]: stage["counts"] for stage in summary(folder)["stages"]}


ALLOWED = "stages.score.allow_trained=true"
PANGU_BASES = [
    ("paper", "tiny", {"args.num_train_epochs": 2, "args.save_steps": 0.5, "global_batch_size": 4}),
    ("starcoder2-15b-qlora", "two", {"args.optim": "adamw_torch"}),
    ("bloom-7b1", "bloom", {}),
    pytest.param("ours", "tiny", {}, marks=pytest.mark.slow),
    pytest.param("starcoder2-3b", "two", {}, marks=pytest.mark.slow),
    pytest.param("starcoder2-7b-lora", "two", {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "base", "changes"), PANGU_BASES)
def test_pangu_coder2_goes_from_simple_problems_to_a_score(here, name, base, changes):
    overrides = [
        f"models.student.model_name_or_path={here / base}",
        "models.student.dtype=float32",
        *models(here / "tiny", "teacher"),
        f"benchmarks.humaneval={here / 'humaneval.jsonl'}",
        f"stages.evolve.problems={here / 'alpaca.jsonl'}",
        "stages.evolve.rounds=1",
        "stages.tests.candidates.0.role=teacher",
        "stages.sample.from.0.role=teacher",
        "stages.score.n=2",
        "stages.score.k=[1, 2]",
        *short("align", **{"args.num_train_epochs": 1, **changes}),
    ]
    folder = Recipe.load(PANGU / f"{name}.yaml", overrides).run()
    found = counts(folder)
    assert found["rank"]["groups"] > 0
    assert found["align"]["steps"] >= 1
    assert found["score"]["rrtf"] == 100.0
    groups = [row for _, row in rows(folder / "rank" / "groups.jsonl")]
    if name == "paper":
        # levels, and half of one more for a teacher
        assert {2 * score for row in groups for score in row["scores"]} <= set(range(8))
        assert len(found["epochs"]) == 3
    else:
        assert max(score for row in groups for score in row["scores"]) <= 1.25
    assert (folder / "align" / "model" / "base.json").exists() == ("lora" in name or name == "bloom-7b1")


def test_no_teacher_is_needed_and_the_controls_take_as_many_steps(here):
    trained = ("rrtf", "dpo", "more-sft", "best-sample-sft")
    overrides = [
        *models(here / "two", "student"),
        f"benchmarks.humaneval={here / 'humaneval.jsonl'}",
        f"stages.clean.problems={here / 'mbpp.jsonl'}",
        *short(*trained, **{"args.max_steps": 2}),
        "stages.score.n=2",
        "stages.score.k=[1, 2]",
    ]
    overrides = [one for one in overrides if ".launch=" not in one]
    recipe = Recipe.load(RECIPES / "mbpp-rrtf" / "starcoder2-3b.yaml", overrides)
    folder = recipe.run()
    found = counts(folder)
    assert found["sample"]["responses"] == 16 * len(MBPP)
    assert found["rank"]["outcomes"]["passed"] == 8 * len(MBPP)
    assert {found[stage]["steps"] for stage in trained} == {2}
    assert set(found["score"]) == {"problems", "base", *trained}
    shown = next(rows(folder / "rank" / "groups.jsonl"))[1]["prompt"]
    assert NAME.search(shown)
    assert shown.count("assert") == 1
    for stage in trained:
        assert "- Trained on: MBPP: do not evaluate" in (folder / stage / "model" / "README.md").read_text()
    again = Recipe.load(
        RECIPES / "mbpp-rrtf" / "starcoder2-3b.yaml",
        [*overrides, "stages.score.problems=$clean/problems.jsonl", "stages.score.template=mbpp", ALLOWED],
    ).run()
    told = json.loads((again / "score" / "score.json").read_text())["warnings"]
    assert len(told) == len(trained)


def test_what_trains_never_measures():
    recipe = Recipe.load(RECIPES / "mbpp-rrtf" / "starcoder2-3b.yaml")
    for stage in recipe.stages:
        if stage.kind == "score":
            assert "mbpp" not in recipe.benchmarks.get(stage.config.problems, stage.config.problems)
    plan = {stage.name: stage.config for stage in recipe.stages}
    steps = {plan[name].args["max_steps"] for name in ("rrtf", "dpo", "more-sft", "best-sample-sft")}
    assert len(steps) == 1


CHAT = [{"role": "user", "content": "Say one."}]
CHATS = [
    {"messages": [*CHAT, {"role": "assistant", "content": f"one {n}"}, *CHAT, {"role": "assistant", "content": "two"}]}
    for n in range(3)
]
FEEDBACK = [
    {
        "prompt": "Say one.",
        "prompt_id": str(n),
        "chosen": [*CHAT, {"role": "assistant", "content": f"one {n}"}],
        "rejected": [*CHAT, {"role": "assistant", "content": "no"}],
        "messages": [],
        "score_chosen": 8.5,
        "score_rejected": 3,
    }
    for n in range(4)
]


@pytest.mark.parametrize("name", ["paper", "handbook", "handbook-qlora"])
def test_zephyr_learns_from_chats_and_then_from_feedback_in_messages(here, name):
    write(here / "chats.jsonl", CHATS)
    write(here / "feedback.jsonl", FEEDBACK)
    overrides = [
        f"models.base.model_name_or_path={here / 'two'}",
        "models.base.dtype=float32",
        f"stages.dsft.data={here / 'chats.jsonl'}",
        f"stages.ddpo.data={here / 'feedback.jsonl'}",
        *short("dsft", "ddpo", **{"args.num_train_epochs": 1}),
    ]
    if "qlora" in name:
        overrides += ["stages.ddpo.args.optim=adamw_torch", "stages.ddpo.lora={r: 2, lora_alpha: 2}"]
    folder = Recipe.load(RECIPES / "zephyr" / f"{name}.yaml", overrides).run()
    found = counts(folder)
    assert found["dsft"]["trained_on"] == 2 * len(CHATS)
    assert found["ddpo"]["trained_on"] == len(FEEDBACK)
    first = next(rows(folder / "ddpo" / "metrics.jsonl"))[1]
    # the reference is what dSFT left, not the base: at the first step both say the same
    assert first["loss"] == pytest.approx(0.6931472, abs=2e-5)


def test_zephyr_on_code_has_four_models_answer_and_a_judge_give_points(here):
    overrides = [
        *models(here / "two", "base", "teacher", "pool-3", "judge"),
        *models(here / "tiny", "pool-1"),
        *models(here / "bloom", "pool-2"),
        f"benchmarks.humaneval={here / 'humaneval.jsonl'}",
        f"stages.clean.problems={here / 'alpaca.jsonl'}",
        "stages.teach.from.0.role=teacher",
        *(f"stages.feedback.from.{n}.role=teacher" for n in range(4)),
        *short("dsft", "ddpo", **{"args.num_train_epochs": 1}),
    ]
    folder = Recipe.load(RECIPES / "zephyr" / "code.yaml", overrides).run()
    found = counts(folder)
    assert found["feedback"]["responses"] == 4 * len(ALPACA)
    assert found["rank"]["pairs"] == found["ddpo"]["trained_on"] > 0
    assert found["score"].keys() >= {"dsft", "ddpo"}


def test_rrhf_trains_on_rows_of_its_own_form(here, monkeypatch):
    rrhf = [
        {"query": f"Human: say {n} Assistant:", "responses": ["a", "b", "c d", "e"], "scores": [0.1, -2, 3.5, 1]}
        for n in range(4)
    ]
    (here / "rrhf.json").write_text(json.dumps(rrhf))
    monkeypatch.setenv("ALPACA", str(here / "two"))
    monkeypatch.setenv("RRHF_DATA", str(here / "rrhf.json"))
    overrides = ["models.alpaca.dtype=float32", *short("rrhf", **{"args.num_train_epochs": 1})]
    folder = Recipe.load(RECIPES / "rrhf" / "paper.yaml", overrides).run()
    assert counts(folder)["rrhf"]["trained_on"] == len(rrhf)


@pytest.mark.parametrize("name", ["paper", "ours"])
def test_cotton_trains_a_planner_whose_plans_stand_in_every_problem_that_measures(here, monkeypatch, name):
    write(here / "pairs.jsonl", [{"prompt": f"{n}?\n", "completion": PLAN} for n in range(4)])
    monkeypatch.setenv("COTTON_PAIRS", str(here / "pairs.jsonl"))
    own = ["planner.model_name_or_path", "codegen-350m.model_name_or_path", "starcoder-7b.model_name_or_path"]
    overrides = [
        *(f"models.{key}={here / 'two'}" for key in own),
        "models.planner.dtype=float32",
        f"benchmarks.humaneval={here / 'humaneval.jsonl'}",
        *short("sft", **{"args.num_train_epochs": 1}),
    ]
    overrides = [one for one in overrides if ".launch=" not in one]
    if name == "ours":
        overrides += [*models(here / "tiny", "teacher"), f"stages.clean.problems={here / 'mbpp.jsonl'}"]
    folder = Recipe.load(RECIPES / "cotton" / f"{name}.yaml", overrides).run()
    found = counts(folder)
    assert found["plans"] == {"kept": len(HUMANEVAL), "planned": len(HUMANEVAL), "rejected": {}}
    planned = [row["prompt"] for _, row in rows(folder / "plans" / "problems.jsonl")]
    assert all(prompt.rstrip().endswith('"""') and "Step 2. Change it" in prompt for prompt in planned)
    assert found["with-plans"]["problems"] == found["without"]["problems"] == len(HUMANEVAL)
    if name == "ours":
        assert found["teach"]["planned"] == found["sft"]["trained_on"] == len(MBPP)


HANDBOOK = """
model_name_or_path: alignment-handbook/zephyr-7b-sft-qlora
torch_dtype: bfloat16
attn_implementation: flash_attention_2
use_peft: true
load_in_4bit: true
lora_r: 128
lora_alpha: 128
lora_dropout: 0.05
lora_target_modules: [q_proj, k_proj]
dataset_mixer: {HuggingFaceH4/ultrafeedback_binarized: 1.0}
dataset_mixture: {datasets: []}
dataset_splits: [train_prefs, test_prefs]
preprocessing_num_workers: 12
beta: 0.01
do_eval: true
evaluation_strategy: steps
eval_strategy: steps
eval_steps: 100
gradient_accumulation_steps: 4
gradient_checkpointing: true
gradient_checkpointing_kwargs: {use_reentrant: false}
hub_model_id: zephyr-7b-dpo-qlora
max_length: 1024
max_prompt_length: 512
output_dir: data/zephyr-7b-dpo-qlora
per_device_train_batch_size: 4
per_device_eval_batch_size: 8
push_to_hub: true
seed: 42
warmup_ratio: 0.1
""".strip().splitlines()
"""Keys of the alignment handbook's zephyr-7b-beta/dpo/config_qlora.yaml, old and new, that are other ones here."""
KEPT = """
bf16: true
learning_rate: 5.0e-6
log_level: info
logging_steps: 10
lr_scheduler_type: cosine
num_train_epochs: 1
optim: paged_adamw_32bit
save_strategy: steps
save_steps: 100
save_total_limit: 1
report_to: [tensorboard]
""".strip().splitlines()
"""The others, which `args:` takes as they are."""
SAYS = ("write ", "set by the run", "nothing is uploaded", "set by the plan", "tokenised once", "give eval_data")


def pasted(tmp_path, line, indent):
    stage = "stages:\n  dpo:\n    use: align\n    model: m\n    data: pairs.jsonl\n    loss: {name: dpo}\n"
    args = "    args:\n" if indent == 6 else ""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"models:\n  m: {{model_name_or_path: a/b}}\n{stage}{args}{' ' * indent}{line}\n")
    write(tmp_path / "pairs.jsonl", [PreferencePair(problem_id="p", prompt="a", chosen="b", rejected="c")])
    return Recipe.load(path)


@pytest.mark.parametrize("indent", [6, 4, 0], ids=["in args", "in the stage", "at the top"])
@pytest.mark.parametrize("line", HANDBOOK, ids=lambda line: line.partition(":")[0])
def test_a_key_of_the_handbook_says_what_to_write(tmp_path, line, indent):
    key = line.partition(":")[0]
    if (key, indent) in {("seed", 0), ("max_length", 4)}:
        pasted(tmp_path, line, indent)
        return
    with pytest.raises(ConfigError) as error:
        pasted(tmp_path, line, indent)
    said = str(error.value)
    assert re.search(rf"recipe\.yaml:\d+: .*{key}: ", said)
    assert "unknown key" not in said
    assert "no such argument" not in said
    assert any(words in said for words in SAYS), said


@pytest.mark.parametrize("line", KEPT, ids=lambda line: line.partition(":")[0])
def test_the_handbooks_other_keys_are_taken_below_args(tmp_path, line):
    pasted(tmp_path, line, 6)
    for indent in (4, 0):
        with pytest.raises(ConfigError, match="write it below args: in the stage"):
            pasted(tmp_path, line, indent)
