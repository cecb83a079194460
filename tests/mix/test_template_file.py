"""Files of templates: promptsource's form, our short one, and what is wrong in either, with its line."""

import json

import pytest

from align.errors import ConfigError
from align.mix import RowError, Rows, raw, read_templates

PROMPTSOURCE = """\
dataset: demo
subset: zh
templates:
  one:  !Template
    answer_choices: 'yes ||| no'
    id: one
    jinja: '{{ text }} ||| {{ answer_choices[label] }}'
    metadata: !TemplateMetadata
      choices_in_prompt: true
      languages:
      - en
      metrics:
      - Accuracy
      original_task: false
    name: ask
    reference: ''
"""
SHORT = """\
- name: plural
  task: words
  language: sw
  input: 'Wingi wa "{{ word }}"?'
  target: '{{ plural }}'
  choices: ['{{ plural }}', '{{ word }}']
"""


def written(tmp_path, text, name="t.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_promptsources_form_is_read_as_it_is(tmp_path):
    [template] = read_templates(written(tmp_path, PROMPTSOURCE))
    assert (template.name, template.task, template.language) == ("ask", "demo/zh", "en")
    assert (template.metrics, template.original_task, template.choices_in_prompt) == (("Accuracy",), False, True)
    assert template.where.endswith("t.yaml:4")
    assert template.labels == {"label"}
    assert template.render({"text": "a", "label": 1}).targets == "no"


def test_the_short_form_renders_with_its_choices(tmp_path):
    [template] = read_templates(written(tmp_path, SHORT))
    made = template.render({"word": "mtu", "plural": "watu"})
    assert (made.inputs, made.targets, made.choices) == ('Wingi wa "mtu"?', "watu", ["watu", "mtu"])
    assert (template.task, template.language) == ("words", "sw")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "list of templates"),
        ("- 3", "list of templates"),
        ("a: [", "t.yaml:1: not YAML"),
        (SHORT.replace("target:", "targets:"), "t.yaml:5: unknown key 'targets': did you mean 'target'"),
        (SHORT.replace("language: sw", "language: xx"), "t.yaml:1: unknown language 'xx'"),
        (SHORT.replace("'{{ plural }}'\n", "'{{ plural }} ||| b'\n"), "t.yaml:5: target: `|||`"),
        (SHORT + SHORT, "stands here twice"),
        (PROMPTSOURCE.replace("jinja:", "ninja:"), "t.yaml:4: expected a template"),
        (PROMPTSOURCE.replace("}} ||| {{ a", "}} ||| x ||| {{ a"), "t.yaml:4: template 'ask': 2 `|||`"),
        ("templates: {}\n", "no template"),
        ("templates: [1]\n", "must be a mapping"),
        ("- !!python/object/apply:os.system ['touch /tmp/x']\n", "list of templates"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(tmp_path, text, says):
    with pytest.raises(ConfigError) as caught:
        read_templates(written(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_utf8_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_templates(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes("- name: é\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml:1: not UTF-8"):
        read_templates(path)


VALUES = {
    "GEM__wiki_lingua__en": {"source": "A long text.", "target": "Short."},
    "GEM__wiki_lingua__zh": {"source": "长文。", "target": "短。"},
    "ag_news": {"text": "Stocks rose.", "label": 2},
    "openai_humaneval": {
        "prompt": "def add(a, b):\n",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4\n",
        "entry_point": "add",
    },
    "paws-x__en": {"sentence1": "A b.", "sentence2": "B a.", "label": 1},
    "story_cloze__2016": {
        **{f"input_sentence_{n}": f"Sentence {n}." for n in range(1, 5)},
        "sentence_quiz1": "Good.",
        "sentence_quiz2": "Bad.",
        "answer_right_ending": 2,
    },
    "super_glue__copa": {
        "premise": "It rained.",
        "choice1": "Wet.",
        "choice2": "Dry.",
        "question": "effect",
        "label": 0,
    },
    "trec": {"text": "Where is Rome?", "coarse_label": 4, "fine_label": 32},
    "xnli__en": {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0},
}
"""File → a row of its data set's columns, where the data itself is not at hand."""
FINE = {0: 0, 1: 2, 2: 24, 3: 28, 4: 32, 5: 37}
"""TREC's coarse label → the first fine one of it."""


@pytest.mark.parametrize("name", sorted(VALUES))
def test_promptsources_files_render_on_rows_of_their_columns(shared, name):
    rows = [VALUES[name]]
    if name == "trec":
        rows = [{**VALUES[name], "coarse_label": coarse, "fine_label": fine} for coarse, fine in FINE.items()]
    elif name == "super_glue__copa":
        rows = [{**VALUES[name], "question": question} for question in ("cause", "effect")]
    for template in read_templates(shared / f"data/multitask/promptsource/{name}.yaml"):
        template.check(rows[0], name)
        made = [one for row in rows if (one := rendered(template, row))]
        assert made, template.name
        assert all(one.choices is None or one.targets in one.choices for one in made if template.labels)


def rendered(template, row):
    """What the template makes of the row; None where it is for other rows."""
    try:
        return template.render(row, seed=1)
    except RowError as error:
        if error.reason != "empty_input":
            raise
        return None


@pytest.mark.parametrize(
    ("templates", "data", "rows"),
    [
        ("xcopa__zh", "xcopa/val.zh.jsonl", 100),
        ("xcopa__zh", "xcopa/test.sw.jsonl", 500),
        ("xcopa__id", "xcopa/test.id.jsonl", 500),
        ("xquad__xquad.en", "xquad/xquad.en.json", 1190),
        ("xquad__xquad.en", "xquad/xquad.zh.json", 1190),
    ],
)
def test_promptsources_files_render_on_their_data(shared, templates, data, rows):
    folder = shared / "data/multitask"
    sizes = []
    for template in read_templates(folder / f"promptsource/{templates}.yaml"):
        made = Rows(raw(folder / data), template)
        made.check()
        found = list(made)
        # a template of one question type leaves the other out; nothing else is dropped
        assert set(made.dropped) <= {"empty_input"}
        assert len(found) == made.kept == rows - made.dropped["empty_input"]
        sizes.append(made.kept)
    assert max(sizes) == rows
    assert min(sizes) > rows / 3


def test_the_answer_of_xcopa_is_the_labelled_choice(shared):
    folder = shared / "data/multitask"
    source = raw(folder / "xcopa/test.it.jsonl")
    template = read_templates(folder / "promptsource/xcopa__zh.yaml")[0]
    data = [json.loads(line) for line in (folder / "xcopa/test.it.jsonl").read_text().splitlines()]
    expected = [row[f"choice{row['label'] + 1}"].strip() for row in data]
    assert [row.targets for row in Rows(source, template)] == expected
