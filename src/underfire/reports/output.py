"""Writing files and folders: errors that name them, and no half-written ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underfire.errors import StoreError
from underfire.files import part_of, replacing, take_place


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the context into a ``StoreError``: "``what`` cannot be written: ..."."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what} cannot be written: {error.strerror or error}.") from error


@contextmanager
def writing(out: Path, kind: str) -> Iterator[Path]:
    """Write a file in one step, as ``replacing`` does. Missing folders are made.

    Args:
        out: the file to write.
        kind: the kind of file, for the error message, such as ``page``.

    Raises:
        StoreError: the file cannot be written.
    """
    with storing(f"{kind} {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, kind) as part:
        yield part


@contextmanager
def writing_folder(out: Path, kind: str) -> Iterator[Path]:
    """Yield a temporary folder beside ``out``, which becomes ``out`` when it is written. Missing folders are made.

    Args:
        out: the folder to write: a new one, or an empty one.
        kind: the kind of folder, for the error message, such as ``export``.

    Raises:
        StoreError: the folder holds files, or cannot be written.
    """
    with storing(f"{kind} {out}"):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StoreError(f"{kind} {out} exists, and is no empty folder: give another name, or remove it.")
        out.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(out)
        part.mkdir()
        try:
            yield part
            take_place(part, out)
        finally:  # whatever stops the writing, Ctrl-C too, leaves no half-written folder
            shutil.rmtree(part, ignore_errors=True)
