"""Words, n-grams and overlap."""

from hypothesis import given
from hypothesis import strategies as st

from align.text.similarity import index, ngrams, normalise, overlap, words


def test_case_layout_punctuation_and_unicode_forms_do_not_matter() -> None:
    assert normalise("Keep  the\nﬁrst, item!") == normalise("keep the first item")


def test_a_text_without_words_is_not_equal_to_every_other_such_text() -> None:
    assert normalise("++") != normalise("--")


@given(st.lists(st.sampled_from("abc")), st.integers(1, 6))
def test_n_grams_cover_the_tokens_in_order(tokens: list[str], n: int) -> None:
    grams = list(ngrams(tokens, n))
    assert len(grams) == (0 if not tokens else max(1, len(tokens) - n + 1))
    assert [gram[0] for gram in grams] == tokens[: len(grams)]


@given(st.text(), st.integers(1, 20))
def test_a_text_with_words_overlaps_with_itself(text: str, n: int) -> None:
    assert (overlap(text, index([("self", text)], n), n) is not None) == bool(words(text))


def test_overlap_names_the_text_and_the_words() -> None:
    known = index([("one", "a b c d"), ("two", "e f g h")], 3)
    assert overlap("x e f g y", known, 3) == ("two", "e f g")
    assert overlap("e f x g", known, 3) is None


def test_a_text_shorter_than_n_is_compared_whole() -> None:
    known = index([("long", "return the sum of all numbers"), ("short", "return the sum")], 5)
    assert overlap("Return the sum.", known, 5) == ("short", "return the sum")
    assert overlap("the sum", known, 5) is None
