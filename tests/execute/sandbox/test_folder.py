"""A folder is emptied whatever a program did there, and nothing outside it is touched."""

import os

import pytest

from align.execute.sandbox import folder


@pytest.fixture
def box(tmp_path):
    made = tmp_path / "box"
    made.mkdir(mode=0o700)
    return made


def test_files_folders_links_and_pipes_go(box, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (box / "a" / "b").mkdir(parents=True)
    (box / "a" / "c").mkdir()
    (box / "a" / "b" / "file").write_text("y")
    (box / "link").symlink_to(kept)
    (box / "a" / "link").symlink_to(kept / "file")
    os.mkfifo(box / "pipe")
    folder.empty(str(box))
    assert list(box.iterdir()) == []
    assert (kept / "file").read_text() == "x"


def test_folders_that_were_locked_go(box):
    (box / "a" / "b").mkdir(parents=True)
    (box / "a" / "file").write_text("x")
    for path in (box / "a" / "b", box / "a", box):
        path.chmod(0)
    folder.empty(str(box))
    assert list(box.iterdir()) == []
    assert box.stat().st_mode & 0o777 == 0o700


def test_a_path_longer_than_the_kernel_takes_goes(box):
    here = os.open(box, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("a" * 200, dir_fd=here)
        below = os.open("a" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    folder.empty(str(box))
    assert list(box.iterdir()) == []


def test_no_descriptor_stays_open(box):
    (box / "a" / "b").mkdir(parents=True)
    before = set(os.listdir("/proc/self/fd"))
    folder.empty(str(box))
    assert set(os.listdir("/proc/self/fd")) == before


def test_looks_change_with_entries_and_mode(tmp_path):
    before = folder.looks(str(tmp_path))
    tmp_path.chmod(0o500)
    assert folder.looks(str(tmp_path)) != before
