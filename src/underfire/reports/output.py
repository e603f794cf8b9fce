"""Writing a file so that it is never there in part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underfire.errors import StoreError


@contextmanager
def writing(out: Path, kind: str) -> Iterator[Path]:
    """Yield a path beside ``out`` to write to, which then replaces ``out``. Folders are made if they do not exist.

    Args:
        out: the file.
        kind: what the file is, for the error message, such as ``page``.

    Raises:
        StoreError: the file cannot be written.
    """
    part = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(out)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{kind} {out} cannot be written: {error.strerror or error}.") from error
