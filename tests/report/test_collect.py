"""What a run's folder tells, finished or not."""

import fcntl
import json
import os

import pytest

from align.errors import DataError
from align.io import sha256_file, write
from align.report.collect import collect, is_begun, state_of

from .conftest import METRICS, sample


def states(run) -> list[str]:
    return [stage.state for stage in collect(run.folder).stages]


def test_a_finished_run_has_all_its_stages_counts_and_scores(finished):
    report = collect(finished.folder)
    assert report.state == "finished"
    assert report.active is None
    assert [stage.state for stage in report.stages] == ["done"] * 3
    assert report.stages[0].counts == {"kept": 1234, "rejected": {"contaminated": 56}}
    assert report.stages[1].reads == ["clean"]
    assert report.scores[0].models["rrtf"]["pass@1"] == 75
    assert report.scores[0].paired["rrtf"]["delta"] == 25
    assert report.versions == {"python": ["3.11.7"]}
    assert report.seconds == 4.5


def test_a_stage_without_its_marker_is_where_the_run_stopped(trained):
    trained.begin("score")
    report = collect(trained.folder)
    assert report.state == "stopped"
    assert report.active is not None
    assert report.active.name == "score"
    assert report.done == 2


def test_a_stage_whose_name_begins_like_anothers_is_not_taken_for_it(trained):
    trained.begin("clean-more")
    assert collect(trained.folder).state == "unfinished"


def test_a_run_whose_lock_is_held_is_running(trained):
    folder = trained.begin("score")
    with open(trained.folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        report = collect(trained.folder)
    assert report.state == "running"
    assert report.active is not None
    assert folder.name.endswith(report.active.key)
    assert collect(trained.folder).state == "stopped"


def test_looking_at_a_run_does_not_keep_its_lock(trained):
    (trained.folder / ".lock").touch()
    collect(trained.folder)
    with open(trained.folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_that_was_told_to_do_some_stages_only_is_unfinished(trained):
    assert states(trained) == ["done", "done", "not run"]
    assert collect(trained.folder).state == "unfinished"


def test_a_leftover_of_an_older_plan_is_no_failure(finished):
    leftover = finished.begin("rrtf", key="0" * 64)
    os.utime(leftover, (1, 1))
    assert collect(finished.folder).state == "finished"


def test_results_after_a_stage_that_is_run_anew_are_told_to_be_older(finished):
    recorded = (finished.folder / "run.json").stat().st_mtime
    os.utime(finished.begin("clean", key="0" * 64), (recorded + 1, recorded + 1))
    report = collect(finished.folder)
    assert report.state == "stopped"
    assert report.has_older_results


def test_a_stage_whose_files_were_changed_says_so_and_its_score_is_not_shown(finished):
    (finished.folder / "score" / "results.jsonl").unlink()
    assert states(finished) == ["done", "done", "changed"]
    assert collect(finished.folder).scores == []


def test_the_curves_of_a_running_stage_end_before_the_line_that_is_being_written(run):
    run.begin("clean")
    run.finish("clean", "clean", {"kept": 1})
    folder = run.begin("rrtf")
    write(folder / "metrics.jsonl", METRICS)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 30, "lo')
    assert collect(run.folder).stages[1].metrics == METRICS


def test_a_folder_that_is_no_run_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"no run\.json"):
        collect(tmp_path)


def test_prompts_are_shown_only_while_their_file_is_the_one_that_was_scored(finished, tmp_path, problems):
    shown = collect(finished.folder).scores[0].prompts
    # the first two are fixed, the third is broken, the last is solved by both
    assert {id: prompt.text for id, prompt in shown.items()} == {problem.id: problem.prompt for problem in problems[:3]}
    write(tmp_path / "heldout.jsonl", problems[:3])
    assert collect(finished.folder).scores[0].prompts == {}


def test_without_the_recipe_a_run_is_still_told(finished, tmp_path):
    (tmp_path / "recipes" / "toy.yaml").write_text("stages: {rank: {typo: 1}}")
    (tmp_path / "heldout.jsonl").unlink()
    report = collect(finished.folder)
    assert report.scores[0].prompts == {}
    assert report.scores[0].solved.changes[0].fixed == 2


def test_own_ids_are_texts_and_whole_numbers_in_columns_that_are_named_so(finished, tmp_path, problems):
    meta = {"task_id": "HumanEval/3", "uid": 0, "sub_ID": 7}
    no_ids = {"id": "", "valid": 1, "bid": "x", "row-id": [1], "x_uuid": True}
    named = [problem.model_copy(update={"meta": meta | no_ids}) for problem in problems]
    path = tmp_path / "heldout.jsonl"
    write(path, named)
    finished.finish("score", "score", {}, {"problems": str(path)}, {"problems": sha256_file(path)})
    (shown, *_) = collect(finished.folder).scores[0].prompts.values()
    assert shown.own_ids == {"task_id": "HumanEval/3", "uid": "0", "sub_ID": "7"}


def test_a_stage_that_is_not_done_has_a_state_of_its_own(trained):
    leftover, active = trained.begin("clean", key="0" * 64), trained.begin("score")
    os.utime(leftover, (1, 1))
    (trained.folder / ".lock").touch()
    assert is_begun(active)
    assert not is_begun(trained.folder / "clean")
    assert not is_begun(trained.folder)
    assert state_of(active) == ("stopped", None)
    with open(trained.folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state_of(active) == ("running", None)
        assert state_of(leftover) == ("stopped", None)
    (active / ".stopped").write_text("no problem")
    assert state_of(active) == ("failed", "no problem")


def test_prompts_are_read_under_the_columns_that_were_scored(trained, problems, tmp_path):
    path = tmp_path / "own.jsonl"
    write(path, [{"task": problem.prompt, "checks": problem.tests} for problem in problems])
    trained.score(
        {
            "sft": [sample("sft", problem.id, False) for problem in problems],
            "rrtf": [sample("rrtf", problem.id, True) for problem in problems],
        },
        path,
    )
    (marker,) = trained.folder.glob("score-*/stage.json")
    data = json.loads(marker.read_text())
    data["config"]["columns"] = {"prompt": "task", "tests": "checks"}
    marker.write_text(json.dumps(data))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toy.yaml").write_text(
        "stages: {clean: {problems: own.jsonl, columns: {prompt: task, tests: checks}}}"
    )
    (score,) = collect(trained.folder).scores
    assert {prompt.text for prompt in score.prompts.values()} == {problem.prompt for problem in problems}
