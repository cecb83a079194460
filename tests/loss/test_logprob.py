import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from align.loss import logprob, response_logprobs


@pytest.fixture
def parts():
    torch.manual_seed(0)
    hidden = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    head = torch.randn(13, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(13, (11,))
    response = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2])
    return hidden, head, targets, response


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        found = [value.numel() for value in (out if isinstance(out, tuple | list) else [out]) if torch.is_tensor(value)]
        self.elements = max([self.elements, *found])
        return out


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


@pytest.mark.parametrize("trained", [(0, 1), (0,), (1,)], ids=["both", "frozen head", "head alone"])
@pytest.mark.parametrize("chunk", [1, 3, 11, 100])
def test_gradients_equal_those_of_full_logits(parts, chunk, trained):
    leaves = [parts[i].detach().requires_grad_(i in trained) for i in (0, 1)]
    wanted = [leaves[i] for i in trained]
    expected = torch.autograd.grad(by_hand(*leaves, *parts[2:]).square().sum(), wanted)
    found = torch.autograd.grad(response_logprobs(*leaves, *parts[2:], chunk=chunk).sum.square().sum(), wanted)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("trained", [(0, 1), (0,), (1,)], ids=["both", "frozen head", "head alone"])
def test_gradients_pass_gradcheck(parts, trained):
    leaves = [parts[i].detach().requires_grad_(i in trained) for i in (0, 1)]
    assert torch.autograd.gradcheck(lambda h, w: response_logprobs(h, w, *parts[2:], chunk=4).sum, leaves)


def test_a_second_derivative_is_refused(parts):
    (slope,) = torch.autograd.grad(response_logprobs(*parts).sum.square().sum(), parts[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_without_gradients_nothing_is_kept(parts, monkeypatch):
    with torch.no_grad():
        assert response_logprobs(*parts).token.grad_fn is None
    products = []
    plain = logprob._product
    monkeypatch.setattr(logprob, "_product", lambda *given: products.append(1) or plain(*given))
    with torch.no_grad():
        response_logprobs(*parts, chunk=11)
    assert len(products) == 1


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_grows_with_the_chunk_and_not_with_the_tokens(dtype, trained):
    tokens, size, vocabulary, chunk = 600, 4, 1000, 8
    hidden = torch.randn(tokens, size, dtype=dtype, requires_grad=True)
    head = torch.randn(vocabulary, size, dtype=dtype, requires_grad=trained)
    with Largest() as largest:
        response_logprobs(
            hidden, head, torch.randint(vocabulary, (tokens,)), torch.zeros(tokens, dtype=torch.long), chunk=chunk
        ).sum.backward()
    assert largest.elements == chunk * vocabulary


def test_half_precision_states_get_a_float32_log_sum_exp(parts):
    hidden, head, targets, response = parts
    half = response_logprobs(hidden.bfloat16(), head.bfloat16(), targets, response)
    exact = (hidden.bfloat16().double() @ head.bfloat16().double().T).log_softmax(1)
    assert half.token.dtype == torch.float32
    logits = (hidden.bfloat16() @ head.bfloat16().T).double().log_softmax(1)
    assert torch.allclose(half.token.double(), logits.gather(1, targets[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(half.token.double(), exact.gather(1, targets[:, None])[:, 0], atol=0.1)


@pytest.mark.parametrize("trained", [False, True])
def test_autocast_multiplies_in_bf16_and_gives_float32_gradients(parts, trained):
    hidden, head = (part.detach().float() for part in parts[:2])
    hidden.requires_grad_(), head.requires_grad_(trained)
    with torch.autocast("cpu", torch.bfloat16):
        found = response_logprobs(hidden, head, *parts[2:])
    half = response_logprobs(hidden.bfloat16(), head.bfloat16(), *parts[2:])
    assert torch.equal(found.token, half.token)
    found.sum.sum().backward()
    exact = torch.autograd.grad(by_hand(*parts).sum(), parts[:2])
    for leaf, expected in zip((hidden, head), exact, strict=True):
        if leaf.requires_grad:
            assert leaf.grad.dtype == torch.float32
            assert torch.allclose(leaf.grad.double(), expected, atol=0.05 * float(expected.abs().max()))


def test_the_heads_gradient_is_accumulated_in_float32(monkeypatch):
    """Added up in bf16, a thousand chunks' shares would each fall below the sum's last digit."""
    monkeypatch.setattr(logprob, "HEAD_ROWS", 5)
    torch.manual_seed(0)
    hidden, targets = torch.randn(4, 8).bfloat16().repeat(1000, 1), torch.randint(13, (4,)).repeat(1000)
    head = torch.randn(13, 8).bfloat16().requires_grad_()
    response_logprobs(hidden[:4], head, targets[:4], targets[:4], chunk=4).token.sum().backward()
    once, head.grad = head.grad.float(), None
    response_logprobs(hidden, head, targets, targets, chunk=4).token.sum().backward()
    assert torch.allclose(head.grad.float() / 1000, once, rtol=0.01, atol=1e-3)


def test_the_order_of_tokens_does_not_change_a_sum():
    torch.manual_seed(0)
    hidden, head = torch.randn(5000, 4), torch.randn(50, 4)
    targets, response = torch.randint(50, (5000,)), torch.zeros(5000, dtype=torch.long)
    order = torch.randperm(5000)
    straight = response_logprobs(hidden, head, targets, response, chunk=5000).token
    shuffled = response_logprobs(hidden[order], head, targets[order], response, chunk=5000)
    assert shuffled.sum == straight.double().sum().float()


def test_large_logits_neither_overflow_nor_vanish():
    hidden = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    found = response_logprobs(hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]), torch.tensor([0, 1]))
    assert found.token.tolist() == [0, -600]
    found.sum.sum().backward()
    assert hidden.grad.tolist() == [[0], [2]]


@pytest.mark.parametrize("trained", [False, True])
def test_a_response_without_tokens_counts_as_empty(trained):
    none = torch.zeros(0, dtype=torch.long)
    hidden, head = torch.zeros(0, 4, requires_grad=True), torch.zeros(7, 4, requires_grad=trained)
    found = response_logprobs(hidden, head, none, none, responses=2)
    assert found.sum.tolist() == [0, 0]
    assert found.length.tolist() == [0, 0]
    found.sum.sum().backward()
    assert hidden.grad.shape == (0, 4)
    assert head.grad is None or not head.grad.any()


def test_a_token_beyond_the_vocabulary_is_an_error(parts):
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        response_logprobs(*parts[:2], parts[2] + 13, parts[3])


@pytest.mark.gpu
@pytest.mark.parametrize("trained", [False, True])
def test_a_gpu_gives_the_same_gradients(parts, trained):
    def gradients(device):
        leaves = [part.detach().float().to(device).requires_grad_() for part in parts[:2]]
        leaves[1].requires_grad_(trained)
        logp = response_logprobs(*leaves, *(part.to(device) for part in parts[2:]), chunk=3)
        logp.sum.square().sum().backward()
        return [leaf.grad.cpu() for leaf in leaves if leaf.requires_grad]

    found = zip(gradients("cuda"), gradients("cpu"), strict=True)
    assert all(torch.allclose(ours, plain, rtol=1e-4, atol=1e-4) for ours, plain in found)
