"""The clean stage: every reason with its evidence, in order, the same with any number of workers."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from align.clean.checks import Rules
from align.errors import DataError, StageError
from align.io import read, write
from align.recipe.stage import Context, Counts
from align.schema import Problem, Rejected
from align.stages import clean

LONG = " ".join(f"word{n} of the statement" for n in range(20))
BENCHMARK = "given a list of rainfall figures for each day return the longest run of days without any rain at all"
KEY = "AKIA" + "IOSFODNN7ABCDEFG"
GOOD = "def f(x):\n    return x"


def run(out: Path, problems: list[Problem], **config: Any) -> Counts:
    out.mkdir(exist_ok=True)
    path = out.parent / "in.jsonl"
    write(path, problems)
    given = clean.Config.model_validate({"problems": str(path), "workers": 1, **config})
    return clean.run(given, Context("clean", out, 0))


def dropped(out: Path) -> list[tuple[str, str | None]]:
    return [(one.reason, one.detail) for one in read(out / "rejected.jsonl", Rejected)]


def rows() -> list[Problem]:
    return [
        Problem(prompt=LONG, reference=GOOD),
        Problem(prompt=f"{LONG}!", reference=GOOD),
        Problem(prompt=f"{LONG} more", reference=GOOD),
        Problem(prompt="Sum.", reference="def f(x:"),
        Problem(prompt=f"Log in with {KEY}", reference=GOOD),
        Problem(prompt=f"In Python, {BENCHMARK}.", reference=GOOD),
        Problem(prompt="Half a pair \ud800 and a nul \x00.", reference=GOOD, meta={"task_id": 7}),
        Problem(prompt="Sort.", reference=None),
    ]


@pytest.fixture
def everything(tmp_path: Path) -> dict[str, Any]:
    pytest.importorskip("rensa")
    pytest.importorskip("detect_secrets")
    write(tmp_path / "bench.jsonl", [Problem(prompt=BENCHMARK, meta={"task_id": "Rain/7"})])
    return {
        "near_duplicates": {},
        "secrets": "drop",
        "quality": {"parses": True},
        "decontaminate": [str(tmp_path / "bench.jsonl")],
    }


def test_each_rejection_has_its_reason_and_evidence(tmp_path: Path, everything: dict[str, Any]) -> None:
    problems = rows()
    counts = run(tmp_path / "out", problems, **everything)
    found = dropped(tmp_path / "out")
    first = problems[0].id
    reasons = ["duplicate", "near_duplicate", "does_not_parse", "secret", "contaminated"]
    assert [reason for reason, _ in found] == reasons
    assert found[0][1] == f"of {first}"
    assert found[1][1] == f"of {first}: Jaccard index 0.987"
    assert found[2][1] == "line 1: '(' was never closed"
    assert found[3][1] == "AWS Access Key in line 1 of prompt"
    assert "Rain/7" in str(found[4][1])
    assert counts == {"kept": 3, "rejected": dict.fromkeys(sorted(reasons), 1)}
    assert read(tmp_path / "out" / "problems.jsonl", Problem)[1:] == problems[-2:]


def test_no_file_holds_the_secret(tmp_path: Path, everything: dict[str, Any]) -> None:
    run(tmp_path / "out", rows(), **everything)
    assert all(KEY not in path.read_text() for path in (tmp_path / "out").iterdir())
    assert "<KEY>" in (tmp_path / "out" / "rejected.jsonl").read_text()


def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path, everything: dict[str, Any]) -> None:
    many = rows() + [Problem(prompt=f"{LONG} {n % 40} times", reference=GOOD) for n in range(700)]
    left = []
    for workers in (1, 2, 3):
        counts = run(tmp_path / f"out{workers}", many, **{**everything, "workers": workers})
        left.append((counts, *(path.read_bytes() for path in sorted((tmp_path / f"out{workers}").glob("*.jsonl")))))
    assert left[0] == left[1] == left[2]


def test_a_rejected_line_is_a_rejected_record(tmp_path: Path, everything: dict[str, Any]) -> None:
    run(tmp_path / "out", rows(), **everything)
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert lines == [one.model_dump_json() for one in read(tmp_path / "out" / "rejected.jsonl", Rejected)]
    assert all(list(json.loads(line)) == ["reason", "detail", "record"] for line in lines)


def test_secrets_are_replaced_where_that_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("detect_secrets")
    in_tests = Problem(prompt="Mail.", tests=["assert f() == 'ann.lee@corp.io'"])
    problems = [Problem(prompt=f"Use {KEY}"), Problem(prompt="Sum."), in_tests]
    counts = run(tmp_path / "out", problems, secrets="replace")
    kept = read(tmp_path / "out" / "problems.jsonl", Problem)
    assert [problem.prompt for problem in kept] == ["Use <KEY>", "Sum."]
    assert "id" not in kept[0].meta
    assert counts == {"kept": 2, "replaced": 1, "rejected": {"secret": 1}}
    assert dropped(tmp_path / "out") == [("secret", "e-mail address in line 1 of tests")]


def test_prompts_that_differ_by_a_redacted_secret_alone_are_duplicates(tmp_path: Path) -> None:
    pytest.importorskip("detect_secrets")
    problems = [Problem(prompt=f"Use {KEY}"), Problem(prompt=f"Use {KEY[:-1]}Q")]
    assert run(tmp_path / "out", problems, secrets="replace")["rejected"] == {"duplicate": 1}


def test_natural_text_goes_through_datatrove(tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    problems = [Problem(prompt="Mail ann@corp.io"), Problem(prompt="One\n\ntwo")]
    config = [{"RegexFilter": {"regex_exp": "two"}}, {"PIIFormatter": {"email_replacement": "<EMAIL>"}}]
    counts = run(tmp_path / "out", problems, datatrove=config)
    assert counts == {"kept": 1, "formatted": 1, "rejected": {"RegexFilter": 1}}
    assert read(tmp_path / "out" / "problems.jsonl", Problem)[0].prompt == "Mail <EMAIL>"
    with pytest.raises(ValidationError, match="datatrove has no filter 'RegxFilter': did you mean 'RegexFilter'"):
        clean.Config(problems="p", datatrove=["RegxFilter"])


def test_instruct_rows_are_cleaned_by_their_columns(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    rows = [{"instruction": "Add.", "output": "def f(a"}, {"instruction": "Add!", "output": GOOD, "uid": 3}]
    write(tmp_path / "rows.jsonl", rows)
    config = {"problems": str(tmp_path / "rows.jsonl"), "columns": {"prompt": "instruction", "reference": "output"}}
    given = clean.Config.model_validate({**config, "quality": {"parses": True}, "workers": 1})
    assert clean.run(given, Context("clean", tmp_path / "out", 0)) == {"kept": 1, "rejected": {"does_not_parse": 1}}
    # the first went for its program, so the second, of the same text, stays
    assert read(tmp_path / "out" / "problems.jsonl", Problem)[0].meta["uid"] == 3


def test_near_duplicates_stay_by_default(tmp_path: Path) -> None:
    assert clean.Config(problems="p").near_duplicates is None
    assert run(tmp_path / "out", rows()[:3])["rejected"] == {"duplicate": 1}
    assert Rules().near is None


def test_only_execution_runs_programs() -> None:
    def config(**given: Any) -> clean.Config:
        return clean.Config.model_validate({"problems": "p", **given})

    assert not clean.runs_programs(config(decontaminate=["b"]))
    assert not clean.runs_programs(config(decontaminate_by=["execution"]))
    assert clean.runs_programs(config(decontaminate=["b"], decontaminate_by=["ngram", "execution"]))


def test_a_wrong_row_is_told_with_its_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "rows.jsonl", [{"prompt": "a"}, {"prompt": 3}])
    with pytest.raises(DataError, match=r"rows\.jsonl:2: prompt"):
        clean.run(clean.Config(problems=str(tmp_path / "rows.jsonl")), Context("clean", tmp_path / "out", 0))
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_to_clean_and_nothing_left_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="holds no problem to clean"):
        run(tmp_path / "out", [])
    with pytest.raises(StageError, match=r"no problem is left of 1 \(few_words 1\)"):
        run(tmp_path / "out", [Problem(prompt="Sum.")], quality={"min_words": 5})


def test_a_paraphrase_is_found_by_running_its_program(tmp_path: Path) -> None:
    checks = {"aab": 2, "": 0, "abc": 1, "aabbbb": 4, "zzzzz": 5, "xyyyx": 3, "aabbbbcccccc": 6, "ppqpppppppp": 8}
    runs = (
        "def longest(text):\n    best = count = 0\n    before = None\n    for letter in text:\n"
        "        count = count + 1 if letter == before else 1\n        best = max(best, count)\n"
        "        before = letter\n    return best\n"
    )
    again = (
        "from itertools import groupby\ndef streak(word):\n    sizes = [len(list(group)) for _, group in groupby(word)]"
        "\n    return max(sizes, default=0)\n"
    )
    tests = [f"assert longest({text!r}) == {length}" for text, length in checks.items()]
    asked = "Return the length of the longest run of one letter in the text."
    write(tmp_path / "bench.jsonl", [Problem(prompt=asked, entry_point="longest", tests=tests, reference=runs)])
    problems = [
        Problem(prompt="How many times in a row does a character repeat at most?", reference=again),
        Problem(prompt="Reverse it.", reference="def back(a):\n    return a[::-1]\n"),
    ]
    config = {"decontaminate": [str(tmp_path / "bench.jsonl")], "isolation": "none"}
    assert run(tmp_path / "out", problems, **config)["kept"] == 2
    counts = run(tmp_path / "out2", problems, **config, decontaminate_by=["ngram", "execution"])
    assert counts == {"kept": 1, "rejected": {"contaminated": 1}}
    assert str(dropped(tmp_path / "out2")[0][1]).startswith("execution: bench.jsonl")
