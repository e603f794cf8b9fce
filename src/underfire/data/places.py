"""Listing of folders: without hidden files, folders that systems leave behind, and files that are no files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from underfire.errors import DataError

SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    }
)
"""Folders that macOS, Windows, Linux, Python and network storage make by themselves, in small letters."""


def is_left_out(name: str) -> bool:
    """Return True if a file or folder with this name is hidden, or is made by a system."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def is_special(path: Path) -> bool:
    """Return True for a pipe (FIFO), a device or a socket: reading it may wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def subfolders(root: Path) -> list[str]:
    """List the names of the folders in ``root``, sorted. Raises DataError if ``root`` cannot be listed."""
    return sorted(item.name for item in _entries(root) if item.is_dir() and not is_left_out(item.name))


def files_in(root: Path) -> list[str]:
    """List the names of the files in ``root``, sorted. Raises DataError if ``root`` cannot be listed."""
    return sorted(item.name for item in _entries(root) if item.is_file() and not is_left_out(item.name))


def files_below(root: Path) -> Iterator[Path]:
    """Yield all files in ``root`` and its subfolders. Links to folders are followed for ``root`` alone.

    Raises:
        DataError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:  # os.walk would skip the folder silently
        raise DataError(f"{error.filename} cannot be listed: {error}") from error

    for folder, inner, files in os.walk(root, onerror=refuse):
        inner[:] = sorted(name for name in inner if not is_left_out(name))
        for name in files:
            path = Path(folder, name)
            if not is_left_out(name) and not is_special(path):
                yield path


def _entries(root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root) as found:
            return list(found)
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
