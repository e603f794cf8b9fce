"""Writing files: errors that name the file, and no half-written files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underfire.errors import StoreError


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the context into a ``StoreError``: "``what`` cannot be written: ..."."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what} cannot be written: {error.strerror or error}.") from error


@contextmanager
def writing(out: Path, kind: str) -> Iterator[Path]:
    """Yield a temporary path beside ``out``, which replaces ``out`` when it is written. Missing folders are made.

    Args:
        out: the file to write.
        kind: the kind of file, for the error message, such as ``page``.

    Raises:
        StoreError: the file cannot be written.
    """
    part = out.with_name(f"{out.name}.part")
    with storing(f"{kind} {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(out)
        except BaseException:  # whatever stops the writing, Ctrl-C too, leaves no half-written file
            part.unlink(missing_ok=True)
            raise
