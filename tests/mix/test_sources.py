"""Where rows come from: languages, splits, xP3's folders, and which benchmarks they hold."""

import json

import pytest

from align.errors import ConfigError, DataError
from align.mix import Source, Template, benchmarks, raw, training, variant, xp3
from align.mix.language import language

ROW = json.dumps({"inputs": "a", "targets": "b"}) + "\n"
FILES = (
    "en/xp3_ag_news_train_classify.jsonl",
    "en/merged_en.jsonl",
    "zh/xp3_xquad_zh_validation_ask.jsonl",
    "zh/own.jsonl",
)


def folder(tmp_path, *names):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(ROW)
    return tmp_path


def test_xp3_leaves_out_merged_files_and_evaluating_splits(tmp_path):
    kept, left = xp3(folder(tmp_path, *FILES))
    assert [(s.language, s.task, s.template, s.split) for s in kept] == [
        ("en", "ag_news", "classify", "train"),
        ("zh", "own", "", "train"),
    ]
    assert [(s.task, s.split) for s in left] == [("xquad_zh", "validation")]


def test_xp3_reads_merged_files_or_the_others_never_both(tmp_path):
    kept, _ = xp3(folder(tmp_path, *FILES), merged=True, languages=["en"])
    assert [source.task for source in kept] == ["merged_en"]
    with pytest.raises(DataError, match="no merged_"):
        xp3(tmp_path, merged=True)


def test_an_evaluating_split_trains_only_by_name(tmp_path):
    kept, left = xp3(folder(tmp_path, *FILES), splits=["train", "validation"])
    assert len(kept) == 3
    assert not left
    with pytest.raises(DataError, match="nothing to train on: xcopa test"):
        training([Source("test.zh.jsonl", "zh", "test", "xcopa")])


@pytest.mark.parametrize(
    ("names", "call", "says"),
    [
        (("klingon/a.jsonl",), {}, "unknown language 'klingon'"),
        (("en/a.jsonl",), {"languages": ["zh"]}, "no folder for the language 'zh'"),
        (("en/a.jsonl",), {"languages": ["xx"]}, "unknown language 'xx'"),
        (("en/merged_en.jsonl",), {}, "only merged_"),
        (("en/a.txt",), {}, "no files of rows"),
        ((), {}, "no rows in it"),
    ],
)
def test_a_wrong_folder_is_one_line(tmp_path, names, call, says):
    with pytest.raises(DataError) as caught:
        xp3(folder(tmp_path, *names), **call)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_refused_before_training(tmp_path):
    folder(tmp_path, "en/a.jsonl")
    (tmp_path / "en/b.jsonl").write_text("")
    with pytest.raises(DataError, match=r"b\.jsonl: empty"):
        xp3(tmp_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("xcopa/test.zh.jsonl", ("zh", "test", "xcopa")),
        ("xcopa/val.sw.jsonl", ("sw", "validation", "xcopa")),
        ("mgsm/mgsm_te.tsv", ("te", "test", "mgsm")),
        ("xquad/xquad.en.json", ("en", "validation", "xquad")),
        ("xwinograd_dataset.tsv", ("", "test", "xwinograd")),
        ("plural.fr.jsonl", ("fr", "train", "plural")),
        ("plural.train.fr.csv", ("fr", "train", "plural")),
        ("plural.dev.fr.csv", ("fr", "validation", "plural")),
    ],
)
def test_a_name_tells_language_split_and_data_set(path, expected):
    source = raw(path)
    assert (source.language, source.split, source.task) == expected


def test_what_a_name_does_not_tell_is_asked_for():
    with pytest.raises(DataError, match="does not tell the language"):
        raw("rows.jsonl")
    assert raw("rows.jsonl", language_code="zh-Hant", split="dev").split == "validation"
    with pytest.raises(DataError, match="unknown language 'engl'"):
        raw("rows.jsonl", language_code="engl")


def test_a_hub_address_tells_its_split():
    source = raw("hf://datasets/owner/name@abc/validation", language_code="en")
    assert (source.split, source.task) == ("validation", "owner/name")
    assert raw("hf://datasets/owner/xquad/test", subset="xquad.zh").language == "zh"
    with pytest.raises(DataError, match="does not tell the language"):
        raw("hf://datasets/owner/name/test")


def test_short_words_of_a_name_are_no_languages():
    for name in ("no_label.jsonl", "what_is_it_about.jsonl", "test.jsonl"):
        with pytest.raises(DataError, match="does not tell the language"):
            raw(name)


def test_regions_and_other_peoples_codes_are_the_languages_own():
    assert [language(text, "") for text in ("zh-Hans-CN", "pt_BR", "jp", "EN", "code")] == [
        "zh",
        "pt",
        "ja",
        "en",
        "code",
    ]


def test_a_column_that_is_not_there_is_one_line(tmp_path):
    path = folder(tmp_path, "en/a.jsonl") / "en/a.jsonl"
    template = Template("t", "{{ premise }} ||| b", "t.yaml:1")
    with pytest.raises(ConfigError, match=r"t\.yaml:1: template 't': no column 'premise' in .*a\.jsonl"):
        raw(path, language_code="en").check([template])
    with pytest.raises(DataError, match=r"a\.jsonl:1: no column 'body' \(columns: inputs, targets\)"):
        list(raw(path, language_code="en", columns={"text": "body"}).rows())
    (tmp_path / "en/b.jsonl").write_text('{"inputs": "a", "target": "b"}\n')
    with pytest.raises(DataError, match="no column 'targets'"):
        raw(tmp_path / "en/b.jsonl", language_code="en").check([])


def test_columns_are_renamed(tmp_path):
    path = folder(tmp_path, "en/a.jsonl") / "en/a.jsonl"
    [(_, row)] = raw(path, language_code="en", columns={"question": "inputs"}).rows()
    assert row == {"targets": "b", "question": "a"}


def made(*names):
    return [Source(name, "en", "train", task, template=template) for name, task, template in names]


def test_xp3_xp3mt_and_xp3all_are_told_apart():
    plain = ("a", "ag_news", "classify_right")
    assert variant(made(plain)) == "xP3"
    assert variant(made(plain, ("b", "paws-x_zh", "Meaning_zhmt"))) == "xP3mt"
    assert variant(made(plain, ("b", "xnli_zh", "x"), ("c", "paws-x_zh", "Meaning_zhmt"))) == "xP3all"


def test_benchmarks_are_known_by_the_names_of_data_sets():
    tasks = [
        "Muennighoff_mbpp_sanitized",
        "codeparrot_apps_all",
        "ag_news",
        "Muennighoff_xstory_cloze_sw",
        "story_cloze",
    ]
    assert benchmarks(tasks) == ["MBPP", "APPS", "XStoryCloze"]
    assert benchmarks(["apple_news", "story_cloze_2016"]) == []
