"""The rank stage in a recipe: what it leaves, what its key depends on, and how further rankers are wired."""

import json
import sys
from pathlib import Path

import pytest

from align.errors import BackendError, ConfigError, DataError, StageError
from align.io import read, write
from align.recipe.plan import not_run_here, plan, programs
from align.recipe.recipe import Recipe
from align.recipe.workspace import Workspace
from align.schema import PreferencePair, Problem, RankedGroup, Ranking, Response
from align.stages import rank as stage

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from faulty_server import FaultyServer, answer

PROBLEM = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"])
CODES = ("def add(a, b): return a + b", "def add(a, b): return 0")
PASSING = ("def add(a, b): return a + b", "def add(a, b):\n    c = a + b\n    return c", "add = lambda a, b: b + a")


@pytest.fixture
def rank(tmp_path, monkeypatch):
    """A recipe of one rank stage, with keys of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "problems.jsonl", [PROBLEM])
    write(tmp_path / "responses.jsonl", [Response(problem_id=PROBLEM.id, text=code, code=code) for code in CODES])

    def load(keys: str = "", above: str = "") -> Recipe:
        path = tmp_path / "recipes" / "r.yaml"
        path.write_text(f"{above}stages:\n  rank: {{problems: problems.jsonl, responses: responses.jsonl{keys}}}\n")
        return Recipe.load(path)

    return load


def test_a_finished_stage_leaves_no_cache_of_executions(rank):
    folder = (rank().run() / "rank").resolve()
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "groups.jsonl", "pairs.jsonl", "rankings.jsonl", "sft.jsonl"),
        *("stage.json", "timings.jsonl", "verdicts.jsonl"),
    }
    lines = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    assert [line["cpu_seconds"] >= 0 for line in lines] == [True, True]


def test_what_an_ended_process_left_of_the_cache_is_tidied(tmp_path):
    for name in (".executions.sqlite", ".executions.sqlite-wal", ".executions.sqlite-shm", "kept"):
        (tmp_path / name).touch()
    Workspace(tmp_path, "r").tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_interpreter_is_part_of_the_key_and_verdicts_are_of_it(rank):
    def key(keys: str) -> object:
        (stage,) = rank(keys).stages
        return programs(stage)

    plain = key("")
    assert plain == {"isolation": "none"}
    own, other = key(f", profile: {{python: {sys.executable}}}"), key(", profile: {modules: [wave]}")
    assert own["profile"] != other["profile"]
    folder = rank(", profile: {modules: [wave]}").run() / "rank"
    assert '"outcome":"passed"' in (folder / "verdicts.jsonl").read_text().replace(" ", "")


def test_an_interpreter_that_is_not_there_is_refused_before_anything_runs(rank, tmp_path):
    recipe = rank(", profile: {python: nowhere/bin/python}")
    with pytest.raises(ConfigError, match=r"^stages.rank: profile: nowhere/bin/python: .*name an interpreter"):
        recipe.run()
    assert not list(Path("runs").glob("**/stage.json"))
    with pytest.raises(ConfigError, match="name an interpreter"):
        not_run_here(recipe)


@pytest.fixture
def rightly(tmp_path, rank):
    """Three answers that pass and one that does not."""
    codes = [*PASSING, CODES[1]]
    rows = [Response(problem_id=PROBLEM.id, model=f"m{n}", text=code, code=code) for n, code in enumerate(codes)]
    write(tmp_path / "responses.jsonl", rows)
    return rows


def shorter(body):
    """A judge that prefers the shorter answer."""
    text = body["messages"][-1]["content"]
    lengths = [len(part.partition("----- end")[0]) for part in text.split(") -----\n")[1::2]]
    said = answer(body)
    verdict = "tie" if lengths[0] == lengths[1] else "A" if lengths[0] < lengths[1] else "B"
    said["choices"][0]["message"]["content"] = f"I see.\nVerdict: {verdict}"
    return said


def judge_at(server, limits=""):
    more = "max_concurrency: 1, max_retries: 0, request_timeout: 5.0" + limits
    return f"models:\n  judge: {{base_url: '{server.url}', model: m, {more}}}\n"


BY_JUDGE = ", by: [unit_tests, judge], judge: {model: judge}"


def test_a_judge_orders_what_passes_and_its_figures_are_told(rank, rightly):
    with FaultyServer(reply=shorter) as server:
        folder = rank(BY_JUDGE, judge_at(server)).run() / "rank"
    (ranking,) = read(folder / "rankings.jsonl", Ranking)
    assert [[rightly.index(one) for one in rightly if one.id in tier] for tier in ranking.tiers] == [[2], [0], [1], [3]]
    assert ranking.rankers == ["unit_tests", "judge"]
    # three pairs in both orders, and one audited pair across levels
    figures = json.loads((folder / "judge.json").read_text())
    assert (len(server.bodies), figures["questions"], figures["comparisons"]) == (8, 8, 3)
    counts = json.loads((folder / "stage.json").read_text())["counts"]
    assert counts["judge_replies"] == {"read": 8}
    assert (counts["judge_flips"], counts["judge_longer"]) == (0.0, figures["longer"]["share"])
    pairs = read(folder / "pairs.jsonl", PreferencePair)
    assert {(pair.chosen, pair.rejected) for pair in pairs} >= {(PASSING[2], PASSING[0]), (PASSING[0], PASSING[1])}
    # only the best of those that pass is a target
    assert len((folder / "sft.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("fault", ["over budget", "down"])
def test_a_judge_that_stops_is_one_line_and_what_it_said_is_not_paid_again(rank, rightly, fault, capsys):
    limit = ", max_requests: 3" if fault == "over budget" else ""
    with FaultyServer(reply=shorter) as server:
        if fault == "down":
            server.plan = lambda request, attempt: "500" if len(server.bodies) > 3 else None
        with pytest.raises(BackendError) as caught:
            rank(BY_JUDGE, judge_at(server, limit)).run()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("rank: ")
        assert sum(server.paid.values()) == 3
        unfinished = next(Path("runs").glob("r/rank-*"))
        assert (unfinished / ".executions.sqlite").is_file()
        server.plan = lambda request, attempt: None
        folder = rank(BY_JUDGE, judge_at(server, ", max_requests: 99")).run() / "rank"
        assert set(server.paid.values()) == {1}
    assert len(read(folder / "rankings.jsonl", Ranking)[0].tiers) == 4


def test_a_judge_is_not_asked_about_problems_that_are_dropped_anyway(rank, rightly, tmp_path):
    weak = PROBLEM.model_copy(update={"meta": {"tests": {"verdict": "weak"}}})
    write(tmp_path / "problems.jsonl", [weak])
    with FaultyServer(reply=shorter) as server:
        with pytest.raises(StageError, match=r"no group is left .*unverified_tests 1\): `unverified: accept`"):
            rank(BY_JUDGE.replace("model: judge", "model: judge, audit: 0"), judge_at(server)).run()
        assert server.bodies == []
        rank(BY_JUDGE + ", unverified: accept", judge_at(server)).run()
        assert len(server.bodies) == 8


def test_local_rankers_are_wired_and_weighed(rank, rightly, tmp_path):
    labels = [{"problem_id": PROBLEM.id, "response_id": one.id, "score": n} for n, one in enumerate(rightly)]
    write(tmp_path / "labels.jsonl", labels)
    (tmp_path / "mine.py").write_text("def mine(problem, response):\n    return -len(response.code)\n")
    keys = (
        ", by: [unit_tests, static, preference, labels, python], labels: {path: labels.jsonl}, "
        "python: {file: mine.py, function: mine}, static: {measures: [length]}, weights: {labels: 9, static: 0}"
    )
    folder = rank(keys).run() / "rank"
    (ranking,) = read(folder / "rankings.jsonl", Ranking)
    assert [[rightly.index(one) for one in rightly if one.id in tier] for tier in ranking.tiers] == [[2], [1], [0], [3]]
    assert ranking.rankers == ["unit_tests", "static", "preference", "labels", "python"]
    counts = json.loads((folder / "stage.json").read_text())["counts"]
    assert counts["labels_labelled"] == 3
    assert 0 <= counts["agreement"] <= 1
    # what the function says is part of the key
    (tmp_path / "mine.py").write_text("def mine(problem, response):\n    return len(response.code)\n")
    recipe = rank(keys)
    assert plan(recipe, Workspace(Path("runs").resolve(), recipe.name))[0].why != "cached"


def test_without_unit_tests_nothing_is_run_and_the_rankers_order_everything(rank, rightly):
    recipe = rank(", by: [preference]")
    assert programs(recipe.stages[0]) == {"isolation": None}
    folder = recipe.run() / "rank"
    assert not (folder / "verdicts.jsonl").exists()
    (group,) = read(folder / "groups.jsonl", RankedGroup)
    assert group.scores[0] == 1.0
    assert read(folder / "pairs.jsonl", PreferencePair)


def test_exports_are_files_that_later_stages_may_name(rank, rightly):
    folder = rank(", exports: [rrhf, ultrafeedback, trl_chat]").run() / "rank"
    (group,) = read(folder / "groups.jsonl", RankedGroup)
    for name in ("groups-rrhf.jsonl", "groups-ultrafeedback.jsonl"):
        (other,) = read(folder / name, RankedGroup)
        assert (other.prompt, other.responses, other.scores) == (group.prompt, group.responses, group.scores)
    assert len((folder / "pairs-chat.jsonl").read_text().splitlines()) == 3
    (own,) = rank(", exports: [rrhf]").stages
    assert stage.outputs(own.config) == (*stage.OUTPUTS[:5], "groups-rrhf.jsonl")


def test_pairs_and_groups_follow_their_keys(rank, rightly):
    folder = rank(", pairs: best_worst").run() / "rank"
    assert len(read(folder / "pairs.jsonl", PreferencePair)) == 1
    with pytest.raises(StageError, match="gap_below_minimum"):
        rank(", min_gap: 0.5").run()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (", by: [unit_tests, judge]", "judge needs a section"),
        (", judge: {model: judge}", "`by` does not name it: write `by: [unit_tests, judge]`"),
        (", weights: {static: 1}", "weights are of the rankers in `by`"),
        (", by: [static], static: {measures: [lenght]}", "did you mean 'length'"),
        (", by: [static], verdicts: problems.jsonl", "add unit_tests to `by`"),
        (", band: 0.5", "band"),
        (", by: [reward], reward: {model: judge}", "rank.reward.model: 'judge' has no weights here"),
        (", by: [judge], judge: {model: judge, kind: classifier}", "rank.judge.model: 'judge' has no weights here"),
        (", by: [unit_tests, python], python: {function: nowhere:f}", "nowhere:f: cannot be imported"),
    ],
)
def test_a_mistake_in_the_keys_is_one_line(rank, keys, said):
    with pytest.raises(ConfigError) as caught:
        rank(keys, "models:\n  judge: {offline: .}\n").run()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_another_problem_set_are_one_line_each(rank, rightly, tmp_path):
    other = Problem(prompt="Else.", tests=["assert True"])
    write(tmp_path / "labels.jsonl", [{"problem_id": "elsewhere", "response_id": "x", "score": 1.0}])
    with pytest.raises(DataError, match="it is of another set"):
        rank(", by: [unit_tests, labels], labels: {path: labels.jsonl}").run()
    folder = rank().run() / "rank"
    (tmp_path / "verdicts.jsonl").write_bytes((folder / "verdicts.jsonl").read_bytes())
    write(tmp_path / "problems.jsonl", [PROBLEM, other])
    write(tmp_path / "responses.jsonl", [Response(problem_id=other.id, text="x = 1", code="x = 1")])
    with pytest.raises(StageError, match=r"none of the 4 verdicts of .* it is of other responses"):
        rank(", verdicts: verdicts.jsonl").run()
    write(tmp_path / "problems.jsonl", [PROBLEM])
    with pytest.raises(DataError, match=rf"answers problem '{other.id}', which is not in the problems"):
        rank().run()
    write(tmp_path / "problems.jsonl", [PROBLEM, Problem(prompt="Else.")])
    write(tmp_path / "responses.jsonl", [Response(problem_id=Problem(prompt="Else.").id, text="x", code="x")])
    with pytest.raises(DataError, match="has no tests to judge response"):
        rank().run()


def test_what_a_judge_is_asked_at_most_is_told_to_the_plan():
    keys = {"problems": "p", "responses": "r", "by": ["unit_tests", "judge"]}
    asks = stage.demand(stage.Config(**keys, judge={"model": "j"}), 10).asks
    assert asks == {"j": (10 * 8 * 7 + 2 * 10, 1024)}
    asks = stage.demand(stage.Config(**keys, judge={"model": "j", "mode": "pointwise", "audit": 0}), 10).asks
    assert asks == {"j": (80, 1024)}
    asks = stage.demand(stage.Config(**keys, judge={"model": "j", "max_requests": 7}), 10).asks
    assert asks == {"j": (7, 1024)}
    assert stage.demand(stage.Config(problems="p", responses="r"), 10).asks == {}
