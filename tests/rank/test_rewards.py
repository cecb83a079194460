"""Rewards for other projects' trainers: what no verdict is, is no reward; the workers stay."""

import asyncio
import json
import os
import pickle
import subprocess
import sys

import pytest

from align.errors import BackendError, ConfigError, DataError
from align.rank.rewards import AsyncUnitTestReward, UnitTestReward, acompute_score, compute_score

TESTS = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
PROMPT = "Write add(a, b)."
RIGHT, HALF, BROKEN = "def add(a, b): return a + b", "def add(a, b): return a * b", "def add(a, b) return"
BATCH = {"prompts": [PROMPT] * 4, "completions": [RIGHT, f"Sure:\n```python\n{HALF}\n```", BROKEN, "I cannot."]}


@pytest.fixture(autouse=True)
def _unisolated(monkeypatch):
    monkeypatch.setenv("ALIGN_ISOLATION", "none")


@pytest.fixture
def reward():
    made = UnitTestReward(workers=1)
    yield made
    made.close()


def columns(n=4, **more):
    """What trl passes: the columns as lists, and its own things beside them."""
    own = {"trainer_state": object(), "log_extra": print, "log_metric": print, "completion_ids": [[1]] * n}
    return {"tests": [TESTS] * n, "entry_point": ["add"] * n, **own, **more}


def test_a_reward_is_the_score_and_no_program_is_one_that_does_not_compile(reward):
    assert reward(**BATCH, **columns()) == [1.0, pytest.approx(2.5 / 3), 0.0, 0.0]


@pytest.mark.parametrize(("scale", "expected"), [("paper", [3.0, 2.0, 0.0, 0.0]), ("passed", [1.0, 0.0, 0.0, 0.0])])
def test_a_reward_may_be_a_level_or_whether_it_passes(scale, expected):
    made = UnitTestReward(scale, workers=1)
    assert made(**BATCH, **columns()) == expected
    made.close()


def test_messages_are_read_like_text_and_thinking_is_no_answer(reward):
    prompts = [[{"role": "system", "content": "x"}, {"role": "user", "content": PROMPT}]] * 3
    completions = [
        [{"role": "assistant", "content": RIGHT}],
        [{"role": "assistant", "content": [{"type": "text", "text": f"<think>{HALF}</think>\n{RIGHT}"}]}],
        [{"role": "assistant", "content": f"<think>{RIGHT}"}],
    ]
    assert reward(prompts, completions, **columns(3)) == [1.0, 1.0, 0.0]


def test_what_has_no_verdict_is_none_and_never_zero(reward):
    broken = ["assert add(1, 2 == 3"]
    found = reward(
        prompts=[PROMPT] * 4,
        completions=[RIGHT] * 4,
        tests=[broken, [], None, TESTS],
        test_kind=["asserts", "asserts", None, "asserts"],
    )
    assert found == [None, None, None, 1.0]


def test_foreign_columns_are_read_as_they_are(reward):
    humaneval = {
        "task_id": ["HumanEval/0"],
        "entry_point": ["add"],
        "test": ["def check(candidate):\n    assert candidate(1, 2) == 3\n"],
        "canonical_solution": ["    return a + b\n"],
    }
    prompt = 'def add(a, b):\n    """Add."""\n'
    assert reward([prompt], ["    return a + b\n"], **humaneval) == [1.0]
    mbpp = {"task_id": [2], "text": ["Add."], "code": [RIGHT], "test_list": [TESTS]}
    assert reward([PROMPT], [HALF], **mbpp) == [pytest.approx(2.5 / 3)]
    renamed = UnitTestReward(columns={"tests": "checks"}, workers=1)
    assert renamed([PROMPT], [RIGHT], checks=[TESTS], unrelated=[1]) == [1.0]
    renamed.close()


def test_mistakes_are_one_line(reward):
    with pytest.raises(ConfigError, match=r"no column holds tests \(columns: prompt, topic\)"):
        reward([PROMPT], [RIGHT], topic=["sums"])
    with pytest.raises(ConfigError, match="no column 'checks'"):
        UnitTestReward(columns={"tests": "checks"})([PROMPT], [RIGHT], tests=[TESTS])
    with pytest.raises(DataError, match=r"^row 0 of the batch: test"):
        reward([PROMPT], [RIGHT], tests=[[1, 2]])


@pytest.mark.parametrize("text", ["\x00", "\ud800", "def add(a, b): return '\ud800'", "(" * 100_000, "x" * 3_000_000])
def test_no_text_of_a_model_is_an_error(reward, text):
    (found,) = reward([PROMPT], [text], tests=[TESTS])
    assert found is not None
    assert found < 1.0


def test_the_workers_are_kept_between_calls_and_a_copy_starts_its_own(reward):
    reward([PROMPT], [RIGHT], tests=[TESTS])
    kept = reward._tests._kept
    reward([PROMPT], [HALF], tests=[TESTS])
    assert reward._tests._kept is kept
    copy = pickle.loads(pickle.dumps(reward))
    assert copy([PROMPT], [RIGHT], tests=[TESTS]) == [1.0]
    assert copy._tests._kept is not kept
    copy.close()
    assert reward.__name__ == copy.__name__ == "unit_tests"


def test_calls_may_overlap_and_are_awaited_by_trl():
    made = AsyncUnitTestReward(workers=2)

    async def several():
        return await asyncio.gather(*(made(**BATCH, **columns()) for _ in range(8)))

    found = asyncio.run(several())
    made.close()
    assert found == [[1.0, pytest.approx(2.5 / 3), 0.0, 0.0]] * 8
    utils = pytest.importorskip("trl.trainer.utils")
    assert utils.is_async_callable(made)
    assert not utils.is_async_callable(UnitTestReward())
    assert utils.get_callable_name(made) == "unit_tests"


def test_a_process_ends_though_its_workers_were_not_closed():
    source = (
        "from align.rank.rewards import UnitTestReward\n"
        f"print(UnitTestReward(workers=1)(['p'], [{RIGHT!r}], tests=[{TESTS!r}]))\n"
        "import sys; assert 'torch' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == ("[1.0]\n", "")


@pytest.mark.parametrize(
    "truth",
    [
        TESTS,
        json.dumps(TESTS),
        json.dumps({"tests": TESTS, "entry_point": "add"}),
        "\n".join(TESTS),
        {"task_id": 1, "code": RIGHT, "text": PROMPT, "test_list": TESTS},
    ],
    ids=["list", "json", "problem", "text", "mbpp"],
)
def test_verls_ground_truth_is_tests_or_a_problem(truth):
    assert compute_score("own", RIGHT, truth, {"index": 3, "question": PROMPT}) == 1.0
    assert compute_score("own", HALF, truth, None, reward_router_address=None) < 1.0


def test_verl_has_no_value_for_no_verdict_so_that_one_must_be_given():
    with pytest.raises(BackendError, match="no verdict"):
        compute_score("own", RIGHT, ["assert add(1, 2 == 3"])
    assert compute_score("own", RIGHT, ["assert add(1, 2 == 3"], missing=0.25) == 0.25
    with pytest.raises(DataError, match="holds no test"):
        compute_score("own", RIGHT, [])
    with pytest.raises(DataError, match="expected tests"):
        compute_score("own", RIGHT, "3")


def test_verls_asynchronous_form_gives_the_same():
    async def both():
        return await asyncio.gather(*(acompute_score("own", code, TESTS) for code in (RIGHT, HALF)))

    assert asyncio.run(both()) == [1.0, pytest.approx(2.5 / 3)]


@pytest.mark.parametrize("kind", [UnitTestReward, AsyncUnitTestReward])
def test_a_step_of_trls_grpo_is_rewarded_by_tests(kind, tmp_path):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from align.models.tiny import random_model, save_tiny, train_tokenizer

    os.environ["ACCELERATE_USE_CPU"] = "1"
    tokenizer = train_tokenizer([PROMPT + RIGHT, HALF] * 9, 300)
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_position": 64}
    save_tiny(random_model("gpt_bigcode", vocab_size=len(tokenizer), seed=0, **shape), tokenizer, tmp_path / "tiny")
    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        use_cpu=True,
        report_to="none",
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=4,
        logging_steps=1,
    )
    made = kind(workers=1)
    rows = datasets.Dataset.from_list([{"prompt": PROMPT, "tests": TESTS, "entry_point": "add"}] * 4)
    trainer = trl.GRPOTrainer(
        model=str(tmp_path / "tiny"), reward_funcs=made, args=arguments, train_dataset=rows, processing_class=tokenizer
    )
    trainer.train()
    made.close()
    assert 0 <= trainer.state.log_history[0]["rewards/unit_tests/mean"] < 1
