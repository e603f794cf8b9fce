"""A folder with one subfolder of images per class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from underfire.data.classes import in_order
from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.file_data import FileData
from underfire.data.places import files_below, subfolders
from underfire.data.splits import are_splits, named_split
from underfire.errors import DataError, InputError, warn
from underfire.text import first_few

_IMAGES = "images?|imgs?|photos?|pictures?"
PART = re.compile(rf"(.*[\W_])?({_IMAGES})([\W_]*(part|batch|chunk))?[\W_]*\d+", re.IGNORECASE)
"""Names of parts of one set of images, such as ``HAM10000_images_part_1`` or ``images_001``."""
NO_CLASS = re.compile(
    rf"{PART.pattern}|{_IMAGES}|jpe?gs?|pngs?|annotations?|masks?|trimaps?|(patient|subject|slide)[\W_]*\d.*",
    re.IGNORECASE,
)
"""Names of folders that hold the images of all classes, something else than images, or what belongs to one patient."""


class FolderData(FileData):
    """A folder with one subfolder per class (``root/class/image``).

    A label is the position of the subfolder in sorted order, by value if all names of subfolders are numbers.
    Subfolders without images count too, with a warning. Images are sorted by class, then by path. Left out are names
    that begin with a dot, folders of systems such as ``__MACOSX``, files that are not images, pipes and devices, and
    files directly in the root. Links to folders are followed for the root and the class folders only.

    Args:
        root: the folder.
        class_level: the number of folders from the root to the folder that names the class: 1 for
            ``root/class/**/image``, 2 for ``root/*/class/**/image``. If None, it is 1, if that is without doubt.
        split: the subfolder to take as root, such as ``val``, if the subfolders are splits.

    Raises:
        DataError: the folder does not exist, has no subfolders or no images in them, or cannot be listed. Or the
            subfolders look like splits or other groups and not like classes.
        InputError: there is no such split.
    """

    layout = "a folder per class"

    def __init__(self, root: str | Path, class_level: int | None = None, split: str | None = None) -> None:
        root = Path(root)
        if not root.is_dir():
            problem = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {problem}; expected a folder with images in root/class/image.")
        if split is not None:
            root = root / named_split(split, subfolders(root), str(root))
        names = subfolders(root)
        paths = [PurePosixPath(path) for name in names for path in _images(root, name)]
        if not paths:
            found = f"no images in its subfolders {first_few(list(in_order(names)))}" if names else "no subfolders"
            raise DataError(
                f"{root} has {found}; expected images in root/class/image, with one of the "
                f"suffixes {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        if class_level is None:
            _check_first_level(root, paths)
        classes = names if class_level in (None, 1) else _names_at(root, paths, class_level)
        ordered = in_order(classes)
        level, label = (class_level or 1) - 1, {name: place for place, name in enumerate(ordered)}
        files = sorted((label[path.parts[level]], path.as_posix()) for path in paths)
        empty = sorted(set(range(len(ordered))) - {place for place, _ in files})
        if empty:
            warn(
                f"{len(empty)} of the {len(ordered)} subfolders of {root} hold no images: "
                f"{first_few([ordered[place] for place in empty])}. They count as classes, unless the classifier has "
                "no such class."
            )
        super().__init__(root.resolve().name, root, [(path, place) for place, path in files], ordered)
        if class_level not in (None, 1):
            self.layout = f"a folder per class, {class_level} folders below the root"
        elif self.class_names == tuple(map(str, range(1000))):
            self.layout = "1000 numbered folders, as in ImageNetV2"


def _images(root: Path, class_name: str) -> list[str]:
    """List the images below a class folder: POSIX paths relative to the root, sorted."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in files_below(root / class_name)
        if path.suffix.lower() in IMAGE_SUFFIXES
    )


def _check_first_level(root: Path, paths: Sequence[PurePosixPath]) -> None:
    """Raise DataError if the subfolders of ``root`` look like splits or other groups, and not like classes."""
    names = list(in_order({path.parts[0] for path in paths}))
    inner = sorted({path.parts[1] for path in paths if len(path.parts) > 2})
    if are_splits(names) and (inner or len(names) > 1):
        choice = " or ".join(str(root / name) for name in names)
        labels = "" if inner else " There are no folders of classes in them: a table of labels may be missing."
        raise DataError(
            f"{root} holds the splits {', '.join(names)}, and not classes: give the path of one ({choice}), or "
            f"--split {names[-1]}. If they are classes: --class-level 1.{labels}"
        )
    common = _common_folders(paths)
    direct = any(path.parts[1:-1] == common for path in paths)
    if direct and (len(names) > 1 or not common):
        if not all(map(NO_CLASS.fullmatch, names)):
            return
        raise DataError(
            f"{root} holds {first_few(names)}, whose names are those of parts of one set of images, and not of "
            "classes: a table of labels may be missing, or was not recognised. If they are classes: --class-level 1."
        )
    known = root.joinpath(names[0], *common) if len(names) == 1 else root / names[0]
    raise DataError(
        f"the images of {root} lie deeper than one folder, and it is not certain which folders are the classes. Say it "
        f"with {_levels(paths)}; or give the path of the folder that holds the classes, such as {known}."
    )


def _levels(paths: Sequence[PurePosixPath]) -> str:
    """List the choices of ``class_level``, with the names that each makes classes. Levels of one name come last."""
    choices: dict[int, list[str]] = {}
    for level in range(1, min(len(path.parts) for path in paths)):
        choices[level] = sorted({path.parts[level - 1] for path in paths})
    likely = sorted(choices, key=lambda level: (len(choices[level]) == 1, level))[:3]
    return first_few(
        [f"--class-level {level} for {first_few([repr(name) for name in choices[level]])}" for level in sorted(likely)],
        separator="; ",
    )


def _common_folders(paths: Sequence[PurePosixPath]) -> tuple[str, ...]:
    """Return the folders that all images have below the first one: ``("images",)`` for ``class/images/image``."""
    chains = [path.parts[1:-1] for path in paths]
    shared = zip(*chains, strict=False)
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, shared))


def _names_at(root: Path, paths: Sequence[PurePosixPath], level: int) -> set[str]:
    """Return the names of the folders at ``level``. Raises InputError if an image lies above it."""
    shallow = next((path for path in paths if len(path.parts) <= level), None)
    if shallow is not None:
        raise InputError(
            f"class_level is {level}, but {root / shallow} lies {len(shallow.parts) - 1} folders below {root}; "
            f"expected at most {min(len(path.parts) for path in paths) - 1}."
        )
    return {path.parts[level - 1] for path in paths}
