"""Writing files in one step, and making the folder for them."""

from __future__ import annotations

import os
import re
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from underfire.errors import InputError, StoreError

NUMBERED = r"\.[0-9a-f]{8}\.part"
"""A regular expression for what ``part_of`` adds to a name."""

ABANDONED = 24 * 3600
"""The number of seconds after which a half-written file that nobody has written to was left by a killed process. Pids
tell nothing of the processes of other machines, which may share the disk."""


def path_of(name: str, value: object) -> Path:
    """Return what was given for the argument ``name`` as a path. Raises InputError if it is neither text nor path."""
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise InputError(f"{name} is {value!r:.80}; expected a path, as a text or a pathlib.Path.")


def name_part(text: str) -> str:
    """Turn a classifier's name into a part of a file's name that every system takes: no colons, slashes or spaces."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "classifier"


def beside(folder: Path, ending: str) -> Path:
    """Return a path beside ``folder``, named after it, with an ``ending``; ``folder`` may be ``.`` or ``..``."""
    whole = folder if folder.name not in ("", "..") else folder.resolve()
    return whole.with_name(f"{folder.resolve().name}{ending}")


def make_folder(folder: Path) -> None:
    """Make a folder for results, which may exist.

    Raises:
        StoreError: there is a file in its place, or it cannot be made.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"output folder {folder} is a file; give a folder.")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"output folder {folder} cannot be written: {error.strerror or error}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"output folder {folder} cannot be written: permission denied, or a read-only disk.")


def part_of(path: Path) -> Path:
    """Return a path beside ``path`` for a half-written file, which no other process and no file of the user's has."""
    return path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")


def parts_of(path: Path) -> list[Path]:
    """List the half-written files and folders beside ``path`` that were to become it. A file of the user's called
    ``NAME.part`` is none of them."""
    made = re.compile(re.escape(path.name) + NUMBERED)
    with os.scandir(path.parent) as entries:
        return [Path(entry.path) for entry in entries if made.fullmatch(entry.name) and not entry.is_symlink()]


def take_place(part: Path, path: Path) -> None:
    """Rename a file or folder that is written to ``path``, and remove what killed processes left of earlier ones.

    Times are compared with that of ``part`` itself: the disk's clock set both, and may differ from this machine's.

    Raises:
        OSError: ``part`` cannot be renamed. What cannot be removed stays.
    """
    os.utime(part)  # files in it may have times of their own
    now = part.lstat().st_mtime
    part.replace(path)
    with suppress(OSError):
        for other in parts_of(path):
            if now - _written(other) > ABANDONED:
                shutil.rmtree(other) if other.is_dir() else other.unlink()


def _written(path: Path) -> float:
    """Return when something was written last to a file, or to a folder and all that it holds."""
    inside = path.rglob("*") if path.is_dir() else ()
    return max(float(each.lstat().st_mtime) for each in (path, *inside))


@contextmanager
def replacing(path: Path, kind: str = "") -> Iterator[Path]:
    """Write a file in one step: the old file stays until the new one is complete.

    Args:
        path: the file.
        kind: the kind of file, for the error message, such as ``page``.

    Yields:
        The path of a temporary file in the same folder. It takes the place of ``path`` when the block ends without an
        error, and is deleted otherwise. If a process is killed, it stays until the file is written again after a day.

    Raises:
        StoreError: the file cannot be written.
    """
    part = part_of(path)
    try:
        yield part
        take_place(part, path)
    except (OSError, RuntimeError) as error:
        cause = _on_the_disk(error)
        if cause is None:
            raise
        raise StoreError(f"{kind} {path} cannot be written: {cause}.{_kept(path)}".lstrip()) from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step. Raises StoreError if that fails."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _on_the_disk(error: BaseException) -> str | None:
    """Say what went wrong on the disk; None if that is not where it did.

    On a full disk, ``torch.save`` raises a RuntimeError in the place of the OSError.
    """
    cause = error.__context__ if not isinstance(error, OSError) and _raised_by_torch(error) else error
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else None


def _raised_by_torch(error: BaseException) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).partition(".")[0] == "torch"


def _kept(path: Path) -> str:
    with suppress(OSError):  # a name that is too long
        return " An earlier version of the file stays as it was." if path.is_file() else ""
    return ""
