"""Words, n-grams and overlap."""

from hypothesis import given
from hypothesis import strategies as st

from align.text.similarity import index, jaccard, ngrams, normalise, overlap, shingles, tokens, words


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


def test_tokens_keep_operators_and_leave_punctuation() -> None:
    assert tokens("Return A + b[0], or a!=b.") == ["return", "a", "+", "b", "[", "0", "]", "or", "a", "!=", "b"]


def test_shingles_have_the_jaccard_index_of_the_ngrams() -> None:
    first, second = (
        ["one", "two", "three", "four", "five", "six", "seven"],
        ["zero", "two", "three", "four", "five", "six", "eight"],
    )
    one, two = set(ngrams(first, 3)), set(ngrams(second, 3))
    assert jaccard(shingles(first, 3), shingles(second, 3)) == len(one & two) / len(one | two)
    assert len(shingles(first, 3)) == 5
    assert len(shingles(["a", "b"] * 50, 2)) == 2


def test_shingles_of_short_empty_and_salted_texts() -> None:
    assert len(shingles(["a", "b"], 5)) == 1
    assert jaccard(shingles(["a", "b"], 5), shingles(["b", "a"], 5)) == 0
    assert jaccard(shingles([], 5), shingles([], 5)) == 0
    assert jaccard(shingles(["a"], 5, "go"), shingles(["a"], 5)) == 0
    assert len(shingles(["\ud800"], 5)) == 1


def test_shingles_are_the_same_on_every_machine() -> None:
    assert shingles(["sum", "a", "list"], 2).tolist() == [1248000047, 2860194234]
