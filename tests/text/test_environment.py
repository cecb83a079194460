import os

import pytest

from align.text.environment import environment


@pytest.mark.parametrize("before", [None, "1"])
def test_a_variable_is_as_it_was_afterwards_even_after_an_error(monkeypatch, before):
    monkeypatch.delenv("ALIGN_X", raising=False)
    if before is not None:
        monkeypatch.setenv("ALIGN_X", before)
    with pytest.raises(KeyError, match="was 2"), environment("ALIGN_X", "2"):
        raise KeyError("was " + os.environ["ALIGN_X"])
    assert os.environ.get("ALIGN_X") == before
