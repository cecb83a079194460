"""Near-duplicates: what is found, what is not, and that memory lies in files."""

import random
from pathlib import Path

import numpy as np
import pytest

from align.clean.near import Finder, Match, Sketcher, near_duplicates, plan_bands
from align.text.similarity import jaccard, ngrams, tokens

pytest.importorskip("rensa")
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def text(draw: random.Random, length: int = 60) -> str:
    return " ".join(draw.choices(WORDS, k=length))


def varied(draw: random.Random, of: str, changes: int) -> str:
    words = of.split()
    for place in draw.sample(range(len(words)), changes):
        words[place] = draw.choice(WORDS)
    return " ".join(words)


def similarity(first: str, second: str) -> float:
    one, two = set(ngrams(tokens(first), 5)), set(ngrams(tokens(second), 5))
    return len(one & two) / len(one | two)


def by_brute_force(texts: list[str], threshold: float) -> dict[int, int]:
    """Row → the first kept row that is like it."""
    kept: list[int] = []
    found = {}
    for row, one in enumerate(texts):
        of = next((other for other in kept if similarity(one, texts[other]) >= threshold), None)
        if of is None:
            kept.append(row)
        else:
            found[row] = of
    return found


def planted(count: int) -> list[str]:
    draw = random.Random(0)
    texts: list[str] = []
    for _ in range(count):
        texts.append(varied(draw, draw.choice(texts), draw.randint(0, 4)) if draw.random() < 0.4 and texts else "")
        texts[-1] = texts[-1] or text(draw)
    return texts


def test_what_brute_force_finds_is_found_with_its_true_similarity() -> None:
    texts = planted(300)
    expected = by_brute_force(texts, 0.7)
    found = {match.row: match for match in near_duplicates(texts)}
    assert len(expected) > 50
    assert len(found.keys() & expected.keys()) >= 0.95 * len(expected)
    for match in found.values():
        assert match.of < match.row
        assert match.similarity == pytest.approx(similarity(texts[match.row], texts[match.of]))
        assert match.similarity >= 0.7


def test_every_drop_is_like_a_row_that_stays() -> None:
    found = near_duplicates(planted(300))
    dropped = {match.row for match in found}
    assert not dropped & {match.of for match in found}


def test_small_changes_do_not_chain() -> None:
    draw = random.Random(1)
    chain = [text(draw, 80)]
    for step in range(12):
        words = chain[-1].split()
        words[6 * step] = "changed"
        chain.append(" ".join(words))
    found = near_duplicates(chain)
    assert found
    assert all(similarity(chain[match.row], chain[match.of]) >= 0.7 for match in found)
    kept = [one for row, one in enumerate(chain) if row not in {match.row for match in found}]
    assert len(kept) > 1


def test_short_texts_of_one_pattern_all_stay() -> None:
    texts = [f"Take the list of numbers, drop those below {n}, and return the sum of the rest." for n in range(50)]
    assert near_duplicates(texts) == []
    assert len(near_duplicates(texts, Sketcher(min_tokens=0, ngram=2))) == 49


def test_empty_and_hostile_texts_are_taken() -> None:
    texts = ["", "\ud800 \x00", "word " * 50_000, "word " * 60_000, "", "é" * 10_000]
    assert near_duplicates(texts) == [Match(3, 2, 1.0)]


def test_rows_that_do_not_count_are_not_found(tmp_path: Path) -> None:
    sketcher = Sketcher()
    same = text(random.Random(2))
    sets = [sketcher.shingles(tokens(same)) for _ in range(3)]
    with Finder(tmp_path, sketcher) as finder:
        # in two parts, as chunks come
        finder.add(sketcher.sketch(sets[:2]))
        finder.add(sketcher.sketch(sets[2:]))
        assert list(finder.find(np.array([False, True, True]))) == [Match(2, 1, 1.0)]
        assert list(finder.find(np.array([False, True, False]))) == []
    assert list(tmp_path.iterdir()) == []


def test_languages_share_nothing() -> None:
    sketcher, found = Sketcher(), tokens(text(random.Random(3)))
    assert jaccard(sketcher.shingles(found, "python"), sketcher.shingles(found, "go")) == 0
    assert jaccard(sketcher.shingles(found, "go"), sketcher.shingles(found, "go")) == 1


@pytest.mark.parametrize("permutations", [64, 128, 256])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_bands_find_their_share_at_the_threshold(permutations: int, threshold: float) -> None:
    plan = plan_bands(permutations, threshold)
    assert plan.number * plan.rows <= permutations
    assert plan.recall(threshold) >= 0.95
    longer = plan._replace(rows=plan.rows + 1, number=permutations // (plan.rows + 1))
    assert longer.recall(threshold) < 0.95
