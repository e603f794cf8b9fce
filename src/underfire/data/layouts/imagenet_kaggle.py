"""ImageNet as Kaggle gives it: ``ILSVRC/Data/CLS-LOC/val``, and ``LOC_val_solution.csv`` with the WordNet ids.

https://www.kaggle.com/c/imagenet-object-localization-challenge.
"""

from __future__ import annotations

from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.file_data import FileData
from underfire.data.finder import Finder
from underfire.data.folder import FolderData
from underfire.data.imagenet import is_wordnet_id
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.data.places import files_in, subfolders
from underfire.data.splits import named_split
from underfire.data.tables import has_image_suffix, read_table, squeeze
from underfire.errors import DataError

_TABLE, _CLASSES, _IMAGES = "LOC_val_solution.csv", "LOC_synset_mapping.txt", Path("ILSVRC/Data/CLS-LOC")


def _open(path: Path, options: DataOptions) -> ImageData | None:
    places = path.absolute().parents
    # The folder of validation images itself: the table lies four folders above it.
    is_val = path.name == "val" and places[0].parts[-3:] == _IMAGES.parts
    root = path.parent if path.name == _TABLE else places[3] if is_val else path
    if options.class_level is not None or not (root / _TABLE).is_file():
        return None
    folder = root / _IMAGES / "val"
    if (root / _IMAGES).is_dir():
        if options.split is not None and named_split(options.split, ("train", "val"), str(path)) == "train":
            return FolderData(root / _IMAGES / "train")
    else:  # only the images: beside the table, or in a folder beside it. Folders of classes tell their classes alone.
        flat = next((each for each in (root, root / "val") if _has_images(each)), None)
        if flat is None and path.is_dir() and subfolders(root):
            return None
        if options.split is not None:
            named_split(options.split, ("val",), str(path))
        folder = flat or root
    ids, finder = _wordnet_ids(root / _TABLE), Finder(folder)
    names = sorted({*ids.values(), *_all_classes(root / _CLASSES)})
    position = {name: label for label, name in enumerate(names)}
    files: dict[str, int] = {}
    named: dict[str, str] = {}
    for image, wordnet_id in ids.items():
        found = finder.find(image)
        if found is not None and found.is_file():
            place = found.relative_to(finder.folder).as_posix()
            files[place] = position[wordnet_id]
            if (other := named.setdefault(place, image)) != image:
                raise DataError(
                    f"{root / _TABLE} names {place!r} twice: as {other!r} with the class {ids[other]}, and as "
                    f"{image!r} with the class {wordnet_id}."
                )
    if not files:
        raise DataError(f"{root / _TABLE} names images, but none of them, such as {next(iter(ids))}, is in {folder}.")
    return FileData(path.resolve().name if path.is_dir() else path.stem, folder, list(files.items()), names)


def _has_images(folder: Path) -> bool:
    """Return True if image files lie in a folder itself."""
    return folder.is_dir() and any(has_image_suffix(name) for name in files_in(folder))


def _wordnet_ids(path: Path) -> dict[str, str]:
    """Return the WordNet id of each image. The table gives it once for each object, with the corners of a box."""
    table, found = read_table(path), dict[str, str]()
    if not table.header or squeeze(table.header[0]) != "imageid":
        raise DataError(
            f"{path} begins with {','.join(table.header):.80}; expected the header ImageId,PredictionString."
        )
    for line, cells in table.rows:
        given = set(cells[-1].split()[::5])
        if len(cells) != 2 or len(given) != 1 or not all(map(is_wordnet_id, given)):
            raise DataError(
                f"{path}, line {line}: expected an image and 'n02119789 226 132 400 300', the WordNet id of its class "
                f"and a box, found {','.join(cells):.80}."
            )
        (wordnet_id,) = given
        if found.setdefault(cells[0], wordnet_id) != wordnet_id:
            raise DataError(
                f"{path}, line {line}: image {cells[0]!r} has the class {wordnet_id} here, and {found[cells[0]]} in an "
                "earlier line."
            )
    if not found:
        raise DataError(f"{path} holds a header but no rows.")
    return found


def _all_classes(path: Path) -> list[str]:
    """Return the WordNet ids of all classes, also of those without images; nothing if the list is not there."""
    if not path.is_file():
        return []
    ids = [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return [each for each in ids if is_wordnet_id(each)]


LAYOUT = Layout("ImageNet's validation images with Kaggle's table", _open, ("split", "white"))
