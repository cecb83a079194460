"""The tables of scores: every figure with its interval, on 80 columns."""

import io

from rich.console import Console

from align import terminal
from align.show import show_scores

SCORE = {"problems": 200, "k": [1, 10, 100], "pass@1": 37.5, "low": 25.0, "high": 52.5}
MORE = {"pass@10": 61.667, "low@10": 43.333, "high@10": 78.333, "pass@100": 99.0, "low@100": 98.0, "high@100": 100.0}
PAIR = {"delta": -7.5, "low": -25.0, "high": 10.0}


def found(names: tuple[str, ...], **more: float) -> dict[str, object]:
    models = dict.fromkeys(names, SCORE | more)
    paired = {f"{name}-{names[0]}": PAIR for name in names[1:]}
    return {"scores": {"score": {"problems": "heldout", "models": models, "paired": paired}}}


def test_other_k_than_1_stand_in_a_table_of_their_own_with_their_intervals(capsys):
    show_scores(found(("start", "rrtf@100"), **MORE))
    first, several = capsys.readouterr().out.strip().split("\n\n")
    assert "pass@10" not in first
    assert first.splitlines()[-1].split() == ["rrtf@100", "37.5", "[25.0,", "52.5]", "-7.5", "[-25.0,", "+10.0]", "200"]
    assert several.splitlines()[0] == "score: pass@k"
    assert several.splitlines()[1].split() == ["model", "pass@10", "95", "%", "pass@100", "95", "%"]
    assert several.splitlines()[-1].split() == ["rrtf@100", "61.7", "[43.3,", "78.3]", "99.0", "[98.0,", "100.0]"]


def test_pass_at_1_alone_has_one_table(capsys):
    show_scores(found(("start",), k=[1]))
    assert "pass@k" not in capsys.readouterr().out


def test_every_figure_is_whole_on_80_columns(monkeypatch):
    out = Console(file=io.StringIO(), force_terminal=True, width=80, markup=False, no_color=True)
    monkeypatch.setattr(terminal, "console", lambda: out)
    show_scores(found(("start-of-it-all", "rrtf@100"), **MORE))
    told = out.file.getvalue()
    for words in ("minus start-of-it-all", "[25.0, 52.5]", "[-25.0, +10.0]", "[43.3, 78.3]", "[98.0, 100.0]"):
        assert words in told


def test_tasks_have_a_line_a_model_with_their_interval_and_the_difference_to_the_first(capsys):
    models = {name: {"tasks": {"xcopa": [value, 40.0, 60.0]}} for name, value in (("base", 50.0), ("tuned", 56.25))}
    paired = {"tuned-base": {"tasks": {"xcopa": {"delta": 6.25, "low": 1.0, "high": 11.5}}}}
    show_scores({"scores": {"evaluate": {"problems": None, "models": models, "paired": paired}}})
    title, heading, *lines = capsys.readouterr().out.strip().splitlines()
    assert title == "evaluate: tasks, percent"
    assert heading.split() == ["task", "model", "figure", "95", "%", "minus", "base", "95", "%"]
    assert lines[-2].split() == ["xcopa", "base", "50.0", "[40.0,", "60.0]", "-", "-"]
    assert lines[-1].split() == ["xcopa", "tuned", "56.2", "[40.0,", "60.0]", "+6.2", "[+1.0,", "+11.5]"]
