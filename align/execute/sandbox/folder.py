"""Empty the folder that a program has written to, whatever it did there. Links are removed, never followed."""

import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def looks(folder: str) -> tuple[int, int]:
    """Size and mode: those of a folder of memory change with its entries and its owner's wishes."""
    found = os.stat(folder)
    return found.st_size, found.st_mode


def empty(folder: str) -> None:
    """Remove all that is in a folder, however deep it lies; it is its owner's alone then.

    Raises:
        OSError: another process writes there meanwhile.
    """
    os.chmod(folder, stat.S_IRWXU)
    here = os.open(folder, _FOLDER)
    way: list[str] = []
    try:
        left = [_folders(here)]
        while left[-1] or way:
            if left[-1]:
                way.append(left[-1].pop())
                # a program may have locked its own folders
                os.chmod(way[-1], stat.S_IRWXU, dir_fd=here)
                here = _moved(here, way[-1])
                left.append(_folders(here))
            else:
                here = _moved(here, "..")
                os.rmdir(way.pop(), dir_fd=here)
                left.pop()
    finally:
        os.close(here)


def _moved(here: int, name: str) -> int:
    """Descriptor of the folder of that name in another one, which is closed."""
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there


def _folders(folder: int) -> list[str]:
    """Remove all but folders; their names."""
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=folder)
    return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
