"""Rows of evaluation tasks: shared benchmarks load whole, an example has one id everywhere, mistakes are one line."""

from collections import Counter
from pathlib import Path

import pytest

from align.errors import AlignError, ConfigError, DataError
from align.score.shots import with_shots
from align.score.task_files import data_files, shipped, task_sources, task_templates
from align.score.tasks import Task, task_rows

XCOPA = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
PAIRS = [("Rain fell.", "It was wet.", "It was dry."), ("Ice fell.", "It was cold.", "It was hot.")]
OWN = """
- {name: ask, task: t, language: en, input: '{{ a }} So?', target: '{{ answer_choices[label] }}',
   choices: '{{ b }} ||| {{ c }}'}
- {name: tell, task: t, language: sw, input: '{{ a }} Basi?', target: '{{ answer_choices[label] }}',
   choices: '{{ b }} ||| {{ c }}'}
"""


def shared_task(files: list[str], templates: Path, **more) -> Task:
    return Task("t", task_sources(files), task_templates(templates), **more)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for code in ("en", "sw"):
        lines = ["a,b,c,label,key", *(f"{a} {code},{b},{c},{n % 2},k{n}" for n, (a, b, c) in enumerate(PAIRS))]
        (tmp_path / f"test.{code}.csv").write_text("\n".join(lines))
    (tmp_path / "own.yaml").write_text(OWN)
    return tmp_path


def both(data: Path) -> list[str]:
    return data_files(str(data / "test.*.csv"), Path)


def test_a_pattern_is_sought_where_its_folder_is(data):
    def below_either(written: str) -> Path:
        bases = (data / "recipes", data.parent)
        return next((base / written for base in bases if (base / written).exists()), bases[0] / written)

    written = f"{data.name}/test.*.csv"
    assert data_files(written, below_either) == [f"{data.name}/test.{code}.csv" for code in ("en", "sw")]


def test_xcopa_loads_in_eleven_languages_with_the_same_examples_under_every_prompt(shared):
    files = data_files(str(shared / "data/multitask/xcopa/test.*.jsonl"), Path)
    found = task_rows(shared_task(files, shipped()["xcopa"], limit=40))
    assert tuple(sorted({row.language for row in found.choices})) == XCOPA
    seen = {(row.language, row.template): [] for row in found.choices}
    for row in found.choices:
        seen[row.language, row.template].append(row.id)
    assert {tuple(ids) for ids in seen.values()} == {tuple(map(str, range(40)))}
    assert {language for language, name in seen if name == "keneng"} == {"zh"}


def test_promptsources_prompts_for_a_part_of_the_examples_are_left_out_and_named(shared):
    folder = shared / "data/multitask"
    task = shared_task([str(folder / "xcopa/test.zh.jsonl")], folder / "promptsource/xcopa__zh.yaml", limit=60)
    found = task_rows(task)
    assert len({row.template for row in found.choices}) >= 6
    assert any("could happen next" in name for name in found.left_out["zh"])
    assert all("fits" in why for why in found.left_out["zh"].values())
    named = task_templates(folder / "promptsource/xcopa__zh.yaml", list(found.left_out["zh"]))
    with pytest.raises(DataError, match="every prompt must fit the same examples"):
        task_rows(Task("t", task.sources, named, named=True, limit=60))


def test_xwinograds_options_are_whole_sentences_that_differ_in_the_blank_alone(shared):
    path = shared / "data/multitask/xwinograd_dataset.tsv"
    templates = task_templates(shipped()["xwinograd"], ["complete"])
    found = task_rows(Task("t", task_sources([str(path)]), templates)).choices
    counts = Counter(row.language for row in found)
    assert counts == {"en": 2325, "fr": 83, "ja": 959, "pt": 263, "ru": 315, "zh": 16}
    row = found[0]
    assert row.options == [
        " The city councilmen refused the demonstrators a permit because The city councilmen feared violence.",
        " The city councilmen refused the demonstrators a permit because the demonstrators feared violence.",
    ]
    assert row.answer == 0


def test_mgsm_has_questions_with_a_number_as_reference_in_eleven_languages(shared):
    files = data_files(str(shared / "data/multitask/mgsm"), Path)
    found = task_rows(shared_task(files, shipped()["mgsm"], text=True))
    assert len({row.language for row in found.questions}) == 11
    english = [row for row in found.questions if row.language == "en" and row.template == "solve"]
    assert len(english) == 250
    assert english[0].references == ["18"]
    assert {row.template for row in found.questions if row.language == "te"} == {"answer_is_number", "solve"}


def test_stories_and_inference_in_their_form_have_prompts(tmp_path, shared):
    story = {f"input_sentence_{n}": f"S{n}." for n in range(1, 5)} | {
        "sentence_quiz1": "Good.",
        "sentence_quiz2": "Bad.",
    }
    header = ",".join([*story, "answer_right_ending"])
    (tmp_path / "stories.en.csv").write_text(f"{header}\n{','.join(story.values())},2\n{','.join(story.values())},1\n")
    (tmp_path / "nli.fr.csv").write_text("premise,hypothesis,label\nA.,B.,0\nC.,D.,2\n")
    for name, file, right in (("xstorycloze", "stories.en.csv", " Bad."), ("xnli", "nli.fr.csv", None)):
        rows = task_rows(shared_task([str(tmp_path / file)], shipped()[name])).choices
        assert {row.template for row in rows} == {one.name for one in task_templates(shipped()[name])}
        assert right is None or rows[0].target == right
    path = shared / "data/multitask/promptsource/story_cloze__2016.yaml"
    rows = task_rows(shared_task([str(tmp_path / "stories.en.csv")], path)).choices
    assert len({row.template for row in rows}) >= 4
    assert rows[0].target == " Bad."


def test_a_language_gets_english_prompts_and_its_own_unless_it_is_told_otherwise(data):
    templates = task_templates(data / "own.yaml")
    sources = task_sources(both(data))

    def prompts(which):
        rows = task_rows(Task("t", sources, templates, prompts=which)).choices
        return sorted({(row.language, row.template) for row in rows})

    assert prompts("both") == [("en", "ask"), ("sw", "ask"), ("sw", "tell")]
    assert prompts("english") == [("en", "ask"), ("sw", "ask")]
    assert len(prompts("any")) == 4
    with pytest.raises(DataError, match="no prompt for data in 'sw'"):
        task_rows(Task("t", sources, templates[:1], prompts="own"))


def test_an_id_column_is_the_examples_id_in_every_language(data):
    rows = task_rows(Task("t", task_sources(both(data)), task_templates(data / "own.yaml"), id="key")).choices
    assert {row.id for row in rows} == {"k0", "k1"}
    with pytest.raises(DataError, match="no column 'nokey'"):
        task_rows(Task("t", task_sources(both(data)), task_templates(data / "own.yaml"), id="nokey"))


def test_written_answers_get_solved_examples_of_another_split(data):
    (data / "val.en.csv").write_text((data / "test.en.csv").read_text().replace("fell", "came"))
    templates = task_templates(data / "own.yaml", ["ask"])
    rows, pool = (
        task_rows(Task("t", task_sources([str(data / name)]), templates, text=True)).questions
        for name in ("test.en.csv", "val.en.csv")
    )
    shot = with_shots(rows, pool, 1, 0)
    assert all("came" in row.prompt and row.prompt.endswith("fell. en So?") for row in shot)
    assert "It was wet.\n\n" in shot[0].prompt or "It was hot.\n\n" in shot[0].prompt
    with pytest.raises(DataError, match="examples come from test, which is evaluated"):
        with_shots(rows, rows, 1, 0)


def test_a_row_whose_target_is_no_option_is_dropped_and_counted(data):
    (data / "test.en.csv").write_text("a,b,c,label,key\nA.,x,y,0,1\nB.,x,,0,2\nC.,x,y,1,3\n")
    found = task_rows(Task("t", task_sources([str(data / "test.en.csv")]), task_templates(data / "own.yaml", ["ask"])))
    assert [row.id for row in found.choices] == ["0", "2"]
    assert found.dropped == {"empty_option": 1}


@pytest.mark.parametrize(
    ("mend", "said"),
    [
        (lambda data: (data / "test.sw.csv").write_text(""), r"test\.sw\.csv: no rows in it"),
        (lambda data: (data / "test.sw.csv").write_text("a,b,label\nx,y,0\n"), r"no column 'c' in .*test\.sw\.csv"),
        (
            lambda data: (data / "own.yaml").write_text(
                "- {name: ask, input: '{{ a }}', target: '{{ b }}'}\n- {name: b, input: '{{ a }}', target: '{{ c }}'}"
            ),
            "has no options to choose from: give `metrics:`",
        ),
        (
            lambda data: (data / "test.sw.csv").write_text("a,b,c,label\nx,,y,0\n"),
            "no prompt fits any row.*empty_target",
        ),
        (lambda data: (data / "test.xx9.csv").write_text("a\n1\n"), "does not tell the language"),
        (
            lambda data: (data / "test.sw.csv").write_text("a,b,c,label\n" + "x,y,z,0\n" * 30),
            "label has one value in every row: its answers are withheld",
        ),
    ],
)
def test_wrong_data_are_one_line(data, mend, said):
    mend(data)
    files = data_files(str(data / "*.csv"), Path)
    with pytest.raises(AlignError, match=said) as caught:
        task_rows(Task("t", task_sources(files), task_templates(data / "own.yaml")))
    assert "\n" not in str(caught.value)


def test_unknown_templates_and_splits_are_named(data):
    with pytest.raises(ConfigError, match=r"no template 'aks': did you mean 'ask'"):
        task_templates(data / "own.yaml", ["aks"])
    with pytest.raises(DataError, match="no file of 'train'"):
        task_sources(both(data), split="train")
    (data / "val.en.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"2 files are in 'en' \(test.en.csv, val.en.csv\)"):
        task_sources(data_files(str(data), Path))
    assert len(task_sources(data_files(str(data), Path), split="test")) == 2
    with pytest.raises(DataError, match="no file of rows there"):
        data_files(str(data / "nothing.*.jsonl"), Path)
