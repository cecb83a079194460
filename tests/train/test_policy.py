import copy
import math
import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, BloomForCausalLM

from align.errors import BackendError
from align.models.bloom import fuse, unfuse
from align.models.entry import Weights
from align.models.load import load_policy
from align.models.lora import TARGETS, Lora
from align.models.tiny import random_model
from align.text.collate import Group, Totals, collate
from align.train.objective import objective
from align.train.policy import Policy
from align.train.settings import Dpo, Rrtf

VOCABULARY, EOS = 300, 1
ARCHITECTURES = ["gpt_bigcode", "starcoder2", "bloom"]
LOSSES = {"sft": None, "rrtf": Rrtf(name="rrtf"), "dpo": Dpo(name="dpo", sft_weight=0.3)}


def make(architecture, dtype=torch.float32):
    model = random_model(
        architecture, hidden_size=32, num_layers=2, num_heads=4, vocab_size=VOCABULARY, max_position=128, seed=0
    ).to(dtype)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in model.parameters():
            # biases and norms start equal everywhere, which hides what becomes of them
            parameter.data += 0.1 * torch.randn(parameter.shape).to(dtype)
    if isinstance(model, BloomForCausalLM):
        fuse(model)
    return model.train()


def adapted(model):
    targets = list(TARGETS[model.config.model_type])
    found = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for name, parameter in found.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.1)
    return found


def ragged(count, k, seed=0):
    """Groups of k responses (4: two to four), one of them only the EOS."""
    draw = random.Random(seed)

    def ids(low, high):
        return [draw.randrange(2, VOCABULARY) for _ in range(draw.randint(low, high))]

    groups = []
    for number in range(count):
        size = draw.randint(2, 4) if k == 4 else k
        responses = [[*ids(0, 12), EOS] for _ in range(size)]
        if number == 1:
            responses[-1] = [EOS]
        scores = [float(size - i) for i in range(size)]
        groups.append(Group(str(number), ids(1, 16), responses, scores, [False] * size, [1.0] + [0.0] * (size - 1)))
    return groups


CASES = [("sft", 1), ("rrtf", 4), ("dpo", 2)]


def references(groups, seed=3):
    """Log-probabilities of a reference that is not the policy."""
    generator = torch.Generator().manual_seed(seed)
    return [
        -6 + torch.randn(sum(map(len, group.responses)), generator=generator, dtype=torch.float64) for group in groups
    ]


def gradient(policy, loss, groups, layout, parts=None, totals=None):
    """(loss, gradients by name), in float64, of a step that is cut into parts."""
    policy.zero_grad(set_to_none=True)
    known = dict(zip([group.problem_id for group in groups], references(groups), strict=True))
    total = 0.0
    for part in parts or [groups]:
        reference = [known[group.problem_id].to(next(policy.parameters()).dtype) for group in part]
        batch = collate(part, totals or Totals.of(groups), pad_id=0, reference=reference, layout=layout)
        step = objective(LOSSES[loss])(policy(batch), batch)
        step.loss.backward()
        total += step.loss.item()
    return total, {name: p.grad.double() for name, p in policy.named_parameters() if p.grad is not None}


def assert_same(found, expected, loss=1e-6, gradients=1e-5):
    assert found[0] == pytest.approx(expected[0], rel=loss)
    largest = max(float(value.abs().max()) for value in expected[1].values())
    assert found[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        assert float((found[1][name] - value).abs().max()) <= gradients * largest, name


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture(scope="module", params=CASES, ids=[name for name, _ in CASES])
def oracle(request, architecture):
    """(name of the loss, groups, what padded rows give in float64, computed by transformers' own attention)."""
    name, k = request.param
    groups = ragged(8, k)
    model = random_oracle(architecture)
    return name, groups, gradient(Policy(model, backend="plain"), name, groups, "plain")


def random_oracle(architecture):
    model = make(architecture, torch.float64)
    if architecture == "bloom":
        unfuse(model)
    return model


@pytest.mark.parametrize("layout", ["plain", "grouped"])
def test_both_layouts_give_the_loss_and_gradients_of_padded_rows_in_float64(architecture, oracle, layout):
    name, groups, expected = oracle
    policy = Policy(make(architecture), backend="grouped")
    assert_same(gradient(policy, name, groups, layout), expected)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_any_order_and_any_split_of_a_packed_step_gives_the_same(architecture, oracle, count):
    name, groups, expected = oracle
    shuffled = random.Random(count).sample(groups, len(groups))
    parts = [shuffled[i::count] for i in range(count)]
    policy = Policy(make(architecture), backend="grouped")
    assert_same(gradient(policy, name, groups, "grouped", [*parts, []]), expected)


def test_activation_checkpointing_changes_nothing_when_micro_batches_alternate(architecture):
    groups = ragged(4, 4)
    policy = Policy(adapted(make(architecture)))
    expected = gradient(policy, "rrtf", groups, "grouped")
    policy.activation_checkpointing_enable({"use_reentrant": False})
    policy.zero_grad(set_to_none=True)
    totals, losses = Totals.of(groups), []
    for part, layout in ((groups[:1], "grouped"), (groups[1:3], "plain"), (groups[3:], "grouped")):
        batch = collate(part, totals, pad_id=0, layout=layout)
        losses.append(objective(LOSSES["rrtf"])(policy(batch), batch).loss)
    # every layer is run again here, after other micro-batches have gone through the model
    for loss in losses:
        loss.backward()
    found = {name: p.grad.double() for name, p in policy.named_parameters() if p.grad is not None}
    assert_same((sum(loss.item() for loss in losses), found), expected)


def test_a_reference_with_the_adapters_off_is_the_same_in_both_layouts(architecture):
    groups = ragged(4, 2)
    policy = Policy(adapted(make(architecture)), adapter_off_reference=True)
    plain, grouped = (
        policy(collate(groups, Totals.of(groups), pad_id=0, layout=name)) for name in ("plain", "grouped")
    )
    assert torch.allclose(plain.reference_N, grouped.reference_N, atol=1e-5)
    assert torch.allclose(plain.logp.token, grouped.logp.token, atol=1e-5)
    assert not torch.allclose(grouped.logp.token, grouped.reference_N, atol=1e-3)


def test_the_layouts_agree_under_bfloat16_autocast(architecture):
    groups = ragged(4, 4)
    policy = Policy(adapted(make(architecture)))
    exact = gradient(policy, "rrtf", groups, "plain")
    with torch.autocast("cpu", torch.bfloat16):
        plain, grouped = (gradient(policy, "rrtf", groups, layout) for layout in ("plain", "grouped"))
    largest = max(float(value.abs().max()) for value in exact[1].values())

    def distance(found):
        return max(float((found[1][name] - value).abs().max()) for name, value in exact[1].items()) / largest

    assert 0 < distance(grouped) <= 2 * distance(plain)
    assert grouped[0] == pytest.approx(exact[0], rel=0.02)


def test_the_layouts_agree_on_four_bit_weights(architecture, tiny):
    model, _ = load_policy(Weights(model_name_or_path=str(tiny(architecture)), load_in_4bit=True), Lora(r=4))
    policy = Policy(model, backend="grouped")
    groups = ragged(4, 4)
    assert_same(gradient(policy, "rrtf", groups, "grouped"), gradient(policy, "rrtf", groups, "plain"), 1e-5, 1e-4)


def test_dpo_starts_at_ln_2_although_the_configuration_drops_out(architecture, tiny, tmp_path):
    folder = tmp_path / "model"
    model = random_model(
        architecture, hidden_size=32, num_layers=2, num_heads=4, vocab_size=VOCABULARY, max_position=128, seed=0
    )
    defaults = type(model.config)().to_dict()
    for key, value in defaults.items():
        if "drop" in key and hasattr(model.config, key):
            setattr(model.config, key, value or 0.1)
    model.save_pretrained(folder)
    for file in tiny(architecture).glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    assert any(value for key, value in AutoConfig.from_pretrained(folder).to_dict().items() if "drop" in key)
    policy = Policy(load_policy(Weights(model_name_or_path=str(folder)), Lora())[0], adapter_off_reference=True)
    groups = ragged(4, 2)
    batch = collate(groups, Totals.of(groups), pad_id=0)
    step = objective(Dpo(name="dpo"))(policy(batch), batch)
    assert step.loss.item() == pytest.approx(math.log(2), abs=1e-6)


def test_a_mutated_document_of_a_packed_row_changes_nothing_in_its_neighbours(architecture):
    policy = Policy(make(architecture), backend="grouped")
    groups = ragged(3, 1, seed=5)
    mutated = [groups[0], copy.deepcopy(groups[1]), groups[2]]
    mutated[1].prompt[0] = 2 + mutated[1].prompt[0] % 7
    batches = [collate(given, Totals.of(given), pad_id=0) for given in (groups, mutated)]
    before, after = (policy(batch).logp.token.detach() for batch in batches)
    own = batches[0]["response_N"] == 1
    assert not torch.equal(before[own], after[own])
    assert torch.equal(before[~own], after[~own])


def test_a_policy_on_padded_rows_refuses_a_packed_one(architecture):
    policy = Policy(random_oracle(architecture).float(), backend="plain")
    assert policy.layout == "plain"
    groups = ragged(2, 2)
    with pytest.raises(BackendError, match="packed row"):
        policy(collate(groups, Totals.of(groups), pad_id=0, layout="grouped"))
