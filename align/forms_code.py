"""Problem forms of code benchmarks: EvalPlus, APPS and TACO, LiveCodeBench, Exercism, QuixBugs.

Their tests are inputs and outputs, which become entries of kinds `calls` and `io` (one JSON object a test), or a
unittest file. Which form a row has is told by `align.forms`. Runs no code, and unpickles nothing.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .errors import DataError

Row = dict[str, Any]

_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)")

EVALPLUS_COMPARATORS = {
    "HumanEval": {"find_zero": "find_zero"},
    "Mbpp": {
        "are_equivalent": "returns",
        "sum_div": "or_zero",
        "surface_Area": "surface_area",
        "digit_distance_nums": "digit_distance",
        **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), "not_none"),
        **dict.fromkeys(("similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly"), "set"),
        **dict.fromkeys(("larg_nnum", "intersection_array", "find_dissimilar", "Diff"), "set"),
    },
}
"""Data set → entry point → comparator, where EvalPlus does not compare by equality (`eval/_special_oracle.py`)."""


def evalplus(row: Row) -> Row:
    """HumanEvalPlus and MbppPlus. The tests are the base inputs, then the plus inputs: `meta["base_tests"]` says how
    many are base. The reference gives the values that they expect."""
    data_set, _, number = str(row["task_id"]).partition("/")
    compare = EVALPLUS_COMPARATORS.get(data_set, {}).get(row["entry_point"])
    base, plus = row["base_input"], row.get("plus_input") or []
    inputs = [*base, *plus]
    if data_set == "Mbpp" and number.isdigit() and int(number) in MBPP_SHAPES:
        inputs = [MBPP_SHAPES[int(number)](arguments) for arguments in inputs]
    return {
        "prompt": row["prompt"],
        "entry_point": row["entry_point"],
        "tests": [call(arguments, compare=compare) for arguments in inputs],
        "test_kind": "calls",
        "atol": float(row.get("atol") or 0),
        "reference": row["prompt"] + row["canonical_solution"],
        "source": "evalplus",
        "meta": {"task_id": row["task_id"], "base_tests": len(base)},
    }


def input_output(row: Row) -> Row:
    """APPS and TACO: `input_output` holds inputs, outputs and perhaps fn_name, as an object or as JSON text."""
    prompt = row.get("question") or row.get("prompt")
    if not isinstance(prompt, str):
        raise DataError("question: missing: add it, or name its column in `columns:`")
    given = _parsed(row["input_output"] or "{}", "input_output")
    if not isinstance(given, dict):
        raise DataError(f"input_output: must be an object with inputs and outputs, found {repr(given)[:60]}")
    inputs, outputs, function = (given.get(name) for name in ("inputs", "outputs", "fn_name"))
    tests = _paired(inputs or [], outputs or [], function)
    return {
        "prompt": _with_starter(prompt, row.get("starter_code")),
        "entry_point": function or row.get("entry_point"),
        "tests": tests,
        "test_kind": "calls" if function else "io",
        "limits": _limits(row),
        "reference": _first_solution(row.get("solutions")),
        "source": str(row.get("source") or "input_output"),
        "meta": _named(row, "task_id", "problem_id", "question_id", "id", kept=("difficulty", "url")),
    }


def livecodebench(row: Row) -> Row:
    """LiveCodeBench: public and private test cases, of programs or of a function that `metadata` names."""
    cases = [*_cases(row, "public_test_cases"), *_cases(row, "private_test_cases")]
    metadata = _parsed(row.get("metadata") or "{}", "metadata")
    function = metadata.get("func_name") if isinstance(metadata, dict) else None
    functional = any(case.get("testtype") == "functional" for case in cases)
    if functional and not function:
        raise DataError("metadata: names no func_name, which functional test cases need")
    tests = [_functional(case) if functional else printed(case["input"], case["output"]) for case in cases]
    return {
        "prompt": _with_starter(row["question_content"], row.get("starter_code")),
        "entry_point": function if functional else None,
        "tests": tests,
        "test_kind": "calls" if functional else "io",
        "limits": _limits(row),
        "source": "livecodebench",
        "meta": _named(row, "task_id", "question_id", kept=("platform", "difficulty", "contest_date")),
    }


def exercism(row: Row) -> Row:
    """Exercism: instructions, a stub, a unittest file and an example that passes it."""
    parts = (row["instructions"], row.get("instructions_append") or "", row["stub"])
    return {
        "prompt": "\n\n".join(part.strip() for part in parts if part.strip()) + "\n",
        "tests": [row["test"]],
        "test_kind": "unittest",
        "reference": row["example"],
        "source": "exercism",
        "meta": _named(row, "task_id", "slug", "module", kept=("slug", "module")),
    }


def quixbugs(row: Row) -> Row:
    """QuixBugs: a program with one wrong line, the right one, and lines of `[arguments, output]`. Programs on graphs
    have no such lines, and so no tests."""
    name = row["name"]
    return {
        "prompt": f"Fix the bug in this program.\n\n{row['buggy'].strip()}\n",
        "entry_point": name,
        "tests": [_quixbugs_case(line) for line in row["json_testcases"].splitlines() if line.strip()],
        "test_kind": "calls",
        # its last argument is how far off the root may be, at best this
        "atol": 0.01 if name == "sqrt" else None,
        "reference": row["correct"],
        "source": "quixbugs",
        "meta": {"task_id": name, "buggy": row["buggy"]},
    }


_ABSENT = object()


def call(arguments: Iterable[Any], output: Any = _ABSENT, *, compare: str | None = None) -> str:
    """One test of kind `calls`; without an output the problem's reference gives it."""
    entry: Row = {"input": [coded(argument) for argument in arguments]}
    if output is not _ABSENT:
        entry["output"] = coded(output)
    if compare is not None:
        entry["compare"] = compare
    return json.dumps(entry)


def printed(given: str, output: str) -> str:
    """One test of kind `io`."""
    return json.dumps({"input": given, "output": output}, ensure_ascii=False)


def coded(value: Any) -> Any:
    """A value as the executor's codec writes it: plain JSON is itself, anything else is tagged."""
    match value:
        case list():
            return [coded(item) for item in value]
        case tuple():
            return {"$t": [coded(item) for item in value]}
        case set():
            return {"$s": [coded(item) for item in value]}
        case complex():
            return {"$c": [value.real, value.imag]}
        case dict():
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {key: coded(item) for key, item in value.items()}
            return {"$d": [coded(part) for pair in value.items() for part in pair]}
    return value


def _parsed(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise DataError(f"{name}: not JSON: {value[:60]!r}") from None


def _paired(inputs: Sequence[Any], outputs: Sequence[Any], function: str | None) -> list[str]:
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise DataError("input_output: inputs and outputs must be lists")
    if len(inputs) != len(outputs):
        raise DataError(f"input_output: {len(inputs)} inputs, but {len(outputs)} outputs")
    pairs = zip(inputs, outputs, strict=True)
    if function is None:
        return [printed(_text(given), _text(output)) for given, output in pairs]
    return [_apps_call(given, output) for given, output in pairs]


def _apps_call(given: Any, output: Any) -> str:
    arguments = given if isinstance(given, list) else [given]
    return call([_whole_keys(one) for one in arguments], _whole_keys(output), compare="apps")


def _whole_keys(value: Any) -> Any:
    """JSON made texts of a dict's integer keys: undone as APPS does it."""
    if isinstance(value, dict) and value and all(re.fullmatch(r"-?\d+", key) for key in value):
        return {int(key): item for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    return "\n".join(str(line) for line in value) if isinstance(value, list) else str(value)


def _with_starter(prompt: str, starter: Any) -> str:
    return f"{prompt.rstrip()}\n\n{starter.strip()}\n" if isinstance(starter, str) and starter.strip() else prompt


def _first_solution(solutions: Any) -> str | None:
    """The first of a list, which may be JSON text."""
    found = _parsed(solutions, "solutions") if solutions else []
    return found[0] if isinstance(found, list) and found and isinstance(found[0], str) else None


def _limits(row: Row) -> Row | None:
    """`time_limit`: seconds, or text such as `2.0 seconds`. A memory limit is the judge's measure, not ours."""
    given = row.get("time_limit")
    found = _NUMBER.match(str(given)) if given else None
    seconds = float(found[1]) if found else 0.0
    return {"cpu_seconds": seconds} if seconds > 0 else None


def _cases(row: Row, name: str) -> list[Row]:
    value = row.get(name) or "[]"
    if isinstance(value, str) and not value.lstrip().startswith("["):
        raise DataError(f"{name}: packed with pickle, which can run code: unpack it to JSON first")
    cases = _parsed(value, name)
    if not isinstance(cases, list) or not all(_is_case(case) for case in cases):
        raise DataError(f"{name}: must be a list of objects with the texts input and output")
    return cases


def _is_case(case: Any) -> bool:
    return isinstance(case, dict) and all(isinstance(case.get(name), str) for name in ("input", "output"))


def _functional(case: Row) -> str:
    """A line of the input is the JSON of one argument."""
    arguments = [_parsed(line, "input") for line in case["input"].split("\n") if line.strip()]
    return call(arguments, _parsed(case["output"], "output"), compare="json")


def _quixbugs_case(line: str) -> str:
    arguments, output = _parsed(line, "json_testcases")
    return call(arguments if isinstance(arguments, list) else [arguments], output, compare="json")


def _named(row: Row, *names: str, kept: tuple[str, ...]) -> Row:
    """`meta`: the row's own id under `task_id`, and what else is worth keeping."""
    own = next((row[name] for name in names if row.get(name) is not None), None)
    return {**({} if own is None else {"task_id": own}), **{name: row[name] for name in kept if row.get(name)}}


def _tuples(depth: int) -> Callable[[Any], Any]:
    """Lists at that depth become tuples; 0 is the argument itself."""
    return lambda value: tuple(value) if depth == 0 else [_tuples(depth - 1)(item) for item in value]


def _all_tuples(value: Any) -> Any:
    return tuple(_all_tuples(item) for item in value) if isinstance(value, list) else value


def _outer_and_inner(value: Any) -> Any:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda arguments: [change(argument) for argument in arguments]


def _first(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda arguments: [change(arguments[0]), *arguments[1:]]


MBPP_SHAPES: dict[int, Callable[[Any], Any]] = {
    **dict.fromkeys((2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424), _each(_tuples(0))),
    **dict.fromkeys((429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809), _each(_tuples(0))),
    **dict.fromkeys((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780), _each(_tuples(1))),
    **dict.fromkeys((75, 413, 444, 753), _first(_tuples(1))),
    **dict.fromkeys((106, 750), lambda arguments: [arguments[0], tuple(arguments[1])]),
    115: _first(lambda value: [set(item) if isinstance(item, list) and item else {} for item in value]),
    124: lambda arguments: [float(arguments[0]), complex(arguments[1])],
    **dict.fromkeys((250, 307, 405, 446, 617, 720, 763, 808), _first(_tuples(0))),
    252: _first(complex),
    **dict.fromkeys((259, 401, 445), _each(_outer_and_inner)),
    278: _first(_outer_and_inner),
    **dict.fromkeys((580, 615, 791), _each(_all_tuples)),
    722: _first(lambda value: {key: tuple(item) for key, item in value.items()}),
}
"""MbppPlus problem → its arguments with the tuples, sets and complex numbers that JSON cannot hold, as
`mbpp_deserialize_inputs` of evalplus makes them."""
