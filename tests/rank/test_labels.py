"""People's labels from a file."""

import json

import pytest

from align.errors import DataError
from align.rank.fuse import tiers
from align.rank.labels import Labels
from align.rank.protocol import contests
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Add.", meta={"task_id": "own/1"})
OTHER = Problem(prompt="Subtract.")
RESPONSES = [
    Response(problem_id=PROBLEM.id, sample_index=index, text=text, meta={"id": f"mine-{index}"})
    for index, text in enumerate("abcd")
]
STRAY = Response(problem_id=OTHER.id, text="e")
A, B, C, D = (one.id for one in RESPONSES)


def written(tmp_path, *rows):
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps({"problem_id": PROBLEM.id, **row}) + "\n" for row in rows))
    return path


def ordered(tmp_path, *rows):
    labels = Labels(written(tmp_path, *rows), [PROBLEM, OTHER], [*RESPONSES, STRAY])
    (scores,) = labels.rank(contests([PROBLEM], RESPONSES))
    by_id = {one.id: one.text for one in RESPONSES}
    return ["".join(sorted(by_id[one] for one in tier)) for tier in tiers(scores.values)], scores, labels


def test_scores_of_several_people_are_averaged_and_the_unlabelled_are_not_ranked(tmp_path):
    rows = [(A, 1.0), (A, 3.0), (B, 2.0), (C, 4)]
    tiers, scores, labels = ordered(tmp_path, *({"response_id": one, "score": value} for one, value in rows))
    assert tiers == ["c", "ab"]
    assert D not in scores.values
    assert labels.report() == {"labels": 4, "form": "score", "labelled": 3}


def test_rank_1_is_best(tmp_path):
    rows = [(A, 2), (B, 1), (C, 2), (D, 9)]
    tiers, _, _ = ordered(tmp_path, *({"response_id": one, "rank": value, "annotator": "x"} for one, value in rows))
    assert tiers == ["b", "ac", "d"]


def test_pairs_are_joined_and_contradictions_are_undecided(tmp_path):
    rows = [(A, B), (B, C), (C, B), (A, C)]
    tiers, scores, _ = ordered(tmp_path, *({"chosen": one, "rejected": other} for one, other in rows))
    assert tiers == ["a", "bc"]
    assert scores.undecided == {tuple(sorted((B, C)))}
    assert D not in scores.values


def test_parts_that_no_pair_joins_are_not_compared(tmp_path):
    _, scores, _ = ordered(tmp_path, {"chosen": A, "rejected": B}, {"chosen": C, "rejected": D})
    assert scores.values.keys() == {A, B}


def test_a_users_own_ids_are_known(tmp_path):
    rows = [{"problem_id": "own/1", "response_id": f"mine-{index}", "score": index} for index in range(4)]
    assert ordered(tmp_path, *rows)[0] == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"problem_id": "x", "response_id": A, "score": 1}], r"labels\.jsonl: none of its 1 labels .* another set"),
        (
            [{"response_id": A, "score": 1}, {"problem_id": "x", "response_id": A, "score": 1}],
            r"labels\.jsonl:2: no problem 'x' .*1 such labels",
        ),
        ([{"response_id": "zz", "score": 1}], r"labels\.jsonl:1: problem .* has no response 'zz'"),
        ([{"chosen": A, "rejected": STRAY.id}], r"labels\.jsonl:1: problem .* has no response"),
        (
            [{"response_id": A, "score": 1}, {"response_id": B, "rank": 1}],
            r":2: a rank in a file of scores",
        ),
        ([{"response_id": A}], r"labels\.jsonl:1: .*expected response_id and score"),
        ([{"response_id": A, "score": 1, "rank": 1}], r"labels\.jsonl:1: .*expected response_id and score"),
        ([{"chosen": A, "score": 1}], r"labels\.jsonl:1: .*expected response_id and score"),
        ([{"response_id": A, "score": "good"}], r"labels\.jsonl:1: score: .*found 'good'"),
        ([{"response_id": A, "score": float("nan")}], r"labels\.jsonl:1: score"),
        ([{"response_id": A, "stars": 1}], r"labels\.jsonl:1: stars: unknown field"),
    ],
)
def test_a_wrong_label_is_one_line_with_its_place(tmp_path, rows, message):
    with pytest.raises(DataError, match=message) as caught:
        ordered(tmp_path, *rows)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_label_ranks_nothing(tmp_path):
    assert ordered(tmp_path)[1].values == {}
