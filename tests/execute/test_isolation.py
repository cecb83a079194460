"""Which level is chosen, and what is said where it cannot be had."""

import os
import shutil
import subprocess
import sys

import pytest

from align.errors import BackendError, ConfigError
from align.execute import isolation
from align.execute.isolation import isolation_level, probe, why


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch):
    monkeypatch.delenv("ALIGN_ISOLATION", raising=False)


@pytest.fixture
def without(monkeypatch):
    """A machine that lacks levels, for the reason given."""

    def lack(*levels, reason="unshare: Operation not permitted (EPERM)"):
        monkeypatch.setattr(isolation, "probe", lambda level: reason if level in levels else None)

    return lack


def test_auto_is_level_a(without):
    without()
    assert isolation_level() == "A"


def test_auto_is_never_less_than_level_a(without):
    without("A")
    with pytest.raises(BackendError, match="EPERM") as refused:
        isolation_level("auto")
    assert "--isolation B" in str(refused.value)
    assert "--isolation none" in str(refused.value)


@pytest.mark.parametrize("level", ["B", "none"])
def test_less_is_had_by_asking(without, monkeypatch, level):
    without("A")
    assert isolation_level(level) == level
    monkeypatch.setenv("ALIGN_ISOLATION", level)
    assert isolation_level() == level
    assert "asked for by ALIGN_ISOLATION" in why()


def test_the_environment_does_not_overrule_what_is_asked_for(without, monkeypatch):
    without()
    monkeypatch.setenv("ALIGN_ISOLATION", "none")
    assert isolation_level("A") == "A"


def test_a_level_that_does_not_exist_is_named_with_its_place(monkeypatch):
    with pytest.raises(ConfigError, match=r"isolation: no level 'C'"):
        isolation_level("C")
    monkeypatch.setenv("ALIGN_ISOLATION", "a")
    with pytest.raises(ConfigError, match=r"ALIGN_ISOLATION: no level 'a'"):
        isolation_level()


def test_the_setting_that_forbids_level_a_is_named_with_its_cure(without, monkeypatch):
    settings = {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "0"}
    monkeypatch.setattr(isolation, "_setting", lambda name: settings.get(name, ""))
    monkeypatch.setattr(isolation, "_try", lambda level: {"failed": "mount /dev: Permission denied", "errno": 13})
    reason = probe.__wrapped__("A")
    assert reason.startswith("mount /dev: Permission denied (EACCES)")
    assert "user.max_user_namespaces is 0" in reason
    assert "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in isolation._cure("A")


@pytest.mark.parametrize(("platform", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_other_systems_and_architectures_are_refused_by_name(monkeypatch, platform, machine):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(isolation.platform, "machine", lambda: machine)
    assert (machine if platform == "linux" else platform) in probe.__wrapped__("A")


def test_a_self_check_that_says_nothing_is_a_reason(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert probe.__wrapped__("none") == "the self-check ended with 1: "


def test_a_machine_without_user_namespaces_refuses_and_says_how_to_get_them():
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap")
    code = "from align.execute.isolation import isolation_level as level; print(level('B')); level()"
    box = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "--proc", "/proc",
           "--dev", "/dev", "--chdir", os.getcwd()]  # fmt: skip
    ran = subprocess.run([*box, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if "bwrap:" in ran.stderr:
        pytest.skip(ran.stderr)
    assert ran.stdout == "B\n"
    assert "No space left on device (ENOSPC); a limit user.max_*_namespaces is reached" in ran.stderr
