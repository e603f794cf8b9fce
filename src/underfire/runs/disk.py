"""Writing files so that a kill, a full disk or a power cut leaves either the whole file or none."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from underfire.errors import StoreError
from underfire.files import NUMBERED, part_of

PART = rf"({NUMBERED}|\.part)"
"""A regular expression for the end of the name of a half-written file. Earlier versions had no number in it."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Context in which a failure to write becomes a StoreError that names the run's ``folder``."""
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename  # of a file that cannot be renamed, the second name counts
        name = f" ({Path(place).name})" if isinstance(place, str) else ""
        raise StoreError(f"output folder {folder} cannot be written: {error.strerror or error}{name}.") from error
    except SafetensorError as error:  # its writer has no OSError of its own, also on a full disk
        raise StoreError(f"output folder {folder} cannot be written: {error}.") from error


def is_part(name: str, of: str) -> bool:
    """Return True if ``name`` is that of a half-written file which was to become the file ``of``."""
    return re.fullmatch(re.escape(of) + PART, name) is not None


def replace(path: Path, write: Callable[[Path], object], *, synced: bool = True) -> None:
    """Write a file beside ``path``, then rename it to ``path``, so that nobody sees a half-written file.

    Args:
        path: the file; an existing one, or a link, is replaced.
        write: writes the content to the path that it is given.
        synced: bring the content safely onto the disk before the file gets its name.

    Raises:
        OSError: the disk is full, or the file cannot be written. Nothing is left beside ``path``, then.
    """
    part = part_of(path)
    try:
        write(part)
        if synced:
            sync(part)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def sync(path: Path) -> None:
    """Bring the content of a file safely onto the disk. Raises OSError if that fails."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Bring the names of the files in a folder safely onto the disk, on systems that can do that."""
    with suppress(OSError):  # Windows opens no folders, and some file systems cannot
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
