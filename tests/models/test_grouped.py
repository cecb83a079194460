import pytest
import torch

from align.models import grouped
from align.models.grouped import grouped_attention

LAYOUT = ((5, (3, 4)), (1, (2, 0, 3)), (7, (6,)), (2, (0,)))


def visible(layout, window):
    """(T, T) by the definition: the same response or the prompt of the same group, no later position, in the window."""
    tokens = []
    for group, (prompt, responses) in enumerate(layout):
        tokens += [(group, None, position) for position in range(prompt)]
        for number, length in enumerate(responses):
            tokens += [(group, number, prompt + position) for position in range(length)]
    return torch.tensor(
        [
            [a[0] == b[0] and b[1] in (None, a[1]) and 0 <= a[2] - b[2] < (window or len(tokens)) for b in tokens]
            for a in tokens
        ]
    )


def attention(query, key, value, layout, *, scaling, window):
    """The oracle: one softmax over the whole row, with a mask."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(repeats, dim=1) for states in (key, value))
    scores = (query @ key.transpose(2, 3) * scaling).masked_fill(~visible(layout, window), -torch.inf)
    return scores.softmax(dim=-1) @ value


@pytest.mark.parametrize("window", [None, 1, 2, 3, 6, 100])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("shares", [True, False])
def test_every_token_sees_its_own_response_and_prompt_and_nothing_else(window, key_heads, shares, monkeypatch):
    monkeypatch.setattr(grouped, "_shares_under_mask", lambda device: shares)
    torch.manual_seed(0)
    total = sum(prompt + sum(responses) for prompt, responses in LAYOUT)
    states = [torch.randn(1, heads, total, 8, dtype=torch.float64) for heads in (4, key_heads, key_heads)]
    weights, outcomes = torch.randn(1, 4, total, 8, dtype=torch.float64), []
    for function in (attention, grouped_attention):
        given = [tensor.clone().requires_grad_() for tensor in states]
        output = function(*given, LAYOUT, scaling=0.3, window=window)
        outcomes.append([output, *torch.autograd.grad((output * weights).sum(), given)])
    for expected, found in zip(*outcomes, strict=True):
        assert torch.allclose(found, expected, atol=1e-12)
