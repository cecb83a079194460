"""Our losses and figures against the code of trl's own trainers, run on made-up log-probabilities."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from align.loss import ResponseLogprobs, kto_loss, orpo_loss, simpo_loss
from align.train.objective import objective
from align.train.policy import Output
from align.train.settings import Dpo

trl = pytest.importorskip("trl")

PAIRS, LENGTH = 3, torch.tensor([4, 2, 7, 3, 5, 6])
"""Three pairs: trl's rows are the chosen ones, then the rejected ones."""
GROUP, SCORES = torch.arange(PAIRS).repeat(2), torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
TYPES = ["sigmoid", "sigmoid_norm", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down"]
CLOSE = 1e-6


@pytest.fixture
def tokens():
    """(R, T) log-probabilities under the policy and the reference, 0 beyond each response, and where responses are."""
    torch.manual_seed(0)
    mask = torch.arange(8)[None, :] < LENGTH[:, None]
    return -torch.rand(6, 8) * 3 * mask, -torch.rand(6, 8) * 3 * mask, mask


def trainer(**attributes):
    """What trl's loss reads of its trainer."""
    same = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    metrics = defaultdict(lambda: defaultdict(list))
    plain = {"aux_loss_enabled": False, "precompute_ref_logps": True, "_total_train_tokens": 0, "_tp_size": 1}
    model = SimpleNamespace(training=True)
    return SimpleNamespace(accelerator=same, model=model, _metrics=metrics, **(plain | attributes))


def model(logps, mask):
    """A model whose fused head says what it is told."""
    nothing = torch.zeros_like(logps)
    said = SimpleNamespace(log_probs=logps, entropy=nothing, mean_logits=nothing, is_top1=mask)
    return lambda **_: said


def inputs(mask):
    """A prompt of one token before every response."""
    whole = torch.cat([torch.zeros(len(mask), 1, dtype=torch.bool), mask], dim=1).long()
    return {"input_ids": whole, "attention_mask": whole, "completion_mask": whole}


def theirs(loss_type, smoothing, policy, reference, mask):
    """trl's DPO loss, and what it logs."""
    chosen, rejected = reference.sum(1).chunk(2)
    own = trainer(
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=0.3,
        label_smoothing=smoothing,
        use_weighting=False,
    )
    rows = inputs(mask) | {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    loss = trl.DPOTrainer._compute_loss(own, model(policy, mask), rows, False)
    return loss, {name: values[-1] for name, values in own._metrics["train"].items()}


def ours(loss_type, smoothing, policy, reference, mask):
    section = Dpo(name="dpo", beta=0.3, loss_type=loss_type, label_smoothing=smoothing)
    batch = {
        "scores_R": SCORES,
        "group_R": GROUP,
        "response_N": torch.arange(6).repeat_interleave(LENGTH),
        "reference_N": reference[mask],
        "sft_weights_R": SCORES,
        "empty": False,
        "pairs": torch.tensor(float(PAIRS)),
        "tokens": torch.tensor(13.0),
    }
    return objective(section)(Output(ResponseLogprobs(policy.sum(1), LENGTH, policy[mask]), None), batch)


@pytest.mark.parametrize(("loss_type", "smoothing"), [*[(t, 0.0) for t in TYPES], ("robust", 0.2), ("exo_pair", 0.2)])
def test_every_loss_type_of_dpo_is_trls(tokens, loss_type, smoothing):
    step = ours(loss_type, smoothing, *tokens)
    loss, logged = theirs(loss_type, smoothing, *tokens)
    assert float(step.loss) == pytest.approx(float(loss), rel=CLOSE)
    shared = logged.keys() & step.figures.keys()
    assert {"rewards/chosen", "rewards/accuracies", "rewards/margins", "logps/rejected"} <= shared
    for name in shared:
        total, weight = step.figures[name]
        assert float(total / weight) == pytest.approx(logged[name], rel=CLOSE), name


@pytest.mark.parametrize("kl", [-0.2, 0.4])
def test_kto_is_trls(tokens, kl):
    policy, reference, mask = tokens
    labels = torch.tensor([True, False, True, True, False, False])
    own = trainer(
        beta=0.3,
        desirable_weight=1.3,
        undesirable_weight=0.8,
        loss_type="kto",
        calculate_KL=True,
        _compute_kl_logps=lambda *_: torch.full((6,), kl),
    )
    rows = inputs(mask) | {"label": labels, "ref_logps": reference.sum(1), "ref_KL_logps": torch.zeros(6)}
    expected = trl.KTOTrainer._compute_loss(own, model(policy, mask), rows, False)
    found = kto_loss(
        policy.sum(1),
        LENGTH,
        labels.float(),
        torch.arange(6),
        log_ratio_R=(policy - reference).sum(1),
        kl=torch.tensor(max(kl, 0.0)),
        beta=0.3,
        desirable_weight=1.3,
        undesirable_weight=0.8,
    )
    assert float(found.total) == pytest.approx(float(expected), rel=CLOSE)


def test_simpo_is_trls(tokens):
    policy = tokens[0]
    cpo = pytest.importorskip("trl.experimental.cpo").CPOTrainer
    own = trainer(alpha=0.0, loss_type="simpo", beta=2.0, simpo_gamma=0.7, label_smoothing=0.0)
    losses, _, _ = cpo.cpo_loss(own, *(policy.sum(1) / LENGTH).chunk(2))
    found = simpo_loss(policy.sum(1), LENGTH, SCORES, GROUP, beta=2.0, simpo_gamma=0.7)
    assert float(found.total) == pytest.approx(float(losses.mean()), rel=CLOSE)


def test_orpos_odds_ratio_is_trls(tokens):
    policy = tokens[0]
    orpo = pytest.importorskip("trl.experimental.orpo").ORPOTrainer
    ratios = orpo.odds_ratio_loss(trainer(beta=0.4), *(policy.sum(1) / LENGTH).chunk(2))[0]
    found = orpo_loss(policy.sum(1), LENGTH, SCORES, GROUP, beta=0.4)
    # trl's likelihood is of prompt and response; theirs is subtracted
    assert float(found.total - found.sft) == pytest.approx(-float(ratios.mean()), rel=CLOSE)
