"""Weights: by size, capped, tempered, given, or xP3's; what names no set is refused."""

import pytest

from align.errors import ConfigError, DataError
from align.mix.weights import read_weights, shares

FILE = "multitask/xp3capmixnewcodelong_train.txt"
SIZES = {"en": 800, "es": 150, "sw": 50}


def test_by_size_a_share_is_the_sets_part():
    assert shares(SIZES) == {"en": 0.8, "es": 0.15, "sw": 0.05}


def test_a_set_counts_as_max_size_at_most():
    assert shares(SIZES, max_size=50) == pytest.approx({"en": 1 / 3, "es": 1 / 3, "sw": 1 / 3})
    assert shares(SIZES, max_size=200) == pytest.approx({"en": 0.5, "es": 0.375, "sw": 0.125})


def test_temperature_evens_sets_out():
    assert shares({"en": 400, "sw": 100}, temperature=2)["en"] == pytest.approx(2 / 3)
    assert shares(SIZES, temperature=1e6)["sw"] == pytest.approx(1 / 3, abs=1e-5)


def test_given_weights_are_normalised_and_zero_leaves_a_set_out():
    assert shares(SIZES, {"en": 3, "es": 1, "sw": 0}) == {"en": 0.75, "es": 0.25, "sw": 0.0}


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"en": 1, "es": 1, "sw": 1, "swa": 1}, r"weights: no set 'swa' in the sources: did you mean 'sw'\?"),
        ({"en": 1}, r"weights: set 'es' \(and 1 more\) has no weight: add it, or write 0 to leave it out"),
        ({"en": 0, "es": 0, "sw": 0}, "every weight is 0"),
        ({"en": 1, "es": -1, "sw": 1}, "es: must be a number from 0 on, found -1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, says):
    with pytest.raises(DataError, match=says):
        shares(SIZES, weights)


def test_a_weight_of_a_set_without_rows_is_refused():
    with pytest.raises(DataError, match="set 'sw' has no row left to draw"):
        shares({"en": 3, "sw": 0}, {"en": 1, "sw": 1})
    assert shares({"en": 3, "sw": 0}) == {"en": 1.0, "sw": 0.0}


def test_xp3s_own_file_is_read(shared):
    if not (shared / "data" / FILE).is_file():
        pytest.skip("ALIGN_TEST_DATA: no xP3 weights")
    found = read_weights(shared / "data" / FILE)
    assert len(found.of) == 46
    assert sum(found.of.values()) == pytest.approx(1.0137, abs=1e-4)
    assert found.trains == 0.95
    normalised = shares(dict.fromkeys(found.of, 10), found.of)
    assert sum(normalised.values()) == pytest.approx(1)
    assert normalised["en"] == pytest.approx(0.3924620202 / 1.0136844, rel=1e-6)
    assert {"code", "fon", "nso", "tum", "tw"} <= found.of.keys()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no weight in it"),
        ("en: 2\nes: 1\n", "expected Megatron's form"),
        ('"train: 0.5 0:0.95 /a/xp3_en, x 0:0.95 /a/xp3_es"', "es: expected a number from 0 on, found 'x'"),
        ('"train: 0.5 0:0.95 /a/xp3_en, 1 0:0.95 /b/xp3_en"', "'en' has two weights"),
        ('"train: 0.5 0:0.95 /a/xp3_en, 1 0:0.9 /b/xp3_es"', "ranges that end at 0.9, 0.95"),
        ('"train: 0.5 0.95:1 /a/xp3_en"', "range 0.95:1: expected 0:SHARE"),
    ],
)
def test_a_file_of_weights_that_cannot_be_read_is_one_line(tmp_path, text, says):
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_weights(tmp_path / "w.txt")
    assert "\n" not in str(caught.value)


def test_a_file_of_weights_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_weights(tmp_path / "none.txt")
