"""datatrove's filters and formatters by name."""

import pytest

from align.clean.checks import formatted
from align.clean.corpus import Corpus
from align.errors import BackendError, ConfigError
from align.schema import Message, Problem

pytest.importorskip("datatrove")


def test_a_filter_drops_with_its_own_reason() -> None:
    corpus = Corpus(["C4ParagraphFilter"])
    assert corpus.refused("One line.") == ("C4ParagraphFilter", "< 3 paragraphs")
    assert Corpus([{"RegexFilter": {"regex_exp": "lorem"}}]).refused("Sum a list.") is None


def test_arguments_reach_the_filter() -> None:
    text = "First line that is long enough to count.\nSecond line, the same as the first one was.\n" * 2
    strict = Corpus([{"FineWebQualityFilter": {"line_punct_thr": 2.0, "line_punct_exclude_zero": False}}])
    assert strict.refused(text) == ("FineWebQualityFilter", "line_punct_ratio")


def test_words_are_counted_by_gopher() -> None:
    pytest.importorskip("spacy")
    corpus = Corpus(["GopherQualityFilter"])
    refused = corpus.refused("Sum a list.")
    assert refused is not None
    assert refused[0] == "GopherQualityFilter"
    assert "gopher" in refused[1]
    words = "There are days that have to be spent with the best of what the people of the town can make. "
    assert corpus.refused(words * 4) is None


def test_a_formatter_changes_the_prompt_and_its_id() -> None:
    corpus = Corpus([{"PIIFormatter": {"email_replacement": "<EMAIL>"}}])
    problem = Problem(prompt=[Message(role="user", content="Mail ann@corp.io")], reference="x = 1")
    changed = formatted(problem, corpus)
    assert changed.prompt == [Message(role="user", content="Mail <EMAIL>")]
    assert changed.id != problem.id
    assert changed.reference == "x = 1"
    assert changed.meta == {}
    plain = Problem(prompt="Sum.")
    assert formatted(plain, corpus) is plain


def test_a_wrong_name_or_argument_is_one_line_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"^datatrove has no filter 'GopherQualtyFilter': did you mean 'GopherQ"):
        Corpus(["GopherQualtyFilter"], "stages.clean")
    with pytest.raises(ConfigError, match=r"PIIFormatter has no argument 'remove_email': did you mean 'remove_emails'"):
        Corpus([{"PIIFormatter": {"remove_email": True}}])
    with pytest.raises(ConfigError, match=r"RegexFilter: missing a required argument: 'regex_exp'"):
        Corpus(["RegexFilter"])
    with pytest.raises(ConfigError, match="expected one filter with its arguments"):
        Corpus([{"PIIFormatter": {}, "RegexFilter": {}}])


def test_what_a_filter_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove.pipeline.filters import C4ParagraphFilter

    def offline(self: object, doc: object) -> bool:
        raise OSError("Name or service not known\nmore")

    monkeypatch.setattr(C4ParagraphFilter, "filter", offline)
    with pytest.raises(BackendError, match=r"^datatrove: C4ParagraphFilter cannot run here \(OSError: Name or service"):
        Corpus(["C4ParagraphFilter"]).refused("Sum.")


def test_a_text_that_a_filter_cannot_take_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove.pipeline.filters import C4ParagraphFilter

    monkeypatch.setattr(C4ParagraphFilter, "filter", lambda self, doc: 1 / len(doc.text))
    assert Corpus(["C4ParagraphFilter"]).refused("") == ("C4ParagraphFilter", "fails: ZeroDivisionError")


def test_without_datatrove_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datatrove.pipeline", None)
    with pytest.raises(BackendError, match=r"pip install 'align-rrtf\[clean\]'"):
        Corpus(["C4ParagraphFilter"])
