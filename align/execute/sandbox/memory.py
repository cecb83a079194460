"""Files in memory, by which processes hand each other data that nobody in between reads."""

import os


def file_of(data: bytes, name: str = "data") -> int:
    """A descriptor of a file that holds `data`, at its beginning."""
    fd = os.memfd_create(name)
    fill(fd, data)
    return fd


def fill(fd: int, data: bytes) -> None:
    """Make a file hold `data` and nothing else; its position stays."""
    # to nothing: where a process that shares it has set O_APPEND, data is written at the end, whatever it is told
    os.ftruncate(fd, 0)
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:] if done else data, done)


def empty(fd: int) -> None:
    """Make a file hold nothing, and write from its beginning: processes that share it share its position."""
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)


def content(fd: int, limit: int | None = None) -> bytes:
    """What a file holds, from its beginning; its position is at the end then."""
    size = os.lseek(fd, 0, os.SEEK_END)
    return os.pread(fd, size if limit is None else min(size, limit), 0)
