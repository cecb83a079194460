"""One template: what it makes of a row, what it refuses before any row, and that it ends."""

import time

import pytest

from align.errors import ConfigError
from align.mix.template import RowError, Template

ROW = {"x": "a", "n": 3}


def template(source, choices=None, **more):
    return Template("t", source, "f.yaml:1", choices=choices, **more)


def test_input_and_target_are_stripped_and_divided():
    made = template("Say {{ x }} : ||| \n{{ n }}\n").render(ROW)
    assert (made.inputs, made.targets, made.choices) == ("Say a :", "3", None)


def test_the_indent_of_a_program_stays_where_asked():
    assert template("{{ x }}|||    return 1", strip=False).render(ROW).targets == "    return 1"


def test_a_separator_in_the_data_stays_text():
    row = {"x": "a ||| b", "y": "c|||d"}
    made = template("{{ x }} ||| {{ answer_choices[1] }}", "{{ x }} ||| {{ y }}").render(row)
    assert made.inputs == "a ||| b"
    assert made.targets == "c|||d"
    assert made.choices == ["a ||| b", "c|||d"]


def test_nothing_is_printed_for_none():
    with pytest.raises(RowError) as caught:
        template("{{ x }} ||| {{ y }}").render({"x": "a", "y": None})
    assert caught.value.reason == "empty_target"


@pytest.mark.parametrize(
    ("source", "choices", "row", "reason"),
    [
        ("{{ x }} ||| {{ n }}", None, {"x": " ", "n": 1}, "empty_input"),
        ("{{ x }} ||| {% if n == 1 %}one{% endif %}", None, ROW, "empty_target"),
        ("{% if n == 1 %}{{ x }} ||| one{% endif %}", None, ROW, "empty_input"),
        ("{{ x }} ||| b{% if n == 3 %} ||| c{% endif %}", None, ROW, "several_targets"),
        ("{{ x }} ||| {{ answer_choices[n] }}", "yes ||| no", {"x": "a", "n": -1}, "hidden_label"),
        ("{{ x }} ||| {{ answer_choices[n - 1] }}", "yes ||| no", {"x": "a", "n": ""}, "hidden_label"),
        ("{{ x }} ||| {{ n }}", None, {"x": "a"}, "missing_field"),
        ("{{ x - 1 }} ||| {{ n }}", None, ROW, "failed"),
    ],
)
def test_a_row_that_gives_no_example_says_why(source, choices, row, reason):
    with pytest.raises(RowError) as caught:
        template(source, choices).render(row)
    assert caught.value.reason == reason


def test_choice_draws_by_the_seed_alone():
    made = template("{{ x }} ||| {{ range(1000) | choice }}")
    drawn = [made.render(ROW, seed).targets for seed in range(20)]
    assert drawn == [made.render(ROW, seed).targets for seed in range(20)]
    assert len(set(drawn)) > 10


def test_most_frequent_gives_every_value_that_is_as_frequent():
    assert template("{{ x }} ||| {{ [1, 2, 2, 3, 3] | most_frequent | join(',') }}").render(ROW).targets == "2,3"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ x }} b", "no `|||`"),
        ("{{ x }} ||| b ||| c", "2 `|||`"),
        ("{% if x %}a ||| b ||| c{% else %}d ||| e ||| f{% endif %}", "2 `|||`"),
        ("{{ x ||| b", "inside of"),
        ("{{ x }} ||| {{ x | nofilter }}", "nofilter"),
        ("{{ x }} ||| {% include '/etc/passwd' %}", "no file system"),
        ("{% import 'os' as os %}{{ x }} ||| b", "no file system"),
        ("{{ open('/etc/passwd').read() }} ||| {{ x }}", "open()"),
        ("{{ x }} ||| {{ x.__class__.__mro__ }}", "__mro__"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_before_any_row(source, says):
    with pytest.raises(ConfigError) as caught:
        template(source)
    assert says in str(caught.value)
    assert str(caught.value).startswith("f.yaml:1: template 't'")
    assert "\n" not in str(caught.value)


def test_branches_may_each_have_a_separator():
    made = template("{% if n == 1 %}a ||| b{% else %}c ||| d{% endif %}")
    assert made.render(ROW).targets == "d"


GROWS = "{% set ns = namespace(a=START) %}{% for i in range(60) %}{% set ns.a = STEP %}{% endfor %}{{ ns.a }}"


@pytest.mark.parametrize(
    "expression",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(10 ** 9) %}a{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for k in x recursive %}{{ loop(x) }}{% endfor %}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ [1] * 10 ** 10 }}",
        "{{ 7 ** 60 ** 60 ** 60 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 100000) }}",
        "{{ x | center(10 ** 8) }}",
        "{{ x.ljust(10 ** 8) }}",
        "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
        "{{ (['a'] * 1000) | join('b' * 10000) }}",
        "{{ ('b' * 1000).join(range(100000) | map('string')) }}",
        "{{ x.translate({97: 'b' * 100000}) }}",
        GROWS.replace("START", "'aa'").replace("STEP", "ns.a ~ ns.a"),
        GROWS.replace("START", "'aa'").replace("STEP", "ns.a + ns.a"),
        GROWS.replace("START", "[1]").replace("STEP", "[ns.a, ns.a]"),
    ],
)
def test_work_without_end_ends_with_one_line(expression):
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"^f\.yaml:1: template 't': .*mend") as caught:
        template("{{ x }} ||| " + expression).render(ROW)
    assert time.process_time() - start < 10
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "{{ x['__class__'] }}",
        "{{ x.format.__self__ }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ {}.update({1: 2}) }}",
        "{{ rows.append(1) }}",
        "{{ x | attr('__class__') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__ }}",
    ],
)
def test_hidden_attributes_and_changes_of_the_row_are_out_of_reach(expression):
    row = {"x": "a", "rows": [0]}
    with pytest.raises((ConfigError, RowError)):
        template("{{ x }} ||| b" + expression).render(row)
    assert row == {"x": "a", "rows": [0]}


def test_hostile_values_are_text_like_any_other():
    for value in ("{{ 1 }}", "{% for %}", "\x00", "\ud800", "|||", "<b>&", "\x00||", "e\u0301" * 1000):
        made = template("Q{{ x }}. ||| {{ x }}.").render({"x": value})
        assert made.targets == f"{value}.".strip()


def test_a_missing_column_is_named_with_what_is_near():
    with pytest.raises(ConfigError, match=r"no column 'premise' in data\.jsonl: did you mean 'premises'"):
        template("{{ premise }} ||| b").check(["premises", "label"], "data.jsonl")


def test_a_column_asked_for_with_defined_may_be_absent():
    made = template("{% if hint is defined %}{{ hint }}{% endif %}{{ x }} ||| b")
    assert made.fields == {"x"}
    assert made.render({"x": "a"}).inputs == "a"


def test_the_id_changes_with_the_text():
    assert template("{{ x }} ||| b").id != template("{{ x }} ||| c").id
    assert template("{{ x }} ||| b").id == template("{{ x }} ||| b").id


def test_a_prompt_in_another_language_is_known_for_it():
    made = template("{{ x }} ||| b", language="en")
    assert made.crosses("zh")
    assert not made.crosses("en")
    assert not template("{{ x }} ||| b").crosses("zh")
