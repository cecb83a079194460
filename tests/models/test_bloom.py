import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM

from align.models.bloom import FusedBloomModel, fuse, unfuse
from align.models.entry import Weights
from align.models.load import load_model
from align.train.policy import Policy


def make(heads=4, **options):
    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 64, "n_layer": 2, "n_head": heads, "initializer_range": 0.2}
    config = BloomConfig(**(shape | {"pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2} | options))
    return BloomForCausalLM(config).eval()


def fused(model):
    ours = copy.deepcopy(model)
    fuse(ours)
    return ours


IDS = torch.randint(4, 300, (3, 20), generator=torch.Generator().manual_seed(1))


def padded(side):
    """(3, 20) mask of rows of 20, 13 and 2 tokens."""
    mask = torch.ones_like(IDS)
    for row, padding in ((1, 7), (2, 18)):
        mask[row, slice(0, padding) if side == "left" else slice(-padding, None)] = 0
    return mask


@pytest.mark.parametrize("heads", [2, 4, 16])
@pytest.mark.parametrize("side", ["left", "right", "none"])
def test_logits_and_gradients_are_transformers_own(heads, side):
    mask = None if side == "none" else padded(side)
    weights = torch.randn(3, 20, 300) * (1 if mask is None else mask[..., None])
    model, outcomes = make(heads), []
    for given in (model, fused(model)):
        logits = given(IDS, attention_mask=mask).logits
        (logits * weights).sum().backward()
        gradients = [parameter.grad for parameter in given.parameters()]
        outcomes.append([logits * (1 if mask is None else mask[..., None]), *gradients])
    for expected, found in zip(*outcomes, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=2e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_greedy_generation_from_padded_prompts_gives_the_same_ids(cache):
    model = make()
    options = {"attention_mask": padded("left"), "do_sample": False, "max_new_tokens": 24}
    expected = model.generate(input_ids=IDS, **options)
    assert torch.equal(fused(model).generate(input_ids=IDS, cache_implementation=cache, **options), expected)


def test_a_prefill_in_two_pieces_and_weights_of_attention_are_transformers_own():
    model = make()
    ours = fused(model)
    with torch.no_grad():
        whole = model(IDS, output_attentions=True, output_hidden_states=True)
        found = ours(IDS, output_attentions=True, output_hidden_states=True)
        start = ours(IDS[:, :9], use_cache=True).past_key_values
        rest = ours(IDS[:, 9:], past_key_values=start).logits
    assert torch.equal(found.attentions[1], whole.attentions[1])
    assert len(found.hidden_states) == len(whole.hidden_states)
    assert torch.allclose(rest, whole.logits[:, 9:], atol=1e-5)


def test_bfloat16_loses_no_position_at_2048_tokens():
    model = make(n_layer=1, initializer_range=0.05)
    ids = torch.randint(4, 300, (1, 2048), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = model.transformer(ids).last_hidden_state
        ours = fused(model.bfloat16()).transformer(ids).last_hidden_state
        theirs = model.transformer(ids).last_hidden_state
    distance, their_distance = (float((states - exact).abs().max()) for states in (ours, theirs))
    # transformers rounds slope × position to 8 bits
    assert distance < 0.4 * their_distance
    assert distance < 0.02 * float(exact.abs().max())


def test_transformers_own_attention_leaks_between_packed_documents():
    """What packing on BLOOM does elsewhere; `test_policy` holds that ours does not."""
    model, positions = make(), torch.arange(20).remainder(10)[None]
    mutated = IDS[:1].clone()
    mutated[0, 0] += 1
    with torch.no_grad():
        before, after = (model(ids, position_ids=positions).logits[0, 10:] for ids in (IDS[:1], mutated))
    assert not torch.equal(before, after)


def test_loading_fuses_and_one_key_turns_it_off(tiny_bloom):
    outcomes = []
    for attention, kind in (("auto", True), ("eager", False)):
        model, _ = load_model(Weights(model_name_or_path=str(tiny_bloom), attn_implementation=attention))
        assert isinstance(model.transformer, FusedBloomModel) == kind
        assert Policy(model).layout == ("grouped" if kind else "plain")
        outcomes.append(model(IDS % 200, attention_mask=padded("right")).logits * padded("right")[..., None])
    assert torch.allclose(*outcomes, atol=1e-5)


def test_a_fused_model_saves_as_any_other_and_unfuses(tmp_path):
    model = fused(make())
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(tmp_path).eval()(IDS).logits
        unfuse(model)
        assert torch.equal(model(IDS).logits, expected)
