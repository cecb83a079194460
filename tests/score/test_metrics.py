import random
import time
from decimal import Decimal
from functools import cache

import pytest
from pydantic import ValidationError

from align.errors import ConfigError, DataError
from align.score.generation_metrics import (
    Generation,
    generation_metrics,
    is_exact,
    is_number,
    last_number,
    lcs_length,
    rouge_l,
)
from align.score.languages import SCRIPTS, in_script, language_code


def generation(number, output, *references, language="en", task="t"):
    return Generation(id=str(number), task=task, language=language, output=output, references=list(references))


def measure(rows, *names):
    return generation_metrics(rows, names)[rows[0].task][rows[0].language]


@pytest.mark.parametrize(
    ("text", "language", "number"),
    [
        ("Step 1: 16 - 3 = 13. The answer is 18.", "en", "18"),
        ("It costs $70,000.", "en", "70000"),
        ("1,234,567.50 dollars", "en", "1234567.5"),
        ("about 3.5%", "en", "3.5"),
        ("Die Antwort ist 70.000.", "de", "70000"),
        ("Die Antwort ist 70,000.", "de", "70"),
        ("1.234,5 Euro", "de", "1234.5"),
        ("1.234", "en", "1.234"),
        ("答案是18。", "zh", "18"),
        ("答案是-5", "zh", "-5"),
        ("答えは１８です", "ja", "18"),
        ("উত্তর হল ১৮।", "bn", "18"),
        ("คำตอบคือ ๒๐", "th", "20"),
        ("Ответ: 95\u00a0200", "ru", "95200"),
        ("5-3", "en", "3"),
        ("x = −7", "en", "-7"),
        ("1,2,3", "en", "3"),
        ("12'000 Franken", "de", "12000"),
        ("5 120", "en", "120"),
        ("3.0", "en", "3"),
    ],
)
def test_the_last_number_is_read_as_its_language_writes_it(text, language, number):
    assert last_number(text, language) == Decimal(number)


@pytest.mark.parametrize("text", ["", "no number", "\ud800", "½ Ⅻ 二十"])
def test_a_text_without_digits_has_no_number(text):
    assert last_number(text) is None
    assert not is_number(text, ["1"])


def test_numbers_are_compared_by_value():
    assert is_number("so 1,000.00", ["1000"])
    assert is_number("It is 2,125", ["7", "2,125"])
    assert not is_number("1000 in 3 days", ["1000"])
    assert is_number("9" * 100_000, ["9" * 100_000])


def test_exact_match_forgives_layout_case_and_unicode_form():
    assert is_exact(" The  Cat.\n", ["the cat"])
    assert is_exact("ＡＢ", ["ab"])
    assert not is_exact("the cat sat", ["the cat"])
    assert is_exact("!", ["!"])
    assert not is_exact("", ["!"])


def slow_lcs(one, other):
    @cache
    def longest(i, j):
        if i == len(one) or j == len(other):
            return 0
        if one[i] == other[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    return longest(0, 0)


def test_the_common_subsequence_is_that_of_the_recursion():
    draw = random.Random(0)
    for _ in range(300):
        one, other = ("".join(draw.choices("abcd", k=draw.randrange(20))) for _ in range(2))
        assert lcs_length(one, other) == slow_lcs(one, other)


def test_rouge_l_is_that_of_rouge_score():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    draw, words = random.Random(0), ["the", "cat", "sat", "on", "a", "mat", "today"]
    for _ in range(50):
        one, other = (" ".join(draw.choices(words, k=9)) for _ in range(2))
        assert rouge_l(one, other) == pytest.approx(scorer.score(other, one)["rougeL"].fmeasure)


def test_rouge_l_sees_every_script():
    assert rouge_l("кошка сидит тут", "кошка сидит там", "ru") == pytest.approx(2 / 3)
    assert rouge_l("我爱北京", "我爱上海", "zh") == 0.5
    assert rouge_l("", "a") == rouge_l("a", "") == rouge_l("...", "...") == 0


def test_bleu_and_chrf_are_sacrebleus_whole_set_scores():
    sacrebleu = pytest.importorskip("sacrebleu")
    outputs = ["the cat sat on the mat", "a dog ran home at night"]
    references = [["the cat sat on a mat", "a cat sat on the mat"], ["the dog ran home by night"]]
    rows = [generation(n, *pair) for n, pair in enumerate(zip(outputs, [r[0] for r in references], strict=True))]
    streams = [[r[0] for r in references]]
    found = measure(rows, "bleu", "chrf")
    assert found["bleu"]["value"] == pytest.approx(sacrebleu.corpus_bleu(outputs, streams).score, abs=1e-3)
    assert found["chrf"]["value"] == pytest.approx(sacrebleu.corpus_chrf(outputs, streams).score, abs=1e-3)
    assert "tok:13a" in found["bleu"]["signature"]
    assert found["bleu"]["low"] <= found["bleu"]["high"]
    more = [generation(n, output, *refs) for n, (output, refs) in enumerate(zip(outputs, references, strict=True))]
    expected = sacrebleu.corpus_bleu(outputs, [[r[0] for r in references], [references[0][1], None]]).score
    assert measure(more, "bleu")["bleu"]["value"] == pytest.approx(expected, abs=1e-3)
    assert expected > found["bleu"]["value"]


def test_bleu_counts_letters_where_words_have_no_spaces():
    pytest.importorskip("sacrebleu")
    for language, text in {"zh": "他打开了水龙头。", "ja": "蛇口を開けました。", "th": "ผู้ชายเปิดก๊อก"}.items():
        found = measure([generation(0, text, text, language=language)], "bleu")["bleu"]
        assert found["value"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("text", "language", "verdict"),
    [
        ("他打开水龙头 tap", "zh", True),
        ("He opened it", "zh", False),
        ("蛇口をひらきましたので", "zh", False),
        ("蛇口を開けた", "jp", True),
        ("Он открыл кран (tap)", "ru", True),
        ("Ouvrit", "sw", True),
        ("แปดสิบ", "th", True),
        ("ＡＢＣ", "en", True),
        ("18", "zh", None),
        ("", "zh", None),
        ("\ud800\x00", "en", None),
        ("打开", "zh-Hant", True),
        ("Habari", "sw_KE", True),
    ],
)
def test_the_script_of_a_text_is_its_languages_or_not(text, language, verdict):
    assert in_script(text, language) is verdict


def test_every_script_is_one_that_unicode_names():
    import sys
    import unicodedata

    names = {unicodedata.name(chr(code), "").split(" ")[0].split("-")[0] for code in range(sys.maxunicode)}
    assert {script for scripts in SCRIPTS.values() for script in scripts} <= names


def test_an_unknown_language_is_named():
    with pytest.raises(ConfigError, match="swa: no language whose script is known"):
        language_code("swa")


def test_the_share_in_another_script_counts_only_texts_with_letters():
    rows = [generation(n, text, "好", language="zh") for n, text in enumerate(["好的", "good", "12", "fine"])]
    found = measure(rows, "script", "length")
    assert found["script"]["wrong"] == 66.667
    assert found["script"]["judged"] == 3
    assert found["length"] == {"mean": 3.0, "median": 3.0, "reference": 1.0}
    none = measure([generation(0, "12", "好", language="zh")], "script")
    assert none["script"] == {"wrong": None, "low": None, "high": None, "judged": 0}


def test_tasks_and_languages_stand_apart_with_intervals():
    rows = [generation(n, str(n), str(n - n % 2), language=lang) for n in range(20) for lang in ("en", "de")]
    rows += [generation(0, "", "a", task="u")]
    found = generation_metrics(rows, ["number", "exact"])
    assert list(found) == ["t", "u"]
    assert list(found["t"]) == ["de", "en"]
    assert found["t"]["en"]["number"]["value"] == 50
    assert found["t"]["en"]["number"]["low"] < 50 < found["t"]["en"]["number"]["high"]
    assert found["u"]["en"] == {"rows": 1, "empty": 1, "number": ZERO, "exact": ZERO}


ZERO = {"value": 0.0, "low": 0.0, "high": 0.0}


def test_hostile_outputs_are_measured_in_bounded_time():
    pytest.importorskip("sacrebleu")
    hostile = ["\ud800" * 10, "\x00", "1," * 50_000, "a " * 50_000, "9" * 200_000, " \n" * 1000]
    rows = [generation(n, text, "the cat is 7") for n, text in enumerate(hostile)]
    began = time.process_time()
    found = measure(rows, "exact", "number", "rouge_l", "length", "script")
    assert time.process_time() - began < 5
    assert found["exact"]["value"] == 0
    assert measure(rows[:2], "bleu", "chrf")["bleu"]["value"] == 0


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match="rouge: no metric"):
        generation_metrics([generation(0, "a", "b")], ["rouge"])
    with pytest.raises(DataError, match="no rows"):
        generation_metrics([], ["exact"])
    with pytest.raises(ValidationError):
        generation(0, "a")


def test_mgsms_answers_are_read_in_all_its_languages(shared):
    folder = shared / "data" / "multitask" / "mgsm"
    if not folder.is_dir():
        pytest.skip("ALIGN_TEST_DATA: no multitask data")
    rows = []
    for path in sorted(folder.glob("mgsm_*.tsv")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            question, answer = line.split("\t")
            language = path.stem[-2:]
            rows.append(generation(number, f"{question} = {answer}.", answer, language=language, task="right"))
            rows.append(generation(number, question, answer, language=language, task="wrong"))
    found = generation_metrics(rows, ["number", "script"])
    assert len(found["right"]) == 11
    for language, table in found["right"].items():
        # an answer such as 2,125 is read otherwise where a comma begins decimals
        assert table["number"]["value"] >= 98, language
        assert table["script"]["wrong"] == 0, language
        assert found["wrong"][language]["number"]["value"] < 20, language
