"""The lock of a run's or a campaign's folder: one process at a time writes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from underfire.errors import StoreError
from underfire.runs.disk import writing

LOCK = ".lock"
"""The name of the file that is locked. It is there while a process works in the folder, and after a kill."""


@contextmanager
def locked(folder: Path, works: str) -> Iterator[None]:
    """Context in which no other process can lock the folder.

    The file is removed before its lock is released. Afterwards it may be another process's. A process that opened the
    file before it was removed gets a lock on a file without a name: filelock notices that, and does not take it.

    Args:
        folder: the folder, which exists.
        works: what another process does there, for the error message, such as ``runs``.

    Raises:
        StoreError: another process has the lock, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    with writing(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(f"output folder {folder} is in use: another process {works} in it.") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file: an unlocked file stays there, and does no harm
            (folder / LOCK).unlink()
        lock.release()
