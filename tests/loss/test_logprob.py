import pytest
import torch

from align.loss import response_logprobs


@pytest.fixture
def parts():
    torch.manual_seed(0)
    hidden = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    head = torch.randn(13, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(13, (11,))
    response = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2])
    return hidden, head, targets, response


def by_hand(hidden, head, targets, response):
    sums = [torch.zeros((), dtype=torch.float64) for _ in range(3)]
    for n in range(len(targets)):
        logits = head @ hidden[n]
        sums[response[n]] = sums[response[n]] + logits[targets[n]] - torch.log(torch.exp(logits).sum())
    return torch.stack(sums)


def test_sums_and_lengths_equal_a_loop(parts):
    found = response_logprobs(*parts)
    assert torch.allclose(found.sum, by_hand(*parts), atol=1e-12)
    assert found.length.tolist() == [3, 5, 3]


@pytest.mark.parametrize("chunk", [1, 3, 11, 100])
def test_chunks_change_neither_values_nor_gradients(parts, chunk):
    whole = response_logprobs(*parts)
    expected = torch.autograd.grad(whole.sum.square().sum(), parts[:2])
    cut = response_logprobs(*parts, chunk=chunk)
    found = torch.autograd.grad(cut.sum.square().sum(), parts[:2])
    assert torch.allclose(cut.token, whole.token, atol=1e-13)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(found, expected, strict=True))


def test_gradients_pass_gradcheck(parts):
    hidden, head, targets, response = parts
    assert torch.autograd.gradcheck(
        lambda h, w: response_logprobs(h, w, targets, response, chunk=4).sum, (hidden, head)
    )


def test_half_precision_states_get_a_float32_log_sum_exp(parts):
    hidden, head, targets, response = parts
    half = response_logprobs(hidden.bfloat16(), head.bfloat16(), targets, response)
    exact = (hidden.bfloat16().double() @ head.bfloat16().double().T).log_softmax(1)
    assert half.token.dtype == torch.float32
    logits = (hidden.bfloat16() @ head.bfloat16().T).double().log_softmax(1)
    assert torch.allclose(half.token.double(), logits.gather(1, targets[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(half.token.double(), exact.gather(1, targets[:, None])[:, 0], atol=0.1)


def test_the_order_of_tokens_does_not_change_a_sum():
    torch.manual_seed(0)
    hidden, head = torch.randn(5000, 4), torch.randn(50, 4)
    targets, response = torch.randint(50, (5000,)), torch.zeros(5000, dtype=torch.long)
    order = torch.randperm(5000)
    straight = response_logprobs(hidden, head, targets, response).token
    shuffled = response_logprobs(hidden[order], head, targets[order], response)
    assert shuffled.sum == straight.double().sum().float()


def test_a_response_without_tokens_counts_as_empty():
    none = torch.zeros(0, dtype=torch.long)
    found = response_logprobs(torch.zeros(0, 4), torch.zeros(7, 4), none, none, responses=2)
    assert found.sum.tolist() == [0, 0]
    assert found.length.tolist() == [0, 0]
