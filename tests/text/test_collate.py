import pytest
import torch

from align.text.collate import Group, Totals, collate

EOS = 1
LAYOUTS = ["plain", "grouped"]


def group(prompt, *responses, scores=None):
    k = len(responses)
    return Group("p", prompt, list(responses), scores or [0.0] * k, [False] * k, [1 / k] * k)


GROUPS = [group([5, 6], [7, EOS], [8, 9, EOS], [EOS]), group([4], [3, EOS])]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pad_may_be_the_eos_and_the_eos_stays_a_target(layout):
    batch = collate(GROUPS, Totals(2, 1, 1), pad_id=EOS, layout=layout)
    assert batch["targets_N"].tolist() == [7, EOS, 8, 9, EOS, EOS, 3, EOS]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_target_is_predicted_from_the_token_before_it(layout):
    batch = collate(GROUPS, Totals(2, 1, 1), pad_id=0, layout=layout)
    before = batch["input_ids"].flatten()[batch["predict_N"]].tolist()
    assert before == [6, 7, 6, 8, 9, 6, 4, 3]
    assert batch["response_N"].tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    assert batch["group_R"].tolist() == [0, 0, 0, 1]


def test_padded_rows_are_masked_by_length():
    batch = collate(GROUPS, Totals(2, 1, 1), pad_id=EOS, layout="plain")
    assert batch["attention_mask"].sum(1).tolist() == [3, 4, 2, 2]
    assert batch["input_ids"].shape == (4, 4)


def test_a_packed_row_holds_every_prompt_once_and_no_last_token():
    batch = collate(GROUPS, Totals(2, 1, 1), pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 4, 3]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 2, 3, 0, 1]]
    assert batch["layout"] == ((2, (1, 2, 0)), (1, (1,)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_group_takes_the_tokens_it_is_planned_with(layout):
    for one in GROUPS:
        batch = collate([one], Totals(1, 1, 1), pad_id=0, layout=layout)
        # planned with the last token, which predicts nothing, in padded rows
        extra = len(one.responses) if layout == "plain" else 0
        assert one.size.tokens(layout) == batch["input_ids"].numel() + extra


def test_denominators_count_the_whole_step():
    groups = [group([5], [7, EOS], [8, 9, EOS], scores=[1.0, 0.0]), group([4], [3, EOS], [4, EOS], scores=[1.0, 1.0])]
    assert Totals.of(groups) == Totals(groups=2, pairs=1, tokens=2.5 + 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_micro_batch_orders_nothing_and_targets_nothing(layout):
    batch = collate([], Totals(1, 1, 1), pad_id=0, reference=[], layout=layout)
    assert not batch["sft_weights_R"].any()
    assert len(batch["scores_R"]) == len(batch["predict_N"]) == len(batch["reference_N"]) == 1
    assert batch["input_ids"].shape == (1, 1)


def test_reference_log_probabilities_come_in_the_order_of_the_targets():
    parts = [torch.arange(6.0), torch.arange(6.0, 8.0)]
    batch = collate(GROUPS, Totals(2, 1, 1), pad_id=0, reference=parts)
    assert batch["reference_N"].tolist() == list(range(8))
