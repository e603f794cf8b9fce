"""Find the image files that a table names, also if it names them in the way of another machine."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.places import files_below, subfolders
from underfire.data.splits import split_in
from underfire.errors import DataError

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_ENDINGS = ("", *sorted(IMAGE_SUFFIXES), *sorted(map(str.upper, IMAGE_SUFFIXES)))


class Finder:
    """Finds image files by the names that a table gives them.

    A name is a path relative to the folder, or else an image anywhere below the folder whose path ends like the name.
    The suffix of the file may be missing, backslashes are slashes, and any Unicode form of a name is accepted; so are
    capital letters for small ones and the reverse, if no file has the name as it is and only one has it so. A path
    may begin with the folder's own name. A name
    that is an absolute path, or a path relative to the working directory, may lead out of the folder; an absolute path
    that does not exist is looked up below the folder by its last parts.

    Args:
        folder: the folder of the table.

    Attributes:
        elsewhere: True after an absolute path was looked up by its last parts.
        other_case: True after a name was found in other capital or small letters.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.elsewhere = False
        self.other_case = False

    def find(self, name: str) -> Path | None:
        """Return the absolute path of the image; the plain place in the folder if it does not exist.

        Returns:
            The path; None if the name leads out of the folder, and nothing is there.

        Raises:
            DataError: several files below the folder fit the name.
        """
        plain = self._inside(name)
        if plain is not None and os.path.lexists(plain):
            return plain
        name = name.replace("\\", "/")
        inside = self._inside(name)
        if inside is not None and os.path.lexists(inside):
            return inside
        if name.startswith("/") and ".." not in PurePosixPath(name).parts and os.path.isfile(name):
            return Path(os.path.abspath(name))
        if (below := self._below_own_name(name)) is not None:
            return below
        if ".." not in PurePosixPath(name).parts and os.path.isfile(name):
            return Path(os.path.abspath(name))
        if _DRIVE.match(name) or (name.startswith("/") and inside is None):
            return self._by_last_parts(name, self._known, _normal) or self._by_last_parts(
                name, self._known_folded, _folded
            )
        if inside is None:
            return plain
        return self._by_ending(name) or self._in_other_case(name) or plain

    def _inside(self, name: str) -> Path | None:
        """Return the place of a path in the folder; None if it leads out of it. Links are not followed."""
        if "\0" in name:
            return None
        place = Path(os.path.normpath(self.folder / name))
        return place if self.folder in place.parents else None

    @cached_property
    def _known(self) -> dict[str, list[tuple[str, ...]]]:
        """Map the normal forms of names, with and without suffix, to the parts of the relative paths that have them."""
        found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for path in files_below(self.folder):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                parts = path.relative_to(self.folder).parts
                for name in {path.name, path.stem}:
                    found[_normal(name)].append(parts)
        return found

    @cached_property
    def _known_folded(self) -> dict[str, list[tuple[str, ...]]]:
        """``_known`` with small letters only."""
        found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for name, paths in self._known.items():
            found[_folded(name)] += paths
        return found

    def _by_ending(self, name: str) -> Path | None:
        """Find the one file whose path ends with all parts of ``name``."""
        parts = PurePosixPath(os.path.normpath(name)).parts
        known = self._known.get(_normal(parts[-1]), ())
        fitting = [found for found in known if _common_end(found, parts) == len(parts)]
        return self._only(name, fitting)

    def _in_other_case(self, name: str) -> Path | None:
        """Find the one file whose path ends with all parts of ``name``, in capital or small letters."""
        parts = PurePosixPath(os.path.normpath(name)).parts
        folded = tuple(map(_folded, parts))
        fitting = [
            found
            for found in self._known_folded.get(folded[-1], ())
            if _common_end(found, folded, _folded) == len(parts)
        ]
        self.other_case = self.other_case or bool(fitting)
        return self._only(name, fitting)

    def _below_own_name(self, name: str) -> Path | None:
        """Return the file whose path follows the end of the folder's own path in ``name``.

        Such as ``set/a/b.jpg`` or ``data/set/a/b.jpg`` for the folder ``data/set``.

        Raises:
            DataError: two ends of the folder's path fit, or another file has all of ``name`` at the end of its path.
        """
        parts, own = PurePosixPath(name).parts, self.folder.parts
        if ".." in parts:
            return None
        ends = (count for count in range(1, min(len(parts), len(own))) if parts[:count] == own[-count:])
        places = [each for end in ends if os.path.isfile(each := self.folder.joinpath(*parts[end:]))]
        if not places:
            return None
        for other in (*places[1:], self._by_ending(name)):
            if other not in (None, places[0]):
                raise DataError(
                    f"{name!r} may be {places[0]} or {other}: give paths relative to the folder of the table."
                )
        return places[0]

    def _by_last_parts(
        self, name: str, known: dict[str, list[tuple[str, ...]]], form: Callable[[str], str]
    ) -> Path | None:
        """Find the one file whose path, in some form, has the longest end in common with the absolute path ``name``."""
        parts = tuple(map(form, PurePosixPath(name).parts))
        lengths = {found: _common_end(found, parts, form) for found in known.get(parts[-1], ())}
        longest = max(lengths.values(), default=0)
        # A name alone is not enough in another folder: train/1.jpg is not val/1.jpg.
        fitting = [found for found, length in lengths.items() if length == longest and (length > 1 or len(found) == 1)]
        self.elsewhere = self.elsewhere or bool(fitting)
        self.other_case = self.other_case or (form is _folded and bool(fitting))
        return self._only(name, fitting)

    def _only(self, name: str, fitting: list[tuple[str, ...]]) -> Path | None:
        if len(fitting) > 1:
            shown = ", ".join(repr("/".join(parts)) for parts in sorted(fitting)[:3])
            raise DataError(f"{name!r} may be any of {len(fitting)} files below {self.folder}: {shown}.")
        return self.folder.joinpath(*fitting[0]) if fitting else None


def folder_beside(folder: Path, names: Sequence[str], split: str | None) -> Path | None:
    """Return the folder above ``folder``, or the one beside it, that holds all images, if ``folder`` holds none.

    Args:
        folder: the folder of a table.
        names: the images' paths in the folder that is sought, with or without their suffixes.
        split: ``train``, ``val`` or ``test``, if the table is of that split: folders of other splits are passed over.

    Returns:
        The folder; None if there is none, or if there are several, which cannot be told apart.
    """
    folder = Path(os.path.abspath(folder))
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    within = not any("\0" in name or _DRIVE.match(name) for name in names)
    within = within and not any(path.is_absolute() or ".." in path.parts for path in paths)
    if not within or not os.access(folder.parent, os.R_OK):
        return None
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files_below(folder)):
        return None
    beside = [folder.parent / each for each in subfolders(folder.parent) if each != folder.name]
    places = [each for each in beside if split is None or split_in(each.name) in (None, split)]
    found = [each for each in (folder.parent, *places) if all(_is_there(each / path) for path in paths)]
    return found[0] if len(found) == 1 else None


def _is_there(path: Path) -> bool:
    """Return True if a file exists, or one of an image with the same name and a suffix."""
    return any(os.path.isfile(f"{path}{ending}") for ending in _ENDINGS)


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _normal(name).casefold()


def _common_end(found: tuple[str, ...], parts: tuple[str, ...], form: Callable[[str], str] = _normal) -> int:
    """Count the parts at the end of two paths that have the same form. The last ones do, with suffix or without."""
    length = 1
    while length < min(len(found), len(parts)) and form(found[-length - 1]) == form(parts[-length - 1]):
        length += 1
    return length
