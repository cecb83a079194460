import json

from align.train.alarms import CHOSEN, EOS, REJECTED, Alarms
from align.train.logbook import Logbook


def fed(*readings):
    alarms = Alarms()
    return [alarms.watch(reading) for reading in readings], alarms


def test_chosen_responses_that_lose_likelihood_while_margins_grow_raise_one_alarm():
    lines, alarms = fed(*({CHOSEN: -0.5 - n / 4, REJECTED: -0.6 - n} for n in range(6)))
    assert [len(found) for found in lines] == [0, 0, 0, 1, 0, 0]
    assert "lose likelihood" in lines[3][0]
    assert alarms.raised.keys() == {"collapse"}


def test_a_loss_of_likelihood_without_a_margin_is_no_collapse():
    _, alarms = fed(*({CHOSEN: -0.5 - n, REJECTED: -0.75 - n} for n in range(6)))
    assert not alarms.raised


def test_margins_that_grow_at_a_kept_likelihood_are_no_collapse():
    _, alarms = fed(*({CHOSEN: -0.5 - n / 20, REJECTED: -0.6 - n} for n in range(6)))
    assert not alarms.raised


def test_an_end_that_was_learned_and_is_forgotten_raises_an_alarm():
    lines, _ = fed({EOS: 0.001}, {EOS: 0.9}, {EOS: 0.2}, {EOS: 0.08}, {EOS: 0.01})
    assert [len(found) for found in lines] == [0, 0, 0, 1, 0]


def test_figures_that_a_loss_does_not_have_raise_nothing():
    _, alarms = fed({"loss": 1.0}, {"loss": 9.0})
    assert not alarms.raised


def test_a_run_that_goes_on_warns_as_an_undisturbed_one(tmp_path, capsys):
    book = Logbook(tmp_path)
    for step, eos in ((1, 0.9), (2, 0.01)):
        book.write(step, {EOS: eos}, tokens=5)
    book.close()
    assert capsys.readouterr().err.count("align: warning: step 2: the end") == 1
    again = Logbook(tmp_path, step=2)
    again.write(3, {EOS: 0.01}, tokens=5)
    assert again.alarms.raised.keys() == {"eos"}
    assert capsys.readouterr().err == ""
    again.close()


def test_what_a_killed_run_logged_after_its_last_state_is_written_anew(tmp_path):
    book = Logbook(tmp_path)
    for step in (1, 2, 3):
        book.write(step, {"loss": step / 3}, tokens=5)
    book.close()
    book = Logbook(tmp_path, step=1)
    book.write(2, {"loss": 7.0}, tokens=5)
    book.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.333333}, {"step": 2, "loss": 7.0}]
