"""The places in a run's folder: the folder is made, what lies in the way is named, and images get their names."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from underfire.errors import StoreError
from underfire.runs.disk import writing


def make(folder: Path) -> list[Path]:
    """Make the folder of a run, and check that files can be written there.

    Returns:
        The folders that were missing and have been made, the innermost one first.

    Raises:
        StoreError: it cannot be made or written, or something inside it has the name of a file or folder of a run and
            is something else, such as a link.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"output folder {folder} is a file; give a folder.")
        new = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        check_places(folder, files=(".lock",), folders=("cells", "images"))
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # several workers may try at once
    return new


def unmake(new: Sequence[Path]) -> None:
    """Remove the folders that ``make`` has made, if they are empty."""
    with suppress(OSError):
        for place in new:
            place.rmdir()


def check_places(folder: Path, *, files: Sequence[str], folders: Sequence[str]) -> None:
    """Check that nothing in the folder of a run or campaign would lead writing elsewhere, or cannot be written.

    Args:
        folder: the folder, which need not exist.
        files: names that must be those of ordinary files, if they are there.
        folders: names that must be those of ordinary folders that hold no links, if they are there.

    Raises:
        StoreError: one of them is something else.
    """
    for name in files:
        place = folder / name
        if place.is_symlink() or (place.exists() and not place.is_file()):
            raise _in_the_way(folder, place, "a file")
    for name in folders:
        place = folder / name
        if not os.path.lexists(place):
            continue
        if place.is_symlink() or not place.is_dir():
            raise _in_the_way(folder, place, "a folder")
        for entry in sorted(place.iterdir()):
            if entry.is_symlink():
                raise _in_the_way(folder, entry, "a folder")


def _in_the_way(folder: Path, place: Path, expected: str) -> StoreError:
    found = "a link" if place.is_symlink() else "a folder" if place.is_dir() else "a file"
    if found == expected:
        found = "a pipe or device"
    name = place.relative_to(folder).as_posix()
    return StoreError(
        f"output folder {folder}: {name} is {found}, and {expected} of its own is needed there. Remove {name}, or "
        "choose another folder."
    )


def image_file(label: str, position: int, image_id: str) -> str:
    """Return the path in a run's folder of a saved image of a cell.

    It begins with the image's position, so that ids that are long or hold unusual characters stay apart.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[-80:]
    return f"images/{folder_name(label)}/{position:06d}-{safe}.png"


def folder_name(label: str) -> str:
    """Turn a cell's label into the name of the folder of its images; different labels get different names."""
    safe = re.sub(r"[^\w+-]+", "_", label, flags=re.ASCII)[:100]
    return safe if safe == label else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
