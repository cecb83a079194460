"""`align doctor`: every isolation level with the reason for it or against it, and the cure."""

import pytest

from align.cli import main
from align.execute import isolation


@pytest.fixture
def only(monkeypatch):
    """A machine that gives none but the levels named."""

    def set_up(*given: str) -> None:
        monkeypatch.delenv("ALIGN_ISOLATION", raising=False)
        monkeypatch.setattr(isolation, "probe", lambda level: None if level in given else "unshare: EPERM")
        monkeypatch.setattr(isolation, "_setting", {"user.max_user_namespaces": "0"}.get)

    return set_up


def told(capsys) -> list[tuple[str, str]]:
    assert main(["doctor"]) == 0
    return [(line[:14].rstrip(), line[15:]) for line in capsys.readouterr().out.splitlines()]


def test_every_level_is_told_where_all_can_be_had(only, capsys):
    only("A", "B", "none")
    found = dict(told(capsys))
    assert found["isolation"].startswith("level A: tried out")
    assert found["isolation B"].startswith("tried out: Landlock")
    assert found["isolation none"].startswith("tried out: programs run under your user")


def test_a_level_that_cannot_be_had_is_told_with_its_cure(only, capsys):
    only("B", "none")
    lines = told(capsys)
    found = dict(lines)
    assert found["isolation"].startswith("programs are not run unless a weaker level is asked for: level A")
    assert found["isolation A"] == "level A cannot be had: unshare: EPERM"
    cure = [text.strip() for what, text in lines[lines.index(("isolation A", found["isolation A"])) + 1 :] if not what]
    assert "sudo sysctl -w user.max_user_namespaces=15000" in cure
    assert any(line.startswith("--isolation B, or ALIGN_ISOLATION=B") for line in cure)
    assert found["isolation B"].startswith("tried out")


def test_the_level_that_the_environment_asks_for_is_told(only, capsys, monkeypatch):
    only("none")
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    assert dict(told(capsys))["isolation"].startswith("level none: asked for by ALIGN_ISOLATION")
