"""Problem forms of code benchmarks, read by path as their owners publish them."""

import base64
import gzip
import json
import pickle
import zlib

import pytest

from align.errors import DataError
from align.execute.checks import checks_for
from align.execute.sandbox import codec
from align.execute.sandbox.compare import COMPARATORS, same
from align.forms_code import EVALPLUS_COMPARATORS, MBPP_SHAPES, call
from align.io import read
from align.schema import Problem

EVALPLUS = {
    "task_id": "HumanEval/32",
    "prompt": "def find_zero(xs):\n",
    "entry_point": "find_zero",
    "canonical_solution": "    return 2.0\n",
    "base_input": [[[-4, 2]], [[1, 2]]],
    "plus_input": [[[0, 1]]],
    "atol": 1e-4,
    "contract": "\n",
}


@pytest.fixture
def load(tmp_path):
    """Rows as a file's problems."""

    def loaded(*rows, name="problems.jsonl"):
        path = tmp_path / name
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return read(path, Problem)

    return loaded


def entries(problem):
    return [codec.loads(test.encode()) for test in problem.tests]


def test_evalplus_gives_calls_with_the_base_inputs_first(load):
    (problem,) = load(EVALPLUS, name="HumanEvalPlus.jsonl.gz")
    assert [entry["input"] for entry in entries(problem)] == [[[-4, 2]], [[1, 2]], [[0, 1]]]
    assert problem.meta == {"task_id": "HumanEval/32", "base_tests": 2}
    checks, why = checks_for(problem)
    assert (checks.kind, checks.compare, checks.atol, why) == ("calls", "find_zero", 1e-4, None)
    assert checks.reference == "def find_zero(xs):\n    return 2.0\n"


def test_mbppplus_inputs_get_back_what_json_cannot_hold(load):
    row = {**EVALPLUS, "entry_point": "f", "atol": 0, "plus_input": []}
    two, angle, other = load(
        {**row, "task_id": "Mbpp/2", "base_input": [[[3, 4], [5]]], "entry_point": "similar_elements"},
        {**row, "task_id": "Mbpp/252", "base_input": [["1j"]]},
        {**row, "task_id": "Mbpp/3", "base_input": [[[3, 4]]]},
    )
    assert entries(two) == [{"input": [(3, 4), (5,)], "compare": "set"}]
    assert entries(angle) == [{"input": [1j]}]
    assert entries(other) == [{"input": [[3, 4]]}]
    assert other.atol == 0.0


@pytest.mark.parametrize(
    ("number", "given", "meant"),
    [
        (63, [[[1, 2], [3]]], [[(1, 2), (3,)]]),
        (75, [[[1, 2]], 3], [[(1, 2)], 3]),
        (106, [[1], [2]], [[1], (2,)]),
        (115, [[[1], []]], [[{1}, {}]]),
        (124, ["1", "2j"], [1.0, 2j]),
        (250, [[1, 2], 3], [(1, 2), 3]),
        (259, [[[1, 2]], [[3]]], [((1, 2),), ((3,),)]),
        (278, [[1, [2, 3]]], [(1, (2, 3))]),
        (307, [[1], 2, 3], [(1,), 2, 3]),
        (580, [[1, [2, [3]]]], [(1, (2, (3,)))]),
        (722, [{"a": [1]}, 2], [{"a": (1,)}, 2]),
    ],
)
def test_each_shape_of_mbppplus_is_that_of_evalplus(number, given, meant):
    assert list(MBPP_SHAPES[number](given)) == meant


def test_every_comparator_of_evalplus_is_one_of_ours():
    assert {name for names in EVALPLUS_COMPARATORS.values() for name in names.values()} <= COMPARATORS.keys()


@pytest.mark.parametrize(
    "value", [1, 1.5, "a", None, [1, (2, {3})], {"a": (1,)}, {1: 2}, {"$t": [1]}, 1j, 10**30, float("inf"), "\ud800"]
)
def test_a_call_is_written_as_the_codec_reads_it(value):
    assert codec.loads(call([value], value).encode()) == {"input": [value], "output": value}


def test_apps_programs_read_stdin(load):
    held = {"inputs": ["1\n", ["2", "3"]], "outputs": ["1\n", ["2", "3"]]}
    row = {"question": "Print it.", "input_output": json.dumps(held), "solutions": '["print(input())", "x"]', "id": 7}
    as_text, as_object = load(row, {**row, "input_output": held, "solutions": ["print(input())"]})
    assert as_text == as_object
    assert (as_text.test_kind, as_text.reference, as_text.meta) == ("io", "print(input())", {"task_id": 7})
    assert entries(as_text) == [{"input": "1\n", "output": "1\n"}, {"input": "2\n3", "output": "2\n3"}]


def test_apps_functions_are_called(load):
    held = {"fn_name": "f", "inputs": [[1, {"2": 3}], [4, 5]], "outputs": [[6], [[7]]]}
    row = {"question": "Add.", "starter_code": "class Solution:\n    def f(self, a, b):", "input_output": held}
    (problem,) = load({**row, "time_limit": "1.5 seconds", "solutions": ""})
    assert (problem.test_kind, problem.entry_point, problem.reference) == ("calls", "f", None)
    assert problem.limits.cpu_seconds == 1.5
    assert "class Solution" in problem.prompt
    assert entries(problem)[0] == {"input": [1, {2: 3}], "output": [6], "compare": "apps"}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("{", "input_output: not JSON"),
        ([1], "input_output: must be an object"),
        ({"inputs": ["a"], "outputs": []}, "input_output: 1 inputs, but 0 outputs"),
        ({"inputs": "a", "outputs": "b"}, "input_output: inputs and outputs must be lists"),
    ],
)
def test_a_wrong_input_output_is_told_with_its_line(load, held, message):
    with pytest.raises(DataError, match=f"problems.jsonl:1: {message}"):
        load({"question": "q", "input_output": held})


LIVECODEBENCH = {
    "question_content": "Say it.",
    "question_id": "abc",
    "starter_code": "",
    "public_test_cases": json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}]),
    "metadata": "{}",
}


def test_livecodebench_has_public_and_private_cases(load):
    private = [{"input": "3", "output": "4", "testtype": "stdin"}]
    (problem,) = load({**LIVECODEBENCH, "private_test_cases": json.dumps(private)})
    assert (problem.test_kind, problem.meta["task_id"]) == ("io", "abc")
    assert entries(problem) == [{"input": "1", "output": "2"}, {"input": "3", "output": "4"}]
    cases = json.dumps([{"input": '[1, 2]\n"a"', "output": "[3]", "testtype": "functional"}])
    (problem,) = load({**LIVECODEBENCH, "public_test_cases": cases, "metadata": '{"func_name": "f"}'})
    assert (problem.test_kind, problem.entry_point) == ("calls", "f")
    assert entries(problem) == [{"input": [[1, 2], "a"], "output": [3], "compare": "json"}]


def test_pickled_test_cases_are_refused_and_never_loaded(load):
    packed = base64.b64encode(zlib.compress(pickle.dumps("[]"))).decode()
    with pytest.raises(DataError, match="private_test_cases: packed with pickle, which can run code"):
        load({**LIVECODEBENCH, "private_test_cases": packed})


def test_exercism_is_a_unittest_file_with_a_stub(shared):
    problems = read(shared / "data/tasks/exercism_python_practice.jsonl", Problem)
    assert len(problems) == 140
    assert {problem.test_kind for problem in problems} == {"unittest"}
    assert problems[0].meta == {"task_id": "accumulate", "slug": "accumulate", "module": "accumulate"}
    assert problems[0].prompt.endswith("def accumulate(collection, operation):\n    pass\n")


def test_quixbugs_right_programs_give_what_its_lines_expect(shared):
    problems = [one for one in read(shared / "data/tasks/quixbugs_python.jsonl", Problem) if one.tests]
    assert len(problems) == 31
    for problem in problems:
        if problem.entry_point not in ("knapsack", "levenshtein"):  # minutes
            space = {}
            exec(problem.reference, space)
            for entry in entries(problem):
                got = space[problem.entry_point](*entry["input"])
                assert same("json", entry["input"], entry["output"], got, problem.atol), (problem.entry_point, entry)
