"""Fixtures that several test files use."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]


@pytest.fixture
def shared() -> Path:
    """The evaluation data that is not shipped: `$ALIGN_TEST_DATA`, by default the folder beside the checkout."""
    folder = Path(os.environ.get("ALIGN_TEST_DATA", REPO.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("ALIGN_TEST_DATA: no such folder")
    return folder
